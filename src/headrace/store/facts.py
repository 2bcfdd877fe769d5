"""What is new among incoming facts, and which fact of an identity is latest: pure functions over frames.

A *fact* is one row that says: of this identity, these values were known from ``known_at`` on. Every frame
here carries ``known_at`` (Datetime ``us``, UTC); frames of stored facts also carry ``_version`` (Int64).
Nulls in an identity equal one another, and so do nulls and NaNs in values.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_
from typing import NamedTuple

import polars as pl

from headrace.store.awaited import filled, told_again

PART = 200_000
"""Rows that are compared at once: the joins of so many stay near the processor."""
KNOWN = "known_at"
VERSION = "_version"
_ROW = "__row"
_STORED = "__stored"
_OLD = "__old_"
_OWN = "__own"


@dataclass
class NewRows:
    """How many rows were new, and how many of them restate a known time."""

    new: int = 0
    restated: int = 0


class RowParts(NamedTuple):
    """Rows of which parts become known at different times: which stored facts are about the same part as a row.

    Those known from the row's own known time on and, where there is a later part, until `ends` before its event time.

    Attributes:
        time: The column of the event time, one of the identity.
        ends: None for the last part.
    """

    time: str
    ends: timedelta | None = None

    @property
    def end(self) -> pl.Expr | None:
        """When the next part becomes known."""
        return None if self.ends is None else pl.col(self.time) - self.ends

    def of(self, stored: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
        """The stored facts about the part that the rows tell."""
        own_known = rows.select(*identity, pl.col(KNOWN).alias(_OWN))
        matches = stored.join(own_known, on=list(identity), how="inner", nulls_equal=True).filter(
            pl.col(KNOWN) >= pl.col(_OWN)
        )
        return (matches if self.end is None else matches.filter(pl.col(KNOWN) < self.end)).drop(_OWN)


class AppendRule(NamedTuple):
    """How rows that are appended stand to what is stored.

    Attributes:
        corrected_at: When a row that differs became known; None: rows say themselves when they did.
        part: With `corrected_at`, the part of what there is to know that the rows tell.
        awaited: The column that is not known yet where it is missing; see `store.awaited`.
    """

    corrected_at: datetime | None = None
    part: RowParts | None = None
    awaited: str | None = None

    def news(
        self, existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str], compare: Sequence[str]
    ) -> pl.DataFrame:
        """The rows that say something new; arguments as in `new_in_chain`."""
        if self.corrected_at is not None:
            return corrections(existing, rows, identity, compare, self)
        if self.awaited is not None:
            rows = filled(existing, rows, identity, self.awaited)
        return new_in_chain(existing, rows, identity, compare)

    def again(self, existing: pl.DataFrame, new: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
        """Stored facts that the new ones complete."""
        return new.clear() if self.awaited is None else told_again(existing, new, identity, self.awaited)


def new_in_chain(
    existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str], compare: Sequence[str]
) -> pl.DataFrame:
    """The incoming rows that say something new, where rows bring their own known time.

    The facts of one identity form a chain ordered by (known_at, _version). A row is redundant when the fact
    before it says the same, or when that very fact (identity, known time, values) is stored already: the
    second rule is what keeps two batches that contradict each other for one known time from piling up when
    both are sent again and again. Of several rows with one identity and known time the last wins.

    Args:
        existing: Stored facts (n, identity + compare + known_at + _version) that could share an identity.
        rows: Incoming facts (m, ...), any order.
        identity: Columns that say what the fact is about.
        compare: Columns whose change makes a new fact.

    Returns:
        The new rows (k, columns of `rows`), in the order given.
    """
    distinct = are_distinct(rows, identity)
    if not distinct and not are_distinct(rows, [*identity, KNOWN]):
        rows = rows.unique([*identity, KNOWN], keep="last", maintain_order=True)
    rows = _without_stored(existing, rows, identity, compare)
    touched = _about(existing, rows, identity)
    if rows.is_empty() or (distinct and touched.is_empty()):
        return rows
    rows = rows.with_row_index(_ROW)
    facts = [*identity, *compare, KNOWN]
    stored = touched.select(*dict.fromkeys([*facts, VERSION])).with_columns(pl.lit(None, pl.UInt32).alias(_ROW))
    incoming = rows.select(*dict.fromkeys([*facts, _ROW])).with_columns(pl.lit(2**63 - 1).alias(VERSION))
    chain = pl.concat([stored, incoming.select(stored.columns)], how="vertical_relaxed")
    chain = chain.sort([*identity, KNOWN, VERSION, _ROW], maintain_order=True)
    # The first row has no predecessor: its shift is all null, which an all-null identity would equal.
    follows = pl.int_range(pl.len()) > 0
    equal = [pl.col(c).eq_missing(pl.col(c).shift(1)) for c in dict.fromkeys([*identity, *compare])]
    new = chain.filter(pl.col(_ROW).is_not_null() & ~reduce(and_, equal, follows)).get_column(_ROW)
    return rows.filter(pl.col(_ROW).is_in(new.implode())).drop(_ROW)


def corrections(
    existing: pl.DataFrame,
    rows: pl.DataFrame,
    identity: Sequence[str],
    compare: Sequence[str],
    rule: AppendRule,
) -> pl.DataFrame:
    """The incoming rows that say something new, where the source does not tell when it became known.

    Compared with the latest fact of the identity known at `rule.corrected_at`: equal values add nothing, an unknown
    identity keeps the row's own (derived) known time, other values are a correction known from then on.

    Args and returns as in `new_in_chain`; of several rows with one identity the last wins. With a `rule.part` only
    facts about the same part count, and once the next part is known nothing about this one is corrected.
    """
    learned_at, part, awaited = rule
    assert learned_at is not None
    if not are_distinct(rows, identity):
        rows = rows.unique(list(identity), keep="last", maintain_order=True)
    touched = _about(existing, rows, identity)
    if part is not None and not touched.is_empty():
        touched = part.of(touched, rows, identity)
    if rows.is_empty() or touched.is_empty():
        return rows
    current = latest(touched.filter(pl.col(KNOWN) <= learned_at), identity)
    values = [c for c in compare if c not in identity]
    old = current.select(*identity, *(pl.col(c).alias(_OLD + c) for c in values), pl.lit(True).alias(_STORED))
    joined = rows.join(old, on=list(identity), how="left", nulls_equal=True, maintain_order="left")
    if awaited is not None:
        joined = joined.with_columns(pl.coalesce(awaited, _OLD + awaited).alias(awaited))
    equal = [pl.col(c).eq_missing(pl.col(_OLD + c)) for c in values]
    stored = pl.col(_STORED).is_not_null()
    joined = joined.filter(~reduce(and_, equal, stored))
    if part is not None and part.end is not None:
        joined = joined.filter(~stored | (part.end > pl.lit(learned_at, pl.Datetime("us", "UTC"))))
    stamped = pl.when(stored).then(pl.lit(learned_at, pl.Datetime("us", "UTC"))).otherwise(KNOWN).alias(KNOWN)
    return _without_stored(touched, joined.with_columns(stamped).select(rows.columns), identity, compare)


def restated(existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str]) -> int:
    """How many of the rows have the identity and known time of a stored fact."""
    if existing.is_empty() or rows.is_empty():
        return 0
    join = list(dict.fromkeys([*identity, KNOWN]))
    return rows.select(join).join(existing.select(join), on=join, how="semi", nulls_equal=True).height


def in_parts(rows: pl.DataFrame, window: str) -> Iterator[pl.DataFrame]:
    """The rows in parts of about `PART`, those of one `window` value in one part; more than one in order of it.

    Facts of one identity share that value, so what is new in a part depends on no other part.
    """
    if rows.height <= PART:
        yield rows
        return
    # Places are sorted, not rows: a sorted copy of all of them would be held beside them.
    order = None if rows[window].is_sorted() else rows.select(pl.arg_sort_by(window, maintain_order=True)).to_series()
    values, start = rows[window] if order is None else rows[window].gather(order), 0
    while start < rows.height:
        last = values[min(start + PART, rows.height) - 1]
        end = int(values.search_sorted(last, side="right"))
        yield rows[start:end] if order is None else rows[order[start:end]]
        start = end


def latest(facts: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """The latest fact of each identity by (known_at, _version): (identities, columns of `facts`).

    Costs one pass over the identities when none has a second fact. The order of rows is not kept.
    """
    if are_distinct(facts, identity):
        return facts
    rows = facts.select(*dict.fromkeys([*identity, KNOWN, VERSION])).with_row_index(_ROW)
    rows = rows.sort([KNOWN, VERSION], maintain_order=True)
    keep = rows.unique(list(identity), keep="last", maintain_order=False).get_column(_ROW)
    return facts[keep.sort()]


def are_distinct(rows: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Whether all rows differ in these columns, told by their hashes: a tenth of the cost of finding equal rows.

    True is certain. False, where two different rows have one hash, is no more likely than n * n / 2^65.
    """
    return rows.select(columns).hash_rows().n_unique() == rows.height


def _about(existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """The stored facts about identities in `rows`."""
    if existing.is_empty():
        return existing
    return existing.join(rows.select(identity), on=list(identity), how="semi", nulls_equal=True)


def _without_stored(
    existing: pl.DataFrame, rows: pl.DataFrame, identity: Sequence[str], compare: Sequence[str]
) -> pl.DataFrame:
    """`rows` less those stored already with the same identity, known time and values."""
    if existing.is_empty():
        return rows
    join = list(dict.fromkeys([*identity, KNOWN]))
    values = [c for c in compare if c not in join]
    old = existing.lazy().select(*join, *(pl.col(c).alias(_OLD + c) for c in values))
    numbered = rows.lazy().select(*join, *values).with_row_index(_ROW)
    pairs = numbered.join(old, on=join, how="inner", nulls_equal=True)
    equal = reduce(and_, [pl.col(c).eq_missing(pl.col(_OLD + c)) for c in values], pl.lit(True))
    stored = pairs.filter(equal).select(_ROW).collect()[_ROW]  # at once, so that the join carries no keys along
    return rows.filter(pl.repeat(True, rows.height, eager=True).scatter(stored, False))
