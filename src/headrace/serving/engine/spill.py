"""Series that were silent for long, on the worker's disk instead of in its memory. The changelog has them as well."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import StoreError
from headrace.files import disk_trouble
from headrace.serving.engine.rings import Series


class Spill:
    """A file of series' states that lives as long as the worker does; it is made with the first of them.

    Its methods raise `StoreError` where the disk takes nothing.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._file: sqlite3.Connection | None = None
        self.count = 0

    def put(self, series: Series, state: bytes) -> None:
        """Keep the state of a series."""
        with _told():
            self._opened().execute("insert or replace into idle values (?, ?, ?)", (*_named(series), state))
        self.count += 1

    def take(self, series: Series) -> bytes | None:
        """The state of a series, which is here no longer; None if it never was."""
        if not self.count:
            return None
        query = "delete from idle where part = ? and keys = ? returning state"
        with _told():
            row = self._opened().execute(query, _named(series)).fetchone()
        if row is None:
            return None
        self.count -= 1
        return bytes(row[0])

    def drop(self, partition: int) -> None:
        """Forget the series of a partition."""
        if self.count:
            with _told():
                self.count -= self._opened().execute("delete from idle where part = ?", (partition,)).rowcount

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._file = self._folder = None

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="headrace-stream-")
            file = sqlite3.connect(Path(self._folder.name) / "idle.db", isolation_level=None, check_same_thread=False)
            try:
                file.execute("pragma journal_mode = off")
                file.execute("pragma synchronous = off")
                file.execute("create table if not exists idle (part integer, keys text, state blob, "
                             "primary key (part, keys))")  # fmt: skip
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = disk_trouble(error) or str(error)
        raise StoreError(f"silent series cannot be kept on the disk: {reason}", where=tempfile.gettempdir()) from error


def _named(series: Series) -> tuple[int, str]:
    return series[0], json.dumps(series[1])
