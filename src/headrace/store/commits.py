"""How the commits of a table are written and read: their numbers, their properties, what files they leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.store import location

if TYPE_CHECKING:
    import polars as pl
    from deltalake import CommitProperties, DeltaTable, WriterProperties

APP = "headrace"
VERSION_KEY = "headrace.version"
ROW_GROUP = 131_072
FILE_SIZE = 32 * 2**20


def opened(uri: str, options: Mapping[str, str] | None) -> DeltaTable | None:
    """The table at `uri` as its log tells it now; None where there is none. Fails as the library does."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    if not location.may_hold_table(uri):
        return None
    try:
        return DeltaTable(location.by_url(uri), storage_options=None if options is None else dict(options))
    except TableNotFoundError:
        return None


def version_of(snapshot: DeltaTable) -> int:
    """The logical version of a snapshot."""
    return snapshot.transaction_version(APP) or 0


def unmerged(snapshot: DeltaTable) -> tuple[int, int]:
    """The first version after all files of a good size, and how many files hold the versions from there on.

    Versions only grow, so no file reaches over that border.
    """
    import polars as pl

    files = pl.DataFrame(snapshot.get_add_actions(flatten=True)).select("size_bytes", "min._version", "max._version")
    merged = files.filter(pl.col("size_bytes") >= FILE_SIZE // 2).get_column("max._version").max()
    first = int(merged) + 1 if isinstance(merged, int) else 1
    return first, int((files.get_column("min._version") >= first).sum())


def properties(app: str, version: int) -> CommitProperties:
    """What a commit says of itself: its number among those of one application."""
    from deltalake import CommitProperties, Transaction

    metadata = {VERSION_KEY: str(version)} if app == APP else None
    return CommitProperties(custom_metadata=metadata, app_transactions=[Transaction(app, version)])


def writer(rows: pl.DataFrame) -> WriterProperties:
    """How to write a file of these rows: a dictionary of numbers that seldom repeat costs time and space."""
    import polars.selectors as cs
    from deltalake import ColumnProperties, WriterProperties

    plain = dict.fromkeys(rows.select(cs.float()).columns, ColumnProperties(dictionary_enabled=False))
    return WriterProperties(compression="ZSTD", max_row_group_size=ROW_GROUP, column_properties=plain or None)
