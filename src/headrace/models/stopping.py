"""A stop for work that may take long: whoever waits for it may leave."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

STOPPED: ContextVar[Callable[[], None] | None] = ContextVar("STOPPED", default=None)
"""Raises where work under way has to end; None: it may last. A thread that the event loop starts has it too."""


def refuse_stopped() -> None:
    """Called between the steps of work that may take long: raises what `STOPPED` raises.

    >>> refuse_stopped()
    """
    stopped = STOPPED.get()
    if stopped is not None:
        stopped()
