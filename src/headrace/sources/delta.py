"""``delta:PATH``: a table of Delta Lake, by its versions or a watermark. Object stores by their URI: ``delta:s3://...``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.versions import DataFile, VersionReader

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DeltaVersion:
    """See `TableVersion`.

    Attributes:
        name: Its number.
        origin: The table.
        table: As the library has it.
    """

    name: str
    origin: str
    table: Any = field(repr=False)

    def schema(self) -> pa.Schema:
        """See `TableVersion`."""
        with _told(self.origin):
            return self.table.to_pyarrow_dataset().schema

    def files(self) -> list[DataFile]:
        """See `TableVersion`. A file is written as its version is committed."""
        import pyarrow as pa

        with _told(self.origin):
            actions = pa.table(self.table.get_add_actions(flatten=True)).select(["path", "modification_time"])
        return [DataFile(row["path"], _moment(row["modification_time"])) for row in actions.to_pylist()]

    def rows(self, file: DataFile, least: tuple[str, Any] | None) -> pa.Table:
        """See `TableVersion`."""
        import pyarrow.dataset as ds

        with _told(self.origin):
            dataset = self.table.to_pyarrow_dataset()
            fragment = next(part for part in dataset.get_fragments() if part.path == file.name)
            wanted = None if least is None else (ds.field(least[0]) >= least[1]) | ds.field(least[0]).is_null()
            return fragment.to_table(schema=dataset.schema, filter=wanted)


@dataclass(frozen=True)
class DeltaTablePlace:
    """See `VersionedTable`.

    Attributes:
        place: A path, or the URI of an object store.
    """

    place: str

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"delta:{self.place}"

    def version(self, name: str | None = None) -> DeltaVersion | None:
        """See `VersionedTable`."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if name is not None:
            try:
                return DeltaVersion(name, self.origin, DeltaTable(self.place, version=int(name)))
            except DeltaError:  # its log was cleaned up, or the table was made anew
                return None
        with _told(self.origin):
            table = DeltaTable(self.place)
        return DeltaVersion(str(table.version()), self.origin, table)


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromtimestamp(value / 1000, UTC)


@contextmanager
def _told(origin: str) -> Iterator[None]:
    """Errors of the libraries as ours."""
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"cannot be read: {reason}", where=origin) from error


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the table at ``rest``.

    Raises:
        ConfigError: pyarrow is not installed.
        UsageError: There is no path, or a query is declared.
    """
    uri = f"delta:{rest}"
    if not rest:
        raise UsageError("there is no path", where=uri, hint="write it as delta:data/sales")
    if source.query is not None or source.table is not None:
        raise UsageError("a table of files takes no query", where="source.query", hint="leave it out")
    if find_spec("pyarrow") is None:
        raise ConfigError("Delta Lake as a source needs pyarrow", where=uri, hint="pip install pyarrow")
    place = rest if "://" in rest else str(Path(rest).expanduser())
    return VersionReader(source, DeltaTablePlace(place), context.named(source), context.cache)
