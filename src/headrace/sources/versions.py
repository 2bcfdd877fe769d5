"""Tables that keep their versions: what later versions brought, or what stands from a watermark on.

Each version names its files. A later read takes the files that the stored version did not have, so it needs no column
that grows; rows that a rewrite brings again are not stored again. A row is known since the commit of its file, where no
column says since when.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from headrace.contract import KNOWN_AT
from headrace.contract.naming import found_as
from headrace.errors import SourceError
from headrace.files import write_whole
from headrace.lineage import digest_of
from headrace.sources.arrow import frame_of, no_order, refuse
from headrace.sources.base import Records, Since, Source, require_zone
from headrace.sources.watermark import ReadPosition, Watermark

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class DataFile(NamedTuple):
    """A file of a version: its name, and when it was committed."""

    name: str
    committed: datetime


class TableVersion(Protocol):
    """One version of a table, which stays as it is."""

    @property
    def name(self) -> str:
        """Tells it from others of the table."""

    def schema(self) -> pa.Schema:
        """Its columns."""

    def files(self) -> list[DataFile]:
        """Its files."""

    def rows(self, file: DataFile, least: tuple[str, Any] | None) -> pa.Table:
        """The rows of a file.

        Args:
            file: One of `files`.
            least: A column, and the value from which on rows are wanted; those without one are wanted too.
        """


class VersionedTable(Protocol):
    """A table that keeps its versions. Methods raise `SourceError`."""

    @property
    def origin(self) -> str:
        """Where it is."""

    def version(self, name: str | None = None) -> TableVersion | None:
        """The newest version, or the one of a name; None where that is not kept any more."""


@dataclass(frozen=True)
class VersionReader:
    """Reads a table that keeps its versions.

    Attributes:
        source: The declaration; its watermark is optional.
        table: Where the table is.
        time: What it calls the event time; None where there is none, or several columns make it.
        cache: Folder of the position; None: every read is whole.
    """

    source: Source
    table: VersionedTable
    time: str | None = None
    cache: Path | None = None

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """The rows of one version that are new; all of them the first time, and where nothing is stored.

        Raises:
            SourceError: The table cannot be read, or has no such column.
        """
        require_zone(as_of=as_of, now=now)
        version = self.table.version()
        if version is None:
            raise SourceError("has no version yet", where=self.table.origin)
        schema = version.schema()
        for field in schema:
            refuse(field, self.table.origin)
        time = found_as(self.time, schema.names) if self.time is not None else None
        is_empty = self.time is not None and since is not None and since() is None
        if self.source.watermark is None:
            return self._by_version(version, time, is_empty=is_empty)
        column = found_as(self.source.watermark, schema.names)
        if column is None:
            text = f"the table has no column {self.source.watermark!r}"
            raise SourceError(text, where="source.watermark", hint=f"it has {', '.join(schema.names)}")
        if no_order(frame_of(schema.empty_table()).schema, column):
            raise SourceError(f"{column} is no number, date or time", where="source.watermark")
        position = ReadPosition(self._path(), self.source.overlap)
        stored = None if is_empty else position.value()
        least = None if stored is None else (column, position.begin(stored))
        frame = self._frame(version, version.files(), time, least)
        known = self.source.known_at or KNOWN_AT
        mark = Watermark(column, as_of if column == known else None, position, stored)
        return Records(mark.seen(frame), self._origin(version), stored=mark.save)

    def _by_version(self, version: TableVersion, time: str | None, *, is_empty: bool) -> Records:
        path = self._path()
        before = None if is_empty else _stored(path)
        files = version.files()
        earlier = self.table.version(before) if before is not None and before != version.name else None
        message = None
        if before == version.name:  # a source that has rows is never empty: what came last comes again
            files = sorted(files, key=lambda file: file.committed)[-1:]
        elif earlier is not None:
            names = {file.name for file in earlier.files()}
            files = [file for file in files if file.name not in names]
        elif before is not None:
            message = f"version {before} of {self.table.origin} is not kept any more: the table was read as a whole"

        def save(pending: int) -> str | None:
            if path is not None and not pending:  # what is not known yet comes again
                write_whole(path, json.dumps({"version": version.name}).encode())
            return message

        return Records(self._frame(version, files, time, None), self._origin(version), stored=save)

    def _frame(
        self, version: TableVersion, files: list[DataFile], time: str | None, least: tuple[str, Any] | None
    ) -> pl.DataFrame:
        import polars as pl

        frames = [self._dated(frame_of(version.schema().empty_table()), datetime(1970, 1, 1, tzinfo=UTC))]
        frames += [self._dated(frame_of(version.rows(file, least)), file.committed) for file in files]
        frame = pl.concat(frames, how="vertical_relaxed")
        return frame if time is None else frame.sort(time, maintain_order=True)

    def _dated(self, frame: pl.DataFrame, committed: datetime) -> pl.DataFrame:
        """The rows with their commit as the known time, unless they say one themselves."""
        import polars as pl

        if self.source.known_at is not None or KNOWN_AT in frame.columns:
            return frame
        return frame.with_columns(pl.lit(committed, pl.Datetime("us", "UTC")).alias(KNOWN_AT))

    def _origin(self, version: TableVersion) -> str:
        return f"{self.table.origin}@{version.name}"

    def _path(self) -> Path | None:
        name = digest_of([self.table.origin, self.source.watermark], 24)
        return None if self.cache is None else self.cache / f"position-{name}.json"


def _stored(path: Path | None) -> str | None:
    if path is None or not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["version"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "delete it: the table is then read as a whole, and what is stored is not stored again"
        raise SourceError(f"is no position ({error})", where=str(path), hint=hint) from error
