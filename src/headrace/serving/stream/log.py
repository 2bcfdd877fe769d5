"""Structured logs of the stream: one JSON object a line on stderr, in the Elastic Common Schema."""

from __future__ import annotations

import sys
from typing import Any


def logger(system: str, replica: str) -> Any:
    """A logger that says of every line which worker wrote it."""
    import ecs_logging
    import structlog

    form: Any = ecs_logging.StructlogFormatter()
    bound_logger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            form,
        ],
    )
    return bound_logger.bind(**{"service.name": f"headrace.{system}", "service.node.name": replica})
