"""A check in parts says what a check of the whole says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import (
    Column,
    Contract,
    Gaps,
    Known,
    MinimumRows,
    Seen,
    Share,
    Staleness,
    Validation,
    ZScore,
    check,
    check_parts,
)
from headrace.grid import Grid

RULES = (
    Share(column="value", condition="zero", at_most=0.1),
    Gaps(at_most=0.2),
    ZScore(column="value", limit=1.5, at_least=3),
    Staleness(at_most="2h"),
    MinimumRows(at_least=3),
)
HOURS = 8
SEEN: Seen = {
    "keys": ("key",),
    "time": "time",
    "grid": Grid(timedelta(hours=1)),
    "as_of": datetime(2026, 1, 1, HOURS - 1, tzinfo=UTC),
    "now": datetime(2026, 1, 2, tzinfo=UTC),
    "known": Known(lag=timedelta(hours=1)),
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
    """The report; which of two reasons that are as frequent is named first is open."""
    return {name: value for name, value in found.as_dict().items() if name != "why_broken"}


@given(rows=ROWS, size=st.sampled_from([1, 2, 4]), apart=st.booleans())
def test_parts_and_the_whole_say_the_same(
    rows: list[tuple[int, str, str | None, bool]], size: int, apart: bool
) -> None:
    asked = contract(*([ZScore(column="value", limit=1.2, at_least=3, severity="quarantine")] if apart else []))
    parts = frames(rows, size)
    whole = check(asked, pl.concat(parts, rechunk=True), **SEEN)
    found = check_parts(asked, parts, lambda good: good, **SEEN)
    assert found.good.equals(whole.good)
    assert found.bad.equals(whole.bad)
    assert told(found) == told(whole)
    few = check_parts(asked, iter(parts), lambda good: good.clear(), **SEEN)
    assert few.good.is_empty()
    assert told(few) == told(whole)
