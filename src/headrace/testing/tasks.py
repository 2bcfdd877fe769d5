"""What the processes of `ExecutorSuite` do. It is imported in them, without pytest."""

from __future__ import annotations

import os
import signal
import threading
import time

from headrace.errors import UsageError

LONGEST = 60.0
"""Seconds that a worker runs where nobody tells it to end."""


def doubled(number: int) -> int:
    """A task."""
    return 2 * number


def process_of(_: object) -> int:
    """A task that tells in which process it is done."""
    time.sleep(0.2)
    return os.getpid()


def refuse(number: int) -> int:
    """A task that fails with a typed error."""
    raise UsageError(f"no {number}", where="here", hint="ask another")


def killed(_: object) -> None:
    """A task whose process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def works_until_told(handed: str, number: int, stop: threading.Event) -> str:
    """Runs until it is told to end."""
    stop.wait(LONGEST)
    return f"{handed} {number}"


def ends_at_once(handed: int, number: int, stop: threading.Event) -> int:
    """Ends by itself."""
    return handed + number


def returns_much(handed: int, number: int, stop: threading.Event) -> bytes:
    """Ends by itself, with more than a pipe holds."""
    return b"x" * handed


def dies(handed: object, number: int, stop: threading.Event) -> None:
    """Dies without a word."""
    os._exit(3)
