"""Rows without event times: whatever parts they come in, the check says what it says of all at once."""

import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.contract import (
    CheckContext,
    Column,
    Contract,
    KnownTimes,
    LevelCount,
    MeanBand,
    Share,
    check,
    check_parts,
)
from headrace.contract.disjoint import by_keys
from headrace.contract.malformed import Malformed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEEN: CheckContext = {
    "keys": ("id", "shop"),
    "time": None,
    "grid": None,
    "as_of": NOW,
    "now": NOW,
    "known": KnownTimes(),
}
CONTRACT = Contract(
    columns=(
        Column("id", "integer", minimum=0),
        Column("shop", "category", nullable=True),
        Column("price", "float", minimum=0, nullable=True),
    ),
    rules=(
        Share(column="price", condition="null", at_most=0.2),
        MeanBand(column="price", minimum=1, maximum=2, min_rows=3),
        LevelCount(column="shop", minimum=2, at_most=0.5),
    ),
    max_invalid_fraction=1.0,
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", " 2", "3", "4", "-1", "x", None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["1", "1.0", "2", "-1", "x", None]),
        st.booleans(),
    ),
    max_size=30,
)


def frame_of(rows: list[tuple[str | None, str | None, str | None, bool]]) -> pl.DataFrame:
    fields = [(None, None, None) if broken else row for *row, broken in rows]
    frame = pl.DataFrame(fields, schema=dict.fromkeys(("id", "shop", "price"), pl.String), orient="row")
    malformed = Malformed()
    for place, (*_, broken) in enumerate(rows):
        if broken:
            malformed.add(place, "too few fields", "a line has too few", "text")
    return malformed.beside(frame)


TWICE = [("1", "a", "1", False), ("2", "a", "1", False), (" 2", "a", "2", False), ("1", "a", "1.0", False)]


@given(rows=ROWS, size=st.integers(1, 9), at_once=st.integers(1, 4))
@example(rows=TWICE, size=1, at_once=1)
def test_parts_of_any_size_say_what_the_whole_says(rows, size: int, at_once: int) -> None:
    whole = check(CONTRACT, frame_of(rows), **SEEN)
    frames = [frame_of(rows[first : first + size]) for first in range(0, max(len(rows), 1), size)]
    with tempfile.TemporaryDirectory() as folder:
        parts = by_keys(CONTRACT, frames, SEEN["keys"], Path(folder), at_once=at_once)
        found = check_parts(CONTRACT, parts, lambda good: good, **SEEN)
    assert found.good.sort(pl.all()).equals(whole.good.sort(pl.all()))
    assert Counter(map(str, found.bad.rows())) == Counter(map(str, whole.bad.rows()))
    assert found.reasons.items() == whole.reasons.items()
    assert [rounded(finding) for finding in found.findings] == [rounded(finding) for finding in whole.findings]
    assert (found.rows, found.pending, found.extra) == (whole.rows, whole.pending, whole.extra)


def rounded(finding):
    numbers = {name: round(n, 9) if isinstance(n, float) else n for name, n in finding.numbers.items()}
    return finding.rule, finding.passed, finding.column, numbers


def test_copies_of_a_key_stand_together_and_all_others_where_they_were(tmp_path: Path) -> None:
    frames = [frame_of([(str(n), "a", "1", False) for n in ids]) for ids in ((1, 2, 3), (4, 2, 5), (3, 6))]
    parts = list(by_keys(CONTRACT, frames, ("id", "shop"), tmp_path))
    assert [part["id"].to_list() for part in parts] == [["1"], ["4", "5"], ["6"], ["2", "3", "2", "3"]]
