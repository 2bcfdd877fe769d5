"""SQLite in WAL mode: readers and one writer at once, of any number of processes of one machine."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

T = TypeVar("T")

OPENING = 30.0
"""Seconds that the first processes of a new file wait for one another: each of its first steps waits for the disk."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def is_busy(error: BaseException | None) -> bool:
    """Whether another connection is in the way, in any of SQLite's words for it: a recovery and a checkpoint too."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def patiently(work: Callable[[], T], seconds: float, pause: float = 0.01) -> T:
    """What `work` returns, tried again while others are in the way: SQLite itself does not always wait.

    Args:
        work: Changes nothing where it raises.
        seconds: Longest wait.
        pause: About so many seconds between two tries.

    Raises:
        sqlite3.OperationalError: They are for longer, or something else is wrong, which is told at once.
    """
    end = time.monotonic() + seconds
    while True:
        late = time.monotonic() > end
        try:
            return work()
        except sqlite3.OperationalError as error:
            if late or not is_busy(error):
                raise
        time.sleep(random.uniform(0.2, 1.8) * pause)


def to_wal(connection: sqlite3.Connection, timeout: float) -> None:
    """Turn a connection's file to WAL mode; a file that is in it is only asked.

    Args:
        connection: Outside of a transaction.
        timeout: Longest wait in seconds, but at least `OPENING`: a file that cannot even be asked is not in WAL mode
            yet, or is brought back after its processes were killed.

    Raises:
        sqlite3.OperationalError: It is locked for longer, or cannot be written.
    """
    seconds = max(timeout, OPENING)
    mode = patiently(lambda: connection.execute("PRAGMA journal_mode").fetchone()[0], seconds)
    if mode != "wal":
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), seconds)


def spare_log(path: str | Path) -> None:
    """Refuse to open a file that is gone or empty where its write-ahead log has content.

    SQLite deletes such a log, of a connection that may only read too. The file may have been moved for a while, and
    the newest commits stand in the log alone.

    Args:
        path: Of the file, which may be a link to it.

    Raises:
        sqlite3.OperationalError: It is so.
    """
    real = os.path.realpath(path)
    # The log first: while a file is begun, it has content before its log has.
    if _size(f"{real}-wal") and not _size(real):
        raise sqlite3.OperationalError(
            f"the file is empty or gone, but its write-ahead log has content: put back the file that {real}-wal "
            "belongs to, or move the log away to begin anew"
        )


def _size(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise sqlite3.OperationalError(f"it cannot be looked up: {error}") from error


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that makes no file and changes none.

    Raises:
        sqlite3.OperationalError: There is no such file, or it cannot be read.
    """
    spare_log(path)
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def damage(path: Path, *, deep: bool) -> str | None:
    """What is wrong with the structure of a SQLite file, in words; None where it is sound.

    Args:
        path: The file.
        deep: Read every page of it, and every index.
    """
    try:
        with closing(read_only(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            result: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] if deep else "ok"
    except sqlite3.DatabaseError as error:
        return f"cannot be read: {error}"
    return None if result == "ok" else result.splitlines()[0]
