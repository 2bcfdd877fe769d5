"""A check in parts says what a check of the whole says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.contract import (
    BeyondZ,
    CheckContext,
    Column,
    Contract,
    Forbids,
    Gaps,
    KnownTimes,
    LevelCount,
    Matches,
    MaximumRows,
    MeanBand,
    MinimumRows,
    OutOfRange,
    Share,
    SpreadBand,
    Staleness,
    Unique,
    Validation,
    ZScore,
    check,
    check_parts,
)
from headrace.grid import Grid

RULES = (
    Share(column="value", condition="zero", at_most=0.1),
    Gaps(at_most=0.2),
    ZScore(column="value", limit=1.5, min_periods=3),
    Staleness(at_most="2h"),
    MinimumRows(min_rows=3),
    MaximumRows(max_rows=9),
    OutOfRange(column="value", maximum=2, at_most=0.2, confidence=0.9),
    MeanBand(column="value", minimum=1, maximum=2, min_rows=3, confidence=0.8),
    SpreadBand(column="value", minimum=1, maximum=2, min_rows=3, confidence=0.8),
    BeyondZ(column="value", z=1.1, side="above", log=True, at_most=0.05),
    Forbids(column="key", pattern="b", at_most=0.3),
    Matches(column="key", pattern="[ab]", at_most=0.3),
    LevelCount(column="key", minimum=2, at_most=0.5),
    Unique(column="value", at_most=0.5),
)
HOURS = 8
SEEN: CheckContext = {
    "keys": ("key",),
    "time": "time",
    "grid": Grid(timedelta(hours=1)),
    "as_of": datetime(2026, 1, 1, HOURS - 1, tzinfo=UTC),
    "now": datetime(2026, 1, 2, tzinfo=UTC),
    "known": KnownTimes(lag=timedelta(hours=1)),
}
ROWS = st.lists(
    st.tuples(
        st.integers(0, HOURS - 1),
        st.sampled_from(["a", "b", "c", "bad"]),
        st.sampled_from(["0", "1", "2", "9", "-1", "x", None]),
        st.booleans(),
    ),
    max_size=40,
)


def contract(*more: ZScore) -> Contract:
    columns = (
        Column("key", "category", values=("a", "b", "c")),
        Column("time", "time", zone="UTC"),
        Column("value", "float", minimum=0),
    )
    return Contract(columns=columns, rules=(*RULES, *more), staleness="1h")


def frames(rows: list[tuple[int, str, str | None, bool]], size: int) -> list[pl.DataFrame]:
    schema = dict.fromkeys(("part", "time", "key", "value", "more"), pl.String) | {"part": pl.Int64}
    data = [
        (hour // size, None if lost else f"2026-01-01T{hour:02}:00:00Z", key, value, "")
        for hour, key, value, lost in sorted(rows, key=lambda row: row[0])
    ]
    frame = pl.DataFrame(data, schema=schema, orient="row")
    return [frame.filter(pl.col("part") == part).drop("part") for part in range(HOURS // size)]


def told(found: Validation) -> dict[str, Any]:
    """The report; which of two reasons that are as frequent is named first is open, and so are the last digits."""
    report = {name: value for name, value in found.as_dict().items() if name != "why_broken"}
    return report | {"findings": [each | {"numbers": rounded(each["numbers"])} for each in report["findings"]]}


def rounded(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: round(each, 9) if isinstance(each, float) else each for name, each in numbers.items()}


OUTLIER = [(hour, "a", "9" if hour == 3 else "0", False) for hour in range(5)]


@given(rows=ROWS, size=st.sampled_from([1, 2, 4]), apart=st.booleans())
@example(rows=OUTLIER, size=1, apart=True)
def test_parts_and_the_whole_say_the_same(
    rows: list[tuple[int, str, str | None, bool]], size: int, apart: bool
) -> None:
    asked = contract(*([ZScore(column="value", limit=1.2, min_periods=3, severity="quarantine")] if apart else []))
    parts = frames(rows, size)
    whole = check(asked, pl.concat(parts, rechunk=True), **SEEN)
    found = check_parts(asked, parts, lambda good: good, **SEEN)
    assert found.good.equals(whole.good)
    assert found.bad.equals(whole.bad)
    assert told(found) == told(whole)
    few = check_parts(asked, iter(parts), lambda good: good.clear(), **SEEN)
    assert few.good.is_empty()
    assert told(few) == told(whole)
