"""``iceberg:CATALOG/NAMESPACE.TABLE``: a table of Apache Iceberg, by its snapshots or a watermark.

The catalogue is pyiceberg's own: ``~/.pyiceberg.yaml``, or ``PYICEBERG_CATALOG__NAME__URI`` and others in the
environment, where its login is too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.versions import DataFile, VersionReader

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class IcebergSnapshot:
    """See `TableVersion`.

    Attributes:
        name: Its id.
        origin: The table.
        table: As the library has it.
    """

    name: str
    origin: str
    table: Any = field(repr=False)

    def schema(self) -> pa.Schema:
        """See `TableVersion`."""
        with _told(self.origin):
            return self._scan().projection().as_arrow()

    def files(self) -> list[DataFile]:
        """See `TableVersion`."""
        with _told(self.origin):
            wanted = {task.file.file_path for task in self._scan().plan_files()}
            entries = self.table.inspect.entries(int(self.name)).select(["snapshot_id", "data_file"]).to_pylist()
        moments = {snapshot.snapshot_id: snapshot.timestamp_ms for snapshot in self.table.metadata.snapshots}
        newest = moments[int(self.name)]
        names = {entry["data_file"]["file_path"]: moments.get(entry["snapshot_id"], newest) for entry in entries}
        return [
            DataFile(name, datetime.fromtimestamp(moment / 1000, UTC))
            for name, moment in names.items()
            if name in wanted
        ]

    def rows(self, file: DataFile, least: tuple[str, Any] | None) -> pa.Table:
        """See `TableVersion`."""
        from pyiceberg.io.pyarrow import ArrowScan

        with _told(self.origin):
            scan = self._scan(least)
            tasks = [task for task in scan.plan_files() if task.file.file_path == file.name]
            return ArrowScan(self.table.metadata, self.table.io, scan.projection(), scan.row_filter).to_table(tasks)

    def _scan(self, least: tuple[str, Any] | None = None) -> Any:
        from pyiceberg import expressions

        if least is None:
            return self.table.scan(snapshot_id=int(self.name))
        column, value = least
        text = value.isoformat() if isinstance(value, date) else value
        make: Any = expressions  # its types know its models' keywords only
        wanted = make.Or(make.GreaterThanOrEqual(column, text), make.IsNull(column))
        return self.table.scan(wanted, snapshot_id=int(self.name))


@dataclass(frozen=True)
class IcebergTable:
    """See `VersionedTable`.

    Attributes:
        catalog: Its name.
        table: Namespace and name.
    """

    catalog: str
    table: str

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"iceberg:{self.catalog}/{self.table}"

    def version(self, name: str | None = None) -> IcebergSnapshot | None:
        """See `VersionedTable`."""
        from pyiceberg.catalog import load_catalog
        from pyiceberg.utils.config import Config

        with _told(self.origin):
            settings: Any = Config().get_catalog_config(self.catalog) or {}
            table = load_catalog(self.catalog, **settings).load_table(self.table)
        snapshot = table.current_snapshot() if name is None else table.snapshot_by_id(int(name))
        return None if snapshot is None else IcebergSnapshot(str(snapshot.snapshot_id), self.origin, table)


@contextmanager
def _told(origin: str) -> Iterator[None]:
    """Errors of the libraries as ours. pyiceberg's have no base, but a module."""
    import pyarrow as pa

    try:
        yield
    except Exception as error:
        known = isinstance(error, pa.ArrowException | OSError | ValueError)
        if not known and not type(error).__module__.startswith(("pyiceberg", "sqlalchemy", "requests")):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(f"cannot be read: {reason}", where=origin) from error


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the table ``rest``.

    Raises:
        ConfigError: pyiceberg is not installed.
        UsageError: The URI has another form, or a query is declared.
    """
    uri = f"iceberg:{rest}"
    catalog, _, table = rest.partition("/")
    if not catalog or "." not in table:
        raise UsageError("names no table", where=uri, hint="write it as iceberg:CATALOG/NAMESPACE.TABLE")
    if source.query is not None or source.table is not None:
        raise UsageError("a table of files takes no query", where="source.query", hint="leave it out")
    if find_spec("pyiceberg") is None:
        raise ConfigError("Iceberg needs pyiceberg", where=uri, hint="pip install 'headrace[iceberg]'")
    return VersionReader(source, IcebergTable(catalog, table), context.named(source), context.cache)
