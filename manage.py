#!/usr/bin/env python3
"""Django's command line, with settings errors as one clear line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "brokerd.settings")
    os.umask(0o077)
    from brokerd.conf import ConfigError

    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except ConfigError as error:
        sys.exit(f"brokerd: {error}")


if __name__ == "__main__":
    main()
