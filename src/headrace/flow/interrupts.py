"""Ctrl-C, held back where half of a step would be worse than a moment of waiting."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Raise an interrupt of this block when the block ends.

    An import that is interrupted leaves modules half made, and each later import of them fails. Outside of the main
    thread Python raises no interrupts, and this does nothing.

    Raises:
        KeyboardInterrupt: At the end of the block, where Ctrl-C was pressed in it and it raised nothing else.

    Example:
        >>> with held_interrupts():
        ...     import sqlite3
    """
    former: Any = None
    if threading.current_thread() is threading.main_thread():
        former = signal.getsignal(signal.SIGINT)
    if not callable(former):  # ignored, the system's own, or not ours to change
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if pressed:
        raise KeyboardInterrupt
