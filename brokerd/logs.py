"""Logs: structlog for ours and for the standard library's, as text for people or JSON for machines, on stderr.

An entry is one line, but for the lines of a traceback, which are indented: nothing that somebody sent, and that stands
in a message or an exception, can pose as an entry of its own or speak to the terminal of who reads it.
"""

from __future__ import annotations

import textwrap
from typing import Any

import structlog

from tunnels.text import printable

SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
MAX_LINE = 8000


def logging_config(log_format: str) -> dict[str, Any]:
    """A `dictConfig`, and structlog set up to feed it. `log_format` is `text` or `json`."""
    is_json = log_format == "json"
    renderer: Any = structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    safe = [] if is_json else [_make_safe]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": SHARED,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *safe, renderer],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            "none": {"class": "logging.NullHandler"},
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "asyncssh": {"level": "WARNING"},
            "daphne": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},  # it names whole URLs, and the path of a webhook's often is a password
            "django.request": {"level": "ERROR"},
            "django.security": {"level": "ERROR"},
            # A stranger's Host header would be a traceback in the log, as often as they like.
            "django.security.DisallowedHost": {"level": "ERROR", "handlers": ["none"], "propagate": False},
        },
    }


def _make_safe(logger: Any, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What JSON does by itself."""
    traceback = entry.pop("exception", None)
    safe = {key: printable(value, MAX_LINE) if isinstance(value, str) else value for key, value in entry.items()}
    if traceback is not None:
        lines = [printable(line, MAX_LINE) for line in str(traceback).split("\n")]
        safe["exception"] = textwrap.indent("\n".join(lines), "  ", lambda line: True)
    return safe
