"""`python -m tunnels.agent`, `brokerd-agent`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from tunnels.agent.account import NoAccount, own_account
from tunnels.agent.approval import EnrollmentRefused
from tunnels.agent.config import UsageError, read_config
from tunnels.agent.lifecycle import run_agent
from tunnels.agent.say import complain, say
from tunnels.agent.state import StateError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the agent in the foreground. 0: told to stop; 1: cannot go on; 2: bad arguments or configuration."""
    logging.basicConfig(level=logging.WARNING, format="brokerd-agent: %(levelname)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    try:
        config = read_config(sys.argv[1:] if arguments is None else arguments, os.environ)
        asyncio.run(run_agent(config, own_account(), say=say))
    except UsageError as error:
        complain(str(error))
        return 2
    except EnrollmentRefused as error:
        complain(f"enrollment refused: {error}")
        return 1
    except (StateError, NoAccount) as error:
        complain(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
