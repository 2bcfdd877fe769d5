"""Batches of Arrow from a database as frames: the same types, whichever database they come from.

Whole numbers are Int64, unless they are longer, others Float64; times are microseconds, in UTC where they have a zone.
What would lose something is text: decimals digit for digit, JSON and lists as JSON. Other types are refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import SourceError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

PART = 50_000
"""Rows of one frame: bounds memory."""


def frames(schema: pa.Schema, batches: Iterable[pa.RecordBatch], where: str) -> Iterator[pl.DataFrame]:
    """The rows of batches in frames of `PART` at most; one empty frame where there are none.

    Args:
        schema: Of every batch.
        batches: Read one after the other.
        where: The database, for messages.

    Raises:
        SourceError: Two columns have one name, or one is of a type that a frame does not hold.
    """
    import polars as pl

    for field in schema:
        if schema.names.count(field.name) > 1:
            text = f"two columns are called {field.name!r}"
            raise SourceError(text, where="source.query", hint="rename one: AS ...")
        refuse(field, where)
    yielded, rows, parts = False, 0, list[pl.DataFrame]()
    for batch in batches:
        parts += [frame_of(batch.slice(first, PART)) for first in range(0, batch.num_rows, PART)]
        rows += batch.num_rows
        if rows >= PART:
            frame = pl.concat(parts)
            whole = rows - rows % PART
            yield from frame[:whole].iter_slices(PART)
            yielded, parts, rows = True, [frame[whole:]], rows - whole
    if rows or not yielded:
        yield pl.concat(parts, rechunk=True) if rows else frame_of(schema.empty_table())


def frame_of(batch: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    """A batch or table as a frame."""
    import polars as pl
    import pyarrow as pa

    columns = {name: _plain(batch.column(place)) for place, name in enumerate(batch.schema.names)}
    if not columns:
        return pl.DataFrame(height=batch.num_rows)
    table = pl.DataFrame(pa.table(columns))
    return table.select(_normal(column) for column in table)


def refuse(field: pa.Field, where: str) -> None:
    """Refuse a column of a type that a frame does not hold.

    Raises:
        SourceError: It is one; the message names column and type.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = field.type
    text = str(kind)
    if isinstance(kind, pa.BaseExtensionType):
        named = getattr(kind, "type_name", getattr(kind, "extension_name", text))
        if named in ("arrow.uuid", "arrow.json", "arrow.bool8") or kinds.is_string(kind.storage_type):
            return
        text = str(named)
    elif (field.metadata or {}).get(b"POSTGRESQL:type") == b"money":
        text = "money"
    elif not (
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_interval(kind)
        or kinds.is_duration(kind)
    ):
        return
    elif "binary" in text:
        text = "bytes"
    hint = "leave it out of the query, or cast it to text there"
    raise SourceError(f"{field.name} holds {text}", where=where, hint=hint)


def _plain(column: Any) -> Any:
    """A column of Arrow without extension types: what they hold, as text where it is an id."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([_plain(chunk) for chunk in column.chunks], type=_plain_type(column.type))
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    if column.type.extension_name == "arrow.uuid":
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return column.storage


def _plain_type(kind: Any) -> Any:
    import pyarrow as pa

    if not isinstance(kind, pa.BaseExtensionType):
        return kind
    return pa.string() if kind.extension_name == "arrow.uuid" else kind.storage_type


def _normal(column: pl.Series) -> pl.Series:
    import polars as pl

    kind: Any = column.dtype
    if kind.is_integer() and kind != pl.UInt64:
        column = column.cast(pl.Int64)
    elif kind.is_float():
        column = column.cast(pl.Float64)
    elif kind == pl.Datetime:
        zone = "UTC" if kind.time_zone else None
        column = (column.dt.convert_time_zone("UTC") if zone else column).cast(pl.Datetime("us", zone))
    elif kind.is_decimal() and not kind.scale:  # whole numbers of any length, as sums of such are
        numbers = column.cast(pl.Int64, strict=False)
        column = numbers if numbers.null_count() == column.null_count() else column.cast(pl.String)
    elif kind.is_nested():
        texts = [None if value is None else _json(value) for value in column.to_list()]
        column = pl.Series(column.name, texts, pl.String)
    elif kind not in (pl.Boolean, pl.Date, pl.Time, pl.String):
        column = column.cast(pl.String)  # decimals, very large numbers, members of enumerations, nothing at all
    return column


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def no_order(dtypes: Mapping[str, Any], column: str) -> bool:
    """Whether a column's order is not the same here as in the database: text, truth, times of day."""
    import polars as pl

    dtype = dtypes[column]
    return not (dtype.is_numeric() or dtype in (pl.Date, pl.Datetime))
