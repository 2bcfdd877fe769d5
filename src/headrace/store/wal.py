"""SQLite in WAL mode: readers and one writer at once, of any number of processes of one machine."""

from __future__ import annotations

import sqlite3
import time


def to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Turn a connection's file to WAL mode; a file that is in it stays so.

    The first processes that start together may find the file locked without SQLite waiting for it, so this waits.

    Args:
        connection: Outside of a transaction.
        timeout: Longest wait in seconds.

    Raises:
        sqlite3.OperationalError: It is locked for longer, or cannot be written.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return
