"""One connection per thread and process: neither SQLite's nor PostgreSQL's is to be shared while in use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """Opens a connection where a thread has none yet.

    Args:
        connect: Opens one.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect, self._local = connect, threading.local()
        self._lock, self._open = threading.Lock(), list[C]()

    def mine(self) -> C:
        """This thread's connection. One that was opened before a fork belongs to the parent and is left alone."""
        held: tuple[int, list[C], C] | None = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid() and held[1] is self._open:
            return held[2]
        made = self._connect()
        with self._lock:
            self._open.append(made)
            self._local.held = (os.getpid(), self._open, made)
        return made

    def drop(self) -> None:
        """Close this thread's connection; the next call opens another."""
        held: tuple[int, list[C], C] | None = getattr(self._local, "held", None)
        if held is not None:
            self._local.held = None
            with self._lock:
                if held[2] in self._open:
                    self._open.remove(held[2])
            held[2].close()

    def close(self) -> None:
        """Close all connections. No other thread may be using one."""
        with self._lock:
            closing, self._open = self._open, []
        for each in closing:
            each.close()
