"""Bad rows as they came, each with an id and every reason."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.faults import RuleFault
from headrace.contract.known import KNOWN_AT
from headrace.contract.malformed import without_malformed

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 200_000
"""Rows of which texts and digests are made at once: bounds the memory."""


def bad_rows(
    raw: pl.DataFrame,
    work: pl.DataFrame,
    faults: list[RuleFault],
    is_bad: pl.Series,
    time: str | None,
    as_of: datetime,
) -> pl.DataFrame:
    """The quarantine frame: ``id``, ``time``, ``known_at``, ``row`` and ``reasons``, in the rows' order.

    The id digests the row as it came and its place among identical bad rows: the same bad row read again
    tomorrow, beside other rows, has the same id. Its known time is ``as_of`` where the row tells none, or
    one that has not come.

    Args:
        raw: The rows as they came.
        work: The working frame: typed columns, columns as they came, and the known time.
        faults: What was found; masks are over ``work``.
        is_bad: Which rows broke at least one rule.
        time: The name of the event time, if the system has one.
        as_of: The run's time.
    """
    import polars as pl

    parts = []
    for first in range(0, max(work.height, 1), _AT_ONCE):  # what is made on the way is as large as the rows
        rows, typed = raw.slice(first, _AT_ONCE), work.slice(first, _AT_ONCE)
        part = [RuleFault(fault.label, fault.mask.slice(first, _AT_ONCE), fault.reason) for fault in faults]
        parts.append(_rows(rows, typed, part, is_bad.slice(first, _AT_ONCE), time, as_of))
    combined = parts[0] if len(parts) == 1 else pl.concat(parts)
    return combined.select(ids_of(combined["row"]), *combined.columns)


def _rows(
    raw: pl.DataFrame,
    work: pl.DataFrame,
    faults: list[RuleFault],
    is_bad: pl.Series,
    time: str | None,
    as_of: datetime,
) -> pl.DataFrame:
    """The quarantine frame of a part of the rows, without ids."""
    import polars as pl

    # Where columns have several chunks, of which the filter leaves some empty, polars panics on making texts.
    came, work = raw.filter(is_bad).rechunk(), work.filter(is_bad).rechunk()
    utc = pl.Datetime("us", "UTC")
    came, lines = without_malformed(came)
    texts = row_texts(came)
    if lines is not None:
        texts = lines.fill_null(texts).alias("row")
    limit = pl.lit(as_of.astimezone(UTC), dtype=utc)
    event = pl.col(time) if time is not None else pl.lit(None, dtype=utc)
    return work.select(
        event.alias("time"),
        pl.min_horizontal(pl.col(KNOWN).fill_null(limit), limit).alias(KNOWN_AT),
        texts,
        _reasons(work, [fault.filter(is_bad) for fault in faults]),
    )


KNOWN = ":known_at"
"""The known time in a working frame; a declared column may be called ``known_at`` itself."""


def _reasons(work: pl.DataFrame, faults: list[RuleFault]) -> pl.Series:
    import polars as pl

    if not faults or not work.height:
        return pl.Series("reasons", [], dtype=pl.List(pl.String))
    marks = [fault.mask.alias(f":{place}") for place, fault in enumerate(faults)]
    texts = [pl.when(pl.col(f":{place}")).then(fault.reason) for place, fault in enumerate(faults)]
    reasons = pl.concat_list([text.alias(f":text{place}") for place, text in enumerate(texts)]).list.drop_nulls()
    return work.with_columns(marks).select(reasons.alias("reasons")).to_series()


def ids_of(texts: pl.Series) -> pl.Series:
    """The id of every bad row, by its text and its place among the same texts."""
    import polars as pl

    text = texts.alias("text")
    places = pl.Series("place", [0]).new_from_index(0, text.len())
    is_repeated = text.is_duplicated()
    if is_repeated.any():
        turns = text.filter(is_repeated).to_frame().select(pl.int_range(pl.len()).over("text")).to_series()
        places = places.scatter(is_repeated.arg_true(), turns)
    rows = pl.DataFrame({"place": places, "text": text})
    parts = [pl.Series("id", [], dtype=pl.String)]
    for part in rows.iter_slices(_AT_ONCE):  # texts and digests of Python take five times the room
        ids = [
            hashlib.sha256(f"{place}\x00{row_text}".encode()).hexdigest()[:32] for place, row_text in part.iter_rows()
        ]
        parts.append(pl.Series("id", ids, dtype=pl.String))
    return pl.concat(parts)


def row_texts(rows: pl.DataFrame) -> pl.Series:
    """Every row as the text of a JSON object; NaN and infinity, which JSON lacks, as text."""
    import polars as pl

    if not rows.height:
        return pl.Series("row", [], dtype=pl.String)
    plain = (pl.String, pl.Boolean, pl.Date, pl.Null)
    odd = [
        n
        for n, t in rows.schema.items()
        if not (t in plain or t.is_integer() or t.is_float() or isinstance(t, pl.Datetime))
    ]
    floats = [pl.col(name).is_finite().fill_null(True) for name, dtype in rows.schema.items() if dtype.is_float()]
    simple = (
        rows.select(pl.all_horizontal(floats)).to_series()
        if floats
        else pl.Series([True]).new_from_index(0, rows.height)
    )
    if odd:
        simple = pl.Series([False]).new_from_index(0, rows.height)
    if simple.all():
        return _encoded(rows)
    texts = [
        json.dumps(_jsonable(row), ensure_ascii=False, separators=(",", ":"))
        for row in rows.filter(~simple).iter_rows(named=True)
    ]
    text = pl.Series("row", [None], dtype=pl.String).new_from_index(0, rows.height)
    text = text.scatter((~simple).arg_true(), pl.Series(texts, dtype=pl.String))
    return text.scatter(simple.arg_true(), _encoded(rows.filter(simple))) if simple.any() else text


def _encoded(rows: pl.DataFrame) -> pl.Series:
    import polars as pl

    return rows.select(pl.struct(pl.all()).struct.json_encode().alias("row")).to_series()


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int | bool) else str(value)
