"""A missing target is not known yet: it takes no known one's place, in whatever order facts come."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.facts import FACTS, IDENTITY, hour

from headrace.serving.engine.folding import Folding
from headrace.store import Table, facts

COLUMNS = FACTS | {"other": pl.Int64}
COMPARE = ["value", "other"]
RULE = facts.AppendRule(awaited="value")
KEYS = st.sampled_from([None, "a"])
ROWS = st.lists(
    st.tuples(KEYS, st.integers(0, 4), st.booleans()), min_size=1, max_size=4, unique_by=lambda row: row[:2]
)


def frame(*rows: tuple) -> pl.DataFrame:
    """Facts from (key, event hour, known hour, value, other)."""
    told = [(key, hour(event), hour(known), value, other) for key, event, known, value, other in rows]
    return pl.DataFrame(told, schema=COLUMNS, orient="row")


def stored_after(batches: list[pl.DataFrame], rule: facts.AppendRule = RULE) -> pl.DataFrame:
    """What is stored once all have come, as the table does it."""
    stored = frame().with_columns(pl.lit(0, pl.Int64).alias("_version"))
    for version, batch in enumerate(batches, 1):
        new = rule.news(stored, batch, IDENTITY, COMPARE)
        told = pl.concat([new, rule.again(stored, new, IDENTITY)])
        stored = pl.concat([stored, told.with_columns(pl.lit(version, pl.Int64).alias("_version"))])
    return stored


def seen(stored: pl.DataFrame, known: int) -> list[tuple]:
    """Each key's value and other column, as of an hour."""
    latest = facts.latest(stored.filter(pl.col("known_at") <= hour(known)), IDENTITY)
    return sorted(latest.select("key", "value", "other").rows(), key=str)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(ROWS)
def test_no_order_of_arrival_loses_a_truth(told: list[tuple[str | None, int, bool]]) -> None:
    """Rows say when they became known: as of any time a truth that was known by then is seen, and it comes to rest."""
    rows = [(key, 0, known, 7.0 if is_true else None, known) for key, known, is_true in told]
    for order in list(permutations(rows))[::5]:
        stored = stored_after([frame(row) for row in order])
        for known in range(5):
            by_then = sorted((row for row in rows if row[2] <= known), key=lambda row: row[2])
            true = {row[0] for row in by_then if row[3] is not None}
            want = {row[0]: (row[0], 7.0 if row[0] in true else None, row[4]) for row in by_then}
            assert seen(stored, known) == sorted(want.values(), key=str)
        assert RULE.news(stored, frame(*order), IDENTITY, COMPARE).is_empty()


def test_where_rows_do_not_say_when_they_became_known() -> None:
    old, truth = frame(("a", 0, 1, None, 0)), frame(("a", 0, 1, 5.0, 0))
    at = [facts.AppendRule(hour(10 + n), None, "value") for n in range(4)]
    stored = frame().with_columns(pl.lit(0, pl.Int64).alias("_version"))
    for version, (batch, rule) in enumerate([(old, at[0]), (truth, at[1]), (old, at[2])]):
        new = rule.news(stored, batch, IDENTITY, COMPARE)
        assert new.height == (version < 2)
        stored = pl.concat([stored, new.with_columns(pl.lit(version, pl.Int64).alias("_version"))])
    assert seen(stored, 10) == [("a", None, 0)]
    assert seen(stored, 12) == [("a", 5.0, 0)]
    changed = at[3].news(stored, frame(("a", 0, 1, None, 7)), IDENTITY, COMPARE)
    assert changed.select("value", "other", "known_at").rows() == [(5.0, 7, hour(13))]


def test_a_run_of_the_past_that_brings_a_truth() -> None:
    """What was stored later, and lacked the target, is told again with it."""
    facts_there = frame(("a", 0, 1, None, 0), ("a", 0, 12, None, 1)).with_columns(pl.lit(1, pl.Int64).alias("_version"))
    rule = facts.AppendRule(hour(10), None, "value")
    new = rule.news(facts_there, frame(("a", 0, 1, 5.0, 0)), IDENTITY, COMPARE)
    again = rule.again(facts_there, new, IDENTITY)
    assert again.select("value", "other", "known_at").rows() == [(5.0, 1, hour(12))]


def test_the_table_counts_what_came_alone(tmp_path: Path) -> None:
    table, about = Table(str(tmp_path / "t")), {"identity": IDENTITY, "compare": COMPARE, "window": "time"}
    table.append(frame(("a", 0, 3, None, 1)), **about, awaited="value")
    written = table.append(frame(("a", 0, 2, 5.0, 0)), **about, awaited="value")
    assert (written.added, written.unchanged, table.read(identity=IDENTITY)["value"].to_list()) == (1, 0, [5.0])
    assert table.news(frame(("a", 0, 4, None, 1)), **about, awaited="value").is_empty()
    assert table.append(frame(("a", 0, 4, None, 1)), **about).added == 1
    assert table.read(identity=IDENTITY)["value"].to_list() == [None]


@pytest.mark.parametrize("carries", [True, False])
def test_a_served_step_keeps_its_value(carries: bool) -> None:
    """Two steps in three events, the last two of which lack the target."""
    folding, none = Folding(2, (), carries=carries), np.nan
    before = np.array([[none, none, 9.0], [none, none, 1.0]])
    values = np.array([[4.0, none, none], [2.0, 3.0, 5.0]])
    got = folding.running(np.array([0, 0, 1]), before, values, np.zeros(3, dtype=np.int64))
    assert got[0].tolist() == ([4.0, 4.0, 9.0] if carries else pytest.approx([4.0, none, none], nan_ok=True))
    assert got[1].tolist() == [2.0, 3.0, 5.0]
