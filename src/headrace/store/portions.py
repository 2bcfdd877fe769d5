"""The latest facts of a table in portions: as many rows as memory should hold, in the order of their identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.delta import Table

ROWS = 50_000
"""Facts of a portion, about."""


def read_portions(
    table: Table,
    *,
    identity: Sequence[str],
    columns: Sequence[str],
    version: int,
    as_of: datetime,
    where: pl.Expr,
    rows: int | None = None,
) -> Iterator[pl.DataFrame]:
    """`Table.read` in portions, one at least: one after the other they are what it gives at once.

    Each is a range of the first column of the identity, and files and row groups outside it are not read. That column
    alone is in memory as a whole. Facts that share a value of it are in one portion.

    Args:
        table: The table.
        identity, columns, version, as_of, where: See `Table.read`.
        rows: Facts of a portion that fulfil `where`; more where more share a value. None: `ROWS`.

    Raises:
        NotFoundError, UsageError, StoreError: As `Table.read`.
    """
    import polars as pl

    from headrace.store import schema

    name, rows = identity[0], rows or ROWS
    schema.require([name, *where.meta.root_names()], list(table.schema()), table.uri)
    lazy = table.scan(version=version, as_of=as_of, where=where).select(name)
    values = table.collect(lazy).to_series().drop_nulls().sort()
    edges = values[rows::rows].unique(maintain_order=True).to_list()
    column = pl.col(name)
    for least, beyond in pairwise([None, *edges, None]):
        inside = []  # a portion without a lower end has what is null, too, which comes first in order
        if beyond is not None:
            below = column < pl.lit(beyond, values.dtype)
            inside.append(below | column.is_null() if least is None else below)
        if least is not None:
            inside.append(column >= pl.lit(least, values.dtype))
        filters = [*inside, where]
        yield table.read(identity=identity, columns=columns, version=version, as_of=as_of, where=filters)
