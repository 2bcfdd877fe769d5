"""Series that were silent for long, on the worker's disk instead of in its memory. The changelog has them as well."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from pathlib import Path

from headrace.serving.stream.rings import Series


class Spill:
    """A file of series' states that lives as long as the worker does."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-stream-")
        path = Path(self._folder.name) / "idle.db"
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("pragma journal_mode = off")
        self._file.execute("pragma synchronous = off")
        self._file.execute("create table idle (part integer, keys text, state blob, primary key (part, keys))")
        self.count = 0

    def put(self, series: Series, state: bytes) -> None:
        """Keep the state of a series."""
        self._file.execute("insert or replace into idle values (?, ?, ?)", (*_named(series), state))
        self.count += 1

    def take(self, series: Series) -> bytes | None:
        """The state of a series, which is here no longer; None if it never was."""
        if not self.count:
            return None
        row = self._file.execute(
            "delete from idle where part = ? and keys = ? returning state", _named(series)
        ).fetchone()
        if row is None:
            return None
        self.count -= 1
        return bytes(row[0])

    def drop(self, partition: int) -> None:
        """Forget the series of a partition."""
        self.count -= self._file.execute("delete from idle where part = ?", (partition,)).rowcount

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
        self._folder.cleanup()


def _named(series: Series) -> tuple[int, str]:
    return series[0], json.dumps(series[1])
