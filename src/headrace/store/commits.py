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
ENOUGH = 3 * FILE_SIZE // 4
"""Bytes of small files that make one of a good size: more at once would only take more memory."""


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


def unmerged(snapshot: DeltaTable) -> tuple[int, int, int]:
    """The first version after all files of a good size; how many files hold those from there on, and of how many bytes.

    Versions only grow, so no file reaches over that border.
    """
    import polars as pl

    files = pl.DataFrame(snapshot.get_add_actions(flatten=True)).select("size_bytes", "min._version", "max._version")
    merged = files.filter(pl.col("size_bytes") >= FILE_SIZE // 2).get_column("max._version").max()
    first = int(merged) + 1 if isinstance(merged, int) else 1
    small = files.filter(pl.col("min._version") >= first)
    return first, small.height, int(small.get_column("size_bytes").sum())


def spans(snapshot: DeltaTable, first: int, rows: int) -> list[tuple[int, int]]:
    """Spans of versions from `first` on, in order, of about so many rows each; no file reaches over their borders."""
    import polars as pl

    files = pl.DataFrame(snapshot.get_add_actions(flatten=True)).filter(pl.col("min._version") >= first)
    windows: list[tuple[int, int]] = []
    held, begin, end = 0, first, first
    columns = ("min._version", "max._version", "num_records")
    for least, largest, count in files.select(columns).sort("min._version", "max._version").iter_rows():
        if held and least > end and held + count > rows:
            windows.append((begin, end))
            held, begin = 0, end + 1
        held, end = held + count, max(end, largest)
    return [*windows, (begin, end)]


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
