"""The point-in-time join: for each asking row, the newest feature row that was known by then.

Works on row numbers: the join decides which row answers, the values are gathered once at the end. Its cost
does not depend on how long features live.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from headrace.store.facts import KNOWN, VERSION

_KEY = "__key"
_AT = "__at"
_ASK = "__ask"
_BEST = "__best"
_PART = 500_000


def matching_rows(
    spine: pl.DataFrame,
    facts: pl.DataFrame,
    keys: Sequence[str],
    *,
    spine_time: str,
    event_time: str,
    ttl: timedelta | None,
) -> pl.Series:
    """For each spine row the row number in `facts` that answers it, null where none does.

    The answer to (keys, T) is, among facts of these keys (null equals null) with ``known_at <= T`` and
    ``event_time <= T``, the greatest by (event time, known_at, _version), unless T - event time > `ttl`.

    Args:
        spine: (n, keys + spine_time), any order, duplicates welcome.
        facts: (m, keys + event_time + known_at + _version), any order.
        keys: Columns of the same types in both.
        spine_time: The asking time, Datetime UTC without nulls.
        event_time: The facts' event time, Datetime UTC without nulls.
        ttl: How old an answer may be; None for any age.

    Returns:
        (n,) UInt32 in spine order.
    """
    codes, known = _key_numbers(spine, facts, keys)
    answers = _standing(facts.select(event_time, KNOWN, VERSION), known, event_time)
    asks = pl.DataFrame({_ASK: pl.int_range(spine.height, dtype=pl.UInt32, eager=True), _KEY: codes})
    asks = asks.with_columns(spine.get_column(spine_time).cast(pl.Datetime("us", "UTC")).alias(_AT)).sort(_AT)
    # Both sides are in time order as a whole, hence within each key.
    joined = asks.join_asof(answers, on=_AT, by=_KEY, strategy="backward", check_sortedness=False)
    rows = pl.repeat(0, spine.height, dtype=pl.UInt32, eager=True)
    rows = rows.scatter(joined.get_column(_ASK), joined.get_column(_BEST))
    if ttl is None:
        return rows
    happened = facts.get_column(event_time).rechunk().gather(rows)
    age = spine.get_column(spine_time).cast(pl.Datetime("us", "UTC")) - happened
    return pl.select(pl.when(age <= ttl).then(rows)).to_series()


def _key_numbers(spine: pl.DataFrame, facts: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.Series, pl.Series]:
    """One integer per combination of keys asked for: for the spine, and for the facts (null: not asked)."""
    if not keys:
        zeros = [pl.repeat(0, frame.height, dtype=pl.UInt32, eager=True) for frame in (spine, facts)]
        return zeros[0], zeros[1]
    numbers = spine.select(keys).unique(maintain_order=False).with_row_index(_KEY)
    return _numbered(spine, numbers, keys), _numbered(facts, numbers, keys)


def _numbered(frame: pl.DataFrame, numbers: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Part by part: a join makes copies of the keys."""
    parts = [
        part.select(keys)
        .join(numbers, on=list(keys), how="left", nulls_equal=True, maintain_order="left")
        .get_column(_KEY)
        for part in frame.iter_slices(_PART)
    ]
    return pl.concat(parts) if parts else numbers.get_column(_KEY).clear()


def _standing(facts: pl.DataFrame, key: pl.Series, event_time: str) -> pl.DataFrame:
    """In time order, from when on (``__at``) which row (``__best``) is the answer for a key.

    A fact can answer from the later of its known and event time on. Going through the facts of a key in that
    order, the answer is the running greatest by (event time, known_at, _version). Where facts became known in
    the order they happened, which is nearly always, each is simply its own answer.
    """
    event, known, version = (facts.get_column(c).to_physical().to_numpy() for c in (event_time, KNOWN, VERSION))
    moments = np.maximum(event, known)
    # Not polars' sort: facts are stored nearly in time order, which this one makes use of.
    order = np.lexsort((version, known, event, moments))
    codes = key.gather(order).alias(_KEY)
    best, by_age = order, np.lexsort((version, known, event))
    if not np.array_equal(order, by_age):
        rank = np.empty(order.size, dtype=np.uint32)
        rank[by_age] = np.arange(order.size)
        ranks = pl.DataFrame([codes, pl.Series("rank", rank[order])])
        best = by_age[ranks.select(pl.col("rank").cum_max().over(_KEY)).to_series().to_numpy()]
    times = pl.Series(_AT, moments[order]).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame([times, codes, pl.Series(_BEST, best.astype(np.uint32))])
