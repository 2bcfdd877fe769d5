"""Which frames a table can hold, and how a frame is brought to a table's types without losing anything.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from headrace.errors import StoreError, UsageError
from headrace.store.facts import KNOWN, VERSION

UTC_TIME = pl.Datetime("us", "UTC")
# Delta has no unsigned integers: the next wider signed type holds every value.
_SIGNED: dict[pl.DataType, pl.DataType] = {
    pl.UInt8(): pl.Int16(),
    pl.UInt16(): pl.Int32(),
    pl.UInt32(): pl.Int64(),
}
_INTEGERS: list[pl.DataType] = [pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64()]
_HINTS = {
    "UInt64": "cast it to Int64",
    "Duration": "store it as a number of seconds",
    "Time": "store it as a String or as a number of seconds",
    "Int128": "cast it to Int64",
}


def conform(rows: pl.DataFrame, schema: Mapping[str, pl.DataType] | None, where: str) -> pl.DataFrame:
    """`rows` with types that a table holds, equal to `schema` where the table has the column already.

    Times become ``us`` in UTC (same instants), unsigned integers the next wider signed type, categories
    strings; narrower numbers widen to the table's type. Columns that the rows lack are added as nulls.

    Raises:
        StoreError: A column cannot be stored, or has another type than the table's; ``where`` names it.
    """
    casts: list[pl.Expr] = []
    for name, dtype in rows.schema.items():
        if name == VERSION:
            raise StoreError("the column is stamped by the store itself", where=f"{where}:{name}", hint="drop it")
        target = schema[name] if schema and name in schema else None
        storable = _storable(name, dtype, target, where)
        if target is not None and storable != target:
            if not _widens(storable, target):
                raise StoreError(
                    f"the rows have {dtype} where the table has {target}",
                    where=f"{where}:{name}",
                    hint=f"cast the column to {target}, or write it under a new name",
                )
            storable = target
        if storable != dtype:
            casts.append(pl.col(name).cast(storable))
    absent = [(c, t) for c, t in (schema or {}).items() if c not in rows.columns and c != VERSION]
    return rows.with_columns(*casts, *(pl.lit(None, t).alias(c) for c, t in absent))


def stamp(rows: pl.DataFrame, version: int, window: str, identity: Sequence[str]) -> pl.DataFrame:
    """`rows` as they are written: with their logical version, in order of `window`.

    Time order lets reads skip files and row groups. The columns that reads filter on come first, since Delta
    keeps statistics of the first 32 columns only.
    """
    first = dict.fromkeys([KNOWN, VERSION, window, *identity])
    rows = rows.with_columns(pl.lit(version, pl.Int64).alias(VERSION))
    rows = rows.select(*first, *(c for c in rows.columns if c not in first))
    return rows if rows[window].is_sorted() else rows.sort(window, KNOWN, maintain_order=True)


def require_filled(rows: pl.DataFrame, column: str, where: str) -> None:
    """Raise `StoreError` when the column has nulls."""
    if rows[column].null_count():
        raise StoreError(
            f"{rows[column].null_count()} rows have no value here",
            where=f"{where}:{column}",
            hint="set them apart",
        )


def require(columns: Iterable[str], present: Iterable[str], where: str) -> None:
    """Raise `UsageError` naming the first of `columns` that is not `present`."""
    known = set(present)
    for name in columns:
        if name not in known:
            raise UsageError(f"there is no column {name!r}", where=where, hint=f"there are: {', '.join(sorted(known))}")


def require_time(name: str, dtype: pl.DataType | None, where: str) -> None:
    """Raise `StoreError` unless `dtype` is a Datetime with a time zone."""
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise StoreError(
            f"the column must be a time with a time zone, it is {dtype}",
            where=f"{where}:{name}",
            hint="say whose clock it is: .dt.replace_time_zone('Europe/Copenhagen'), or 'UTC'",
        )


def in_utc(rows: pl.DataFrame, time: str) -> pl.DataFrame:
    """The rows with the same instants of a zoned `time` column, told in UTC."""
    dtype = rows.schema[time]
    if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC":
        return rows
    return rows.with_columns(pl.col(time).dt.convert_time_zone("UTC"))


def _storable(name: str, dtype: pl.DataType, target: pl.DataType | None, where: str) -> pl.DataType:
    if isinstance(dtype, pl.Null) and target is not None:
        return target
    if isinstance(dtype, pl.Datetime):
        require_time(name, dtype, where)
        if dtype.time_unit == "ns":
            raise StoreError("nanoseconds cannot be kept", where=f"{where}:{name}", hint="use .dt.cast_time_unit('us')")
        return UTC_TIME
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if dtype in _SIGNED:
        return _SIGNED[dtype]
    kind = str(dtype.base_type())
    if kind in _HINTS or isinstance(dtype, pl.Null | pl.Object):
        hint = _HINTS.get(kind, "give the column a type")
        raise StoreError(f"a column of {kind} cannot be stored", where=f"{where}:{name}", hint=hint)
    return dtype


def _widens(dtype: pl.DataType, target: pl.DataType) -> bool:
    if dtype in _INTEGERS and target in _INTEGERS:
        return _INTEGERS.index(dtype) <= _INTEGERS.index(target)
    return (dtype, target) == (pl.Float32(), pl.Float64())


def normal_types(columns: Mapping[str, pl.DataType], where: str) -> dict[str, pl.DataType]:
    """The types under which a table holds `columns` (see `conform`)."""
    empty = pl.DataFrame(schema=dict(columns))
    return dict(conform(empty, None, where).schema)
