"""Which series have gone silent while others go on, by the moments at which their observations became known.

A series that has been silent for longer than a span has ended, and counts no more. What pause is usual follows from the
half of that span before its last observation. A pause longer than half of it is not usual: the series began anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

PAST = 2
"""So many spans before a time are looked at, and nothing before them changes what is said of it."""


@dataclass(frozen=True)
class SilenceRequest:
    """What is asked of pauses.

    Attributes:
        keys: Columns that tell series apart.
        least: A shorter pause is none.
        ended: After a longer one a series has ended.
    """

    keys: tuple[str, ...]
    least: timedelta
    ended: timedelta


def width_of(least: timedelta, every: timedelta) -> timedelta:
    """The longest stretch that is no pause, and of which evaluation times are a multiple apart.

    >>> width_of(timedelta(hours=7), timedelta(days=1)), width_of(timedelta(hours=7), timedelta(hours=1))
    (datetime.timedelta(seconds=21600), datetime.timedelta(seconds=3600))
    """
    micros, longest = (length // timedelta(microseconds=1) for length in (every, max(least, timedelta(minutes=1))))
    parts = -(-micros // longest)
    while micros % parts:
        parts += 1
    return every / parts


def stretches(facts: pl.LazyFrame, keys: Sequence[str], width: timedelta) -> pl.LazyFrame:
    """When observations became known, a row for each series and stretch of time; pauses in a stretch are left out.

    Args:
        facts: Key columns, ``known_at`` and ``_observed`` (the event time), UTC.
        keys: Columns that tell series apart.
        width: Of a stretch; they end at multiples of it since 1970, which belong to them.

    Returns:
        The key columns, ``_begin`` and ``known_at`` (the first and the last known time), ``_observed`` (the newest).
    """
    import polars as pl

    micros, known = width // timedelta(microseconds=1), pl.col("known_at")
    stretch = ((known.dt.epoch("us") - 1) // micros).alias("_stretch")
    ends = known.min().alias("_begin"), known.max(), pl.col("_observed").max()
    return facts.group_by(*keys, stretch).agg(ends).drop("_stretch")


def silences(moments: pl.DataFrame, times: Sequence[datetime], request: SilenceRequest) -> pl.DataFrame:
    """The series that are silent at each time, and how many there are.

    Args:
        moments: From `stretches`, whose ends are evaluation times too; from `PAST` times the span before the first time
            on.
        times: Ascending, UTC.
        request: What is asked.

    Returns:
        As `MonitoringFacts.silences` has it.
    """
    import polars as pl

    keys = list(request.keys)
    frame = moments.sort(*keys, "known_at")
    following = pl.col("_begin").shift(-1).over(keys)
    frame = frame.with_columns(_end=pl.min_horizontal(following, pl.col("known_at") + request.ended))
    evaluation, starts, ends = (_micros(moments) for moments in (_series(times), frame["known_at"], frame["_end"]))
    order = np.sort(starts)
    before = np.searchsorted(order, evaluation, "right")
    newest = np.where(before > 0, np.concatenate([[0], order])[before], 0)
    there = pl.DataFrame({"time": _series(times), "_newest": newest}).with_columns(
        pl.col("_newest").cast(pl.Datetime("us", "UTC")),
        _alive=pl.Series(before - np.searchsorted(np.sort(ends), evaluation, "right")),
        _place=pl.int_range(len(times), dtype=pl.Int64),
    )
    # The newest never goes back: a series is silent from one place among the times to another.
    begin = np.searchsorted(newest, starts + request.least // timedelta(microseconds=1), "right")
    first = pl.Series(np.maximum(begin, np.searchsorted(evaluation, starts)))
    last = pl.Series(np.searchsorted(evaluation, ends))
    marked = frame.with_columns(_first=first, _last=last, _silent=first < last)
    silent = _with_usual(marked.filter(pl.col("_silent").any().over(keys)), keys, request.ended / 2)
    silent = silent.filter("_silent").with_columns(_place=pl.int_ranges("_first", "_last")).explode("_place")
    joined = there.filter(pl.col("_alive") > 0).join(silent, on="_place", how="left", maintain_order="left_right")
    seconds = (pl.col("_newest") - pl.col("known_at")).dt.total_microseconds() / 1e6
    names = ("time", *keys, "known_at", "_observed", "_seconds", "_usual", "_pauses", "_alive")
    return joined.with_columns(_seconds=seconds).select(names)


def _with_usual(frame: pl.DataFrame, keys: list[str], half: timedelta) -> pl.DataFrame:
    """With the longest usual pause of the half span up to each moment, and how many there are."""
    import polars as pl

    pause = pl.col("_begin") - pl.col("known_at").shift(1).over(keys)
    frame = frame.with_columns(_pause=pl.when(pause <= half).then(pause.dt.total_microseconds() / 1e6))
    longest = pl.col("_pause").rolling_max_by("known_at", half).over(keys)
    count = pl.col("_pause").is_not_null().cast(pl.Int64).rolling_sum_by("known_at", half).over(keys)
    return frame.with_columns(_usual=longest, _pauses=count)


def _series(times: Sequence[datetime]) -> pl.Series:
    import polars as pl

    return pl.Series("time", list(times), pl.Datetime("us", "UTC"))


def _micros(moments: pl.Series) -> NDArray[np.int64]:
    return moments.dt.epoch("us").to_numpy()
