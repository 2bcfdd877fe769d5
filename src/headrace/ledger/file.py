"""The file of a SQLite ledger, and what SQLite keeps beside it: whether its path still leads to what was opened.

SQLite goes on writing to a file that was moved, removed or replaced, and so to one that nobody will ever read. Here the
path is looked up again, by the inodes that it leads to. No file is opened for that: closing it would give up the locks
that this process has on it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from errno import ENOENT, ENOTDIR
from pathlib import Path
from typing import NamedTuple

from headrace.errors import LedgerReplacedError, LedgerUnavailableError
from headrace.files import absolute
from headrace.store.wal import spare_log, to_wal

REPLACED = "the ledger is another file than the one opened"
_CUT = "the ledger's file was cut, or another one written over it"
_HINT = "put it back; to go on with what is there now, restart what uses it"
_HINT_LOG = (
    "put it back; if it is lost, restart what uses the ledger, by SIGTERM and not by kill -9: who ends last writes "
    "to the file what the log held"
)

_NO_FOLDER: _Folder = (0, 0, 0)
_stat = os.stat  # of a path object it would cost as much again, on every commit


class _FileIdentity(NamedTuple):
    """Device of the file; inodes of it, of its write-ahead log, and of the index of that."""

    device: int
    inode: int
    log: int
    log_index: int


_Folder = tuple[int, int, int]
"""Device, inode and time of the last change of a folder: where these are the same, so are all names in it."""
_SETTLED = 3_000_000_000
"""Nanoseconds after which a folder that has changed again bears another time, on any file system."""


class LedgerFile:
    """Opens connections that all lead to one file, the one that the first of them led to.

    That one must stay open as long as there are others: a file that nobody has open may be removed, and its inode given
    to another one.

    Args:
        path: Of the file.
        timeout: Longest wait in seconds for a lock.
        place: Device and inodes that it must have, as another process has it open; None: any, or none yet.
    """

    def __init__(self, path: str, timeout: float, place: tuple[int, ...] | None = None) -> None:
        self._path, self._timeout = str(absolute(path)), timeout
        self._beside = (f"{self._path}-wal", f"{self._path}-shm")
        self._seen: _FileIdentity | None = None
        self._bytes, self._place = 0, place
        self._is_link = True
        self._folder, self._looked = os.path.dirname(self._path), _NO_FOLDER  # noqa: PTH120

    def connect(self) -> sqlite3.Connection:
        """A connection in WAL mode, which begins no transaction by itself and may be used by any thread.

        Raises:
            LedgerReplacedError: The path leads to another file by now, or to none; none is made then.
            sqlite3.OperationalError: It cannot be opened, or is gone or empty while its log is there.
        """
        if self._seen is not None:
            self._look()
        elif self._place is not None:
            self._follow_link()
            self._refuse_other_place()
        spare_log(self._path)
        mode = "rwc" if self._seen is None and self._place is None else "rw"
        connection = sqlite3.connect(
            f"{Path(self._path).as_uri()}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            to_wal(connection, self._timeout)
            connection.execute("PRAGMA user_version").fetchone()  # now its log is there
            self._opened()
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self) -> None:
        if self._seen is None:
            self._follow_link()
            if self._place is not None:
                self._refuse_other_place()
            self._seen, self._bytes = self._found()
        else:
            self._look()

    def _follow_link(self) -> None:
        """SQLite follows a link to the file itself, and keeps the rest where that one lies."""
        real = os.path.realpath(self._path)
        self._is_link = os.path.islink(self._path)  # noqa: PTH114
        self._beside = (f"{real}-wal", f"{real}-shm")

    @property
    def place(self) -> tuple[int, ...] | None:
        """Device and inodes of the file and what lies beside it; None before the first connection."""
        return self._place if self._seen is None else tuple(self._seen)

    def _refuse_other_place(self) -> None:
        """Without its log, the file would be an earlier state of the ledger, and SQLite would begin another log."""
        if tuple(self._found()[0]) != self._place:
            raise self._replaced(REPLACED)

    def check(self, connection: sqlite3.Connection) -> None:
        """Refuse to go on where the path does not lead to this connection's file.

        Raises:
            LedgerReplacedError: It does not, or the file was cut.
            LedgerUnavailableError: It cannot be looked up.
        """
        length = self._look()
        if length < self._bytes:
            # It may have been compacted: then it has all the pages that it is said to have.
            pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
            size: int = connection.execute("PRAGMA page_size").fetchone()[0]
            if length < pages * size:
                raise self._replaced(_CUT)
        self._bytes = length

    def glance(self) -> None:
        """Refuse a path that leads elsewhere, if a connection was opened; as `check` otherwise."""
        if self._seen is not None:
            self._look()

    def forget(self) -> None:
        """The next connection may lead to any file: none is open."""
        self._seen, self._bytes, self._looked = None, 0, _NO_FOLDER

    def doubtful(self) -> bool:
        """Whether what is written may well fail: the file system takes nothing, or has no room."""
        try:
            return not os.access(self._path, os.W_OK) or os.statvfs(self._path).f_bavail == 0
        except OSError:
            return True

    def _look(self) -> int:
        """Bytes of the file, if the path still leads to it.

        What lies beside it is looked up where its folder is another one, or has changed.
        """
        folder, length = self._known()
        if not length:
            current, length = self._found()
            if current != self._seen:
                raise self._replaced(REPLACED)
            if not length:
                raise self._replaced(_CUT)
            # A link lies in another folder than what it leads to.
            is_old = abs(time.time_ns() - folder[2]) > _SETTLED
            self._looked = folder if is_old and not self._is_link else _NO_FOLDER
        return length

    def _known(self) -> tuple[_Folder, int]:
        """The folder as it is; bytes of the file, if nothing can have changed since the last look."""
        try:
            present, file = _stat(self._folder), _stat(self._path)
        except OSError:
            return _NO_FOLDER, 0
        folder = present.st_dev, present.st_ino, present.st_ctime_ns
        if folder != self._looked or self._seen is None or (file.st_dev, file.st_ino) != self._seen[:2]:
            return folder, 0
        return folder, file.st_size

    def _found(self) -> tuple[_FileIdentity, int]:
        try:
            file, log, index = _stat(self._path), _stat(self._beside[0]), _stat(self._beside[1])
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR):
                raise self._missing(str(error.filename)) from error
            raise LedgerUnavailableError(f"the ledger's file cannot be looked up: {error}", where=self._path) from error
        return _FileIdentity(file.st_dev, file.st_ino, log.st_ino, index.st_ino), file.st_size

    def _missing(self, path: str) -> LedgerReplacedError:
        """The file is there where what lies beside it is missed: it is looked up first."""
        if path not in self._beside:
            return self._replaced(f"{REPLACED}: there is none any more")
        name = "write-ahead log" if path == self._beside[0] else "index of the log"
        return self._replaced(f"{REPLACED}: its {name} is gone", _HINT_LOG)

    def _replaced(self, reason: str, hint: str = _HINT) -> LedgerReplacedError:
        return LedgerReplacedError(reason, where=self._path, hint=hint)
