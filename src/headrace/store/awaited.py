"""A column whose value may come later than its row: missing, it is not known yet, and takes nobody's place.

A file that was written before the truth was there, and is read again once it is known, says nothing about the truth.
So a row without it has the value of the fact before it, by known time, and a value that comes between two facts is told
again with those after it that lack it.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

_KNOWN, _VERSION, _ROW, _BEFORE = "known_at", "_version", "__row", "__before"
_NEWEST = 2**63 - 1


def filled(existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str], column: str) -> pl.DataFrame:
    """The rows (m, ...), where `column` is missing with the value that was known before them.

    Args:
        existing: Stored facts that could share an identity, with ``known_at`` and ``_version``.
        rows: Incoming facts with their known times; of two with one known time the later one follows the other.
        identity: Columns that say what a fact is about.
        column: The one that is awaited.
    """
    lacking = rows.filter(pl.col(column).is_null())
    if lacking.is_empty() or (lacking.height == rows.height and existing.is_empty()):
        return rows
    numbered = rows.with_row_index(_ROW)
    about: dict[str, Any] = {"on": list(identity), "how": "semi", "nulls_equal": True}
    columns = list(dict.fromkeys([*identity, column, _KNOWN]))
    stored = existing.filter(pl.col(column).is_not_null()).join(lacking, **about)
    stored = stored.select(*columns, _VERSION, pl.lit(None, pl.UInt32).alias(_ROW))
    incoming = numbered.join(lacking, **about).select(*columns, pl.lit(_NEWEST).alias(_VERSION), _ROW)
    chain = pl.concat([stored, incoming], how="vertical_relaxed").sort(_KNOWN, _VERSION, _ROW, nulls_last=False)
    values = chain.with_columns(pl.col(column).forward_fill().over(identity)).filter(pl.col(_ROW).is_not_null())
    found = values.select(_ROW, pl.col(column).cast(rows.schema[column]).alias(_BEFORE))
    joined = numbered.join(found, on=_ROW, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(column, _BEFORE).alias(column)).select(rows.columns)


def told_again(existing: pl.DataFrame, new: pl.DataFrame, identity: Sequence[str], column: str) -> pl.DataFrame:
    """Stored facts that lack `column` and are known after a new fact that has it, with it: (k, columns of `new`).

    Args as in `filled`; `new` are the facts that are about to be stored.
    """
    truths, lacking = new.filter(pl.col(column).is_not_null()), existing.filter(pl.col(column).is_null())
    if truths.is_empty() or lacking.is_empty():
        return new.clear()
    first = truths.group_by(identity).agg(pl.col(_KNOWN).min().alias(_BEFORE))
    touched = existing.join(first, on=list(identity), how="inner", nulls_equal=True)
    touched = touched.filter(pl.col(_KNOWN) > pl.col(_BEFORE)).select(*new.columns, _VERSION)
    touched = touched.sort(_KNOWN, _VERSION).unique([*identity, _KNOWN], keep="last", maintain_order=True)
    if touched[column].null_count() == 0:
        return new.clear()
    chain = pl.concat([touched, truths.with_columns(pl.lit(_NEWEST).alias(_VERSION))], how="vertical_relaxed")
    chain = chain.sort(_KNOWN, _VERSION, maintain_order=True)
    chain = chain.with_columns(pl.col(column).is_null().alias(_ROW), pl.col(column).forward_fill().over(identity))
    again = chain.filter(pl.col(_ROW) & pl.col(column).is_not_null())
    # A new fact of the same known time has the last word of it.
    return again.select(new.columns).join(new, on=[*identity, _KNOWN], how="anti", nulls_equal=True)
