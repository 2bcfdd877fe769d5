"""Connections that are free, to be used by one thread at a time: as many as ever were in use at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """Opens a connection where none is free.

    Args:
        connect: Opens one.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._free: list[C] = []
        self._process = os.getpid()

    def take(self) -> C:
        """A connection for the caller alone. Those from before a fork belong to the parent and are left alone."""
        if self._process != os.getpid():
            self._free, self._process = [], os.getpid()
        try:
            return self._free.pop()  # the one last used: it is the warmest, and pop is atomic
        except IndexError:
            return self._connect()

    def give(self, connection: C) -> None:
        """Take a connection back that works."""
        self._free.append(connection)

    def close(self) -> None:
        """Close those that are free."""
        closing, self._free = self._free, []
        for connection in closing:
            connection.close()
