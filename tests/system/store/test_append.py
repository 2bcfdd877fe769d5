"""Appending facts: what is new, what is a repetition, and what a table refuses."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.facts import FACTS, Row, append, facts, hour, hourly, latest_of, same

from headrace.errors import CorruptTableError, NotFoundError, StoreError, UsageError
from headrace.store import Table, Written
from headrace.store.facts import are_distinct
from headrace.store.verify import check

VALUES = st.sampled_from([None, float("nan"), 0.0, 1.0, 2.0])
ROWS = st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 3), st.integers(0, 6), VALUES), max_size=8)
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_sending_again_adds_nothing(batches: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(folder + "/t")
        for batch in batches:
            append(table, facts(batch))
            before = table.version()
            again = append(table, facts(batch))
            assert again == Written(before, 0, len(batch))
        # However batches alternate, it comes to rest: no fact is ever stored twice.
        for batch in batches * 2:
            append(table, facts(batch))
        if table.exists():
            stored = table.scan().collect()
            assert stored.drop("_version").is_unique().all()


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(0, 7), st.integers(0, 4))
def test_as_of_and_version_equal_brute_force(batches: list[list[Row]], as_of: int, back: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(folder + "/t")
        for batch in batches:
            append(table, facts(batch))
        if not table.exists():
            return
        version = max(0, table.version() - back)
        want = latest_of(table.scan().collect().to_dicts(), hour(as_of), version)
        got = table.read(identity=["key", "time"], as_of=hour(as_of), version=version)
        assert {(k, t) for k, t in got.select("key", "time").iter_rows()} == set(want)
        assert all(same(v, want[k, t]) for k, t, v in got.select("key", "time", "value").iter_rows())


@QUICK
@given(ROWS)
def test_every_statement_of_one_batch_reads_back(batch: list[Row]) -> None:
    """Facts given in known order: as of each known time, the last value said is the value read."""
    with tempfile.TemporaryDirectory() as folder:
        table = Table(folder + "/t")
        append(table, facts(batch))
        for key, event, known, _ in batch:
            said = {(k, e, n): v for k, e, n, v in batch}
            latest = max(n for k, e, n in said if (k, e) == (key, event) and n <= known)
            got = table.read(
                identity=["key", "time"],
                as_of=hour(known),
                where=[pl.col("key").eq_missing(pl.lit(key, pl.String)), pl.col("time") == hour(event)],
            )
            assert got.height == 1
            assert same(got["value"][0], said[key, event, latest])


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=3), st.integers(1, 3), st.sampled_from([None, hour(3)]))
def test_parts_say_what_the_whole_says(batches: list[list[Row]], size: int, learned_at: datetime | None) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        whole, parted = Table(folder + "/whole"), Table(folder + "/parted")
        for batch in batches:
            expected = append(whole, facts(batch), corrected_at=learned_at)
            with patch.context() as small:
                small.setattr("headrace.store.facts.PART", size)
                assert append(parted, facts(batch), corrected_at=learned_at) == expected
        if whole.exists():
            one, two = (table.scan().collect().sort(pl.all()) for table in (whole, parted))
            assert one.equals(two)


def test_a_change_back_to_an_earlier_value_is_a_fact(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    for known, value in ((1, 1.0), (2, 2.0), (3, 1.0)):
        assert append(table, facts([("a", 0, known, value)])).added == 1
    assert append(table, facts([("a", 0, 4, 1.0)])).added == 0
    assert [table.read(identity=["key", "time"], as_of=hour(k))["value"][0] for k in (1, 2, 3)] == [1, 2, 1]


def test_corrections_without_a_known_time_of_their_own(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    first = facts([("a", 0, 10, 1.0), ("b", 0, 10, 1.0)])
    assert append(table, first, corrected_at=hour(12)).added == 2
    assert append(table, first, corrected_at=hour(13)) == Written(1, 0, 2)
    changed = facts([("a", 0, 10, 5.0), ("b", 0, 10, 1.0), ("c", 1, 11, 3.0)])
    assert append(table, changed, corrected_at=hour(20)) == Written(2, 2, 1)
    assert append(table, changed, corrected_at=hour(20)) == Written(2, 0, 3)
    assert append(table, changed, corrected_at=hour(25)) == Written(2, 0, 3)
    assert append(table, first, corrected_at=hour(15)) == Written(2, 0, 2), "what was known at 15 h is the same"
    known = table.scan().filter(pl.col("key") == "a").sort("known_at").collect()
    assert known["known_at"].to_list() == [hour(10), hour(20)]
    read = [table.read(identity=["key", "time"], as_of=hour(h))["value"].to_list() for h in (9, 10, 19, 20)]
    assert read == [[], [1, 1], [1, 1, 3], [5, 1, 3]]
    assert append(table, first, corrected_at=hour(30)) == Written(3, 1, 1), "the source took its correction back"
    assert (
        append(table, first, corrected_at=hour(30)) == append(table, first, corrected_at=hour(31)) == Written(3, 0, 2)
    )
    assert append(table, changed, corrected_at=hour(25)) == Written(3, 0, 3), "as known at 25 h"
    read = [table.read(identity=["key", "time"], as_of=hour(h))["value"][0] for h in (19, 29, 30)]
    assert read == [1, 5, 1]


def test_filters_on_values_see_the_latest_facts_only(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    append(table, facts([("a", 0, 1, 1.0), ("a", 0, 2, 9.0), ("b", 5, 1, 1.0)]))
    small = table.read(identity=["key", "time"], where=pl.col("value") < 5)
    assert small["key"].to_list() == ["b"]
    both = [pl.col("value") < 5, pl.col("time") < hour(3)]
    assert table.read(identity=["key"], fixed=["time"], columns=["value"], where=both).is_empty()


def test_only_files_within_the_window_are_read(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    for n in range(20):
        append(table, hourly(n))
    plan = table.scan(where=pl.col("time") >= hour(18)).explain()
    assert "1 other" in plan or plan.count(".parquet") == 2
    assert "18 other" not in plan
    assert "19 other" not in plan


def test_new_columns_widen_the_table(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    append(table, hourly(0))
    wider = hourly(1).with_columns(extra=pl.lit("x"))
    table.append(wider, identity=["key", "time"], compare=["value", "extra"], window="time")
    append(table, hourly(2))
    read = table.read(identity=["key", "time"], order=["time", "key"])
    assert read["extra"].to_list() == [None] * 4 + ["x"] * 4 + [None] * 4


def test_types_are_kept_or_refused_by_name(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    frame = hourly(0).with_columns(
        small=pl.lit(1, pl.UInt8),
        kind=pl.lit("x").cast(pl.Categorical),
        seen=pl.lit(hour(1)).cast(pl.Datetime("ms", "UTC")),
    )
    append(table, frame)
    assert {table.schema()[c] for c in ("small", "kind", "seen")} == {pl.Int16(), pl.String(), FACTS["time"]}
    append(table, hourly(1).with_columns(small=pl.lit(1, pl.Int8)))
    for bad in (
        pl.lit("text"),
        pl.lit(1, pl.UInt64),
        pl.lit(1, pl.Duration),
        pl.lit(hour(0).replace(tzinfo=None)),
    ):
        with pytest.raises(StoreError) as caught:
            append(table, hourly(2).with_columns(small=bad))
        assert caught.value.where is not None
        assert caught.value.where.endswith(":small")
        assert caught.value.hint


def test_bad_calls_are_refused(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    with pytest.raises(UsageError, match="known_at"):
        append(table, hourly(0).drop("known_at"))
    with pytest.raises(UsageError, match="time zone"):
        append(table, hourly(0), corrected_at=hour(0).replace(tzinfo=None))
    with pytest.raises(StoreError, match="time zone"):
        append(table, hourly(0).with_columns(pl.col("time").dt.replace_time_zone(None)))
    with pytest.raises(StoreError, match="no value"):
        append(table, hourly(0).with_columns(pl.lit(None, FACTS["known_at"]).alias("known_at")))
    with pytest.raises(StoreError, match="stamped"):
        append(table, hourly(0).with_columns(_version=1))
    with pytest.raises(NotFoundError):
        table.read(identity=["key", "time"])
    assert append(table, hourly(0).clear()) == Written(0, 0, 0)
    assert not table.exists()
    assert table.version() == 0
    assert table.versions().is_empty()
    append(table, hourly(0))
    with pytest.raises(NotFoundError, match="version 7"):
        table.scan(version=7)
    with pytest.raises(UsageError, match="nonsense"):
        table.read(identity=["key", "time"], columns=["nonsense"])


@pytest.mark.parametrize(
    "values",
    [[0.0, -0.0], [float("nan"), float("nan")], [None, None], ["a", "a"], [hour(1), hour(1)]],
)
def test_facts_that_are_about_the_same_are_never_told_apart(values: list[object]) -> None:
    rows = pl.DataFrame({"key": values, "other": [1, 1]})
    assert not are_distinct(rows, ["key", "other"])
    assert are_distinct(rows.with_columns(other=pl.int_range(2)), ["key", "other"])
    assert are_distinct(rows.clear(), ["key", "other"])


@pytest.mark.parametrize("corrected", [None, hour(500)])
def test_many_rows_are_written_part_by_part_as_if_at_once(tmp_path, monkeypatch, corrected) -> None:
    every = pl.concat([hourly(n) for n in range(40)]).sample(fraction=1.0, shuffle=True, seed=3)
    later = every.with_columns(value=pl.when(pl.col("key") == "s1").then(-1.0).otherwise("value"))
    whole, parted = Table(tmp_path / "whole"), Table(tmp_path / "parted")
    for rows in (every, later, every.clear(), later):
        expected = append(whole, rows, corrected_at=corrected)
        with monkeypatch.context() as patch:
            patch.setattr("headrace.store.facts.PART", 7)
            assert append(parted, rows, corrected_at=corrected) == expected
    columns = ["time", "key", "known_at", "_version", "value"]
    frames = [each.collect(each.scan()).select(columns).sort(columns) for each in (whole, parted)]
    assert frames[0].equals(frames[1])
    assert parted.versions()["rows"].to_list() == whole.versions()["rows"].to_list()
    assert check(parted, deep=True).problems == ()


def test_what_fails_between_two_parts_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    table = Table(tmp_path / "t")
    append(table, hourly(5))
    path = next(Path(table.uri).glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("headrace.store.facts.PART", 4)
    with pytest.raises(CorruptTableError, match="not what was written"):
        append(table, pl.concat([hourly(n) for n in range(9)]))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert table.version() == 1
    assert append(table, pl.concat([hourly(n) for n in range(9)])).added == 32
