"""Feature groups and the point-in-time join, against a slow oracle."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.facts import Row, facts, hour, hourly

from headrace.errors import NotFoundError, StoreError, UsageError
from headrace.store import FeatureGroup, FeatureView, Store

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
KEYS = st.sampled_from([None, "a", "b", "absent"])
ROWS = st.lists(
    st.tuples(KEYS, st.integers(0, 6), st.integers(0, 8), st.sampled_from([None, 0.0, 1.0, 2.0])),
    max_size=12,
    unique_by=lambda row: row[:3],  # what contradicts itself is refused
)
SPINE = st.lists(st.tuples(KEYS, st.integers(-1, 10)), max_size=12)
TTL = st.sampled_from([None, 0, 1, 3])


def group(uri: str | Path, name: str = "lags", column: str = "value") -> FeatureGroup:
    columns = {column: pl.Float64()}
    return FeatureGroup(Store(uri), "energy", name, keys=["key"], time="time", columns=columns)


def spine_of(rows: list[tuple[str | None, int]]) -> pl.DataFrame:
    data = [(key, hour(at), i) for i, (key, at) in enumerate(rows)]
    return pl.DataFrame(data, schema={"key": pl.String, "at": pl.Datetime("us", "UTC"), "n": pl.Int64}, orient="row")


def answer(stored: list[dict[str, Any]], key: str | None, at: datetime, ttl: int | None) -> float | None:
    there = [r for r in stored if r["key"] == key and r["known_at"] <= at and r["time"] <= at]
    if not there:
        return None
    best = max(there, key=lambda r: (r["time"], r["known_at"], r["_version"]))
    return best["value"] if ttl is None or at - best["time"] <= timedelta(hours=ttl) else None


@QUICK
@given(st.lists(ROWS, min_size=1, max_size=3), SPINE, TTL, st.integers(0, 2))
def test_training_set_equals_the_oracle(
    batches: list[list[Row]], spine: list[tuple[str | None, int]], ttl: int | None, back: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lags = group(folder)
        lags.write(hourly(0).head(1))
        for batch in batches:
            lags.write(facts(batch))
        version = max(0, lags.table.version() - back)
        view = FeatureView("v", [(lags, ["value"])], ttl=None if ttl is None else timedelta(hours=ttl))
        asked = spine_of(spine)
        frame, pins = view.training_set(asked, time="at", versions={"lags": version})
        stored = lags.table.scan(version=version).collect().to_dicts()
        assert pins == {"lags": version}
        assert_frame_equal(frame.select(asked.columns), asked)
        assert frame["value"].to_list() == [answer(stored, k, hour(at), ttl) for k, at in spine]


def test_corrections_count_from_when_they_were_known(tmp_path: Path) -> None:
    lags = group(tmp_path)
    lags.write(facts([("a", 0, 1, 1.0), ("a", 1, 2, 2.0)]))
    pinned = FeatureView("v", [(lags, ["value"])]).training_set(spine_of([("a", 9)]), time="at").pins
    lags.write(facts([("a", 1, 5, 7.0), ("a", 0, 6, 8.0)]))
    asked = spine_of([("a", h) for h in (9, 0, 1, 2, 4, 5, 6)])
    view = FeatureView("v", [(lags, ["value"])])
    now, before = view.training_set(asked, time="at"), view.training_set(asked, time="at", versions=pinned)
    assert now.frame["value"].to_list() == [7.0, None, 1.0, 2.0, 2.0, 7.0, 7.0]
    assert before.frame["value"].to_list() == [2.0, None, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert (now.pins, before.pins) == ({"lags": 2}, {"lags": 1})


def test_several_groups_beside_each_other(tmp_path: Path) -> None:
    lags, load = group(tmp_path), group(tmp_path, "load", "mw")
    lags.write(hourly(0))
    load.write(hourly(1).rename({"value": "mw"}))
    view = FeatureView("v", [(load, ["mw"]), (lags, ["value"])])
    frame, pins = view.training_set(spine_of([("s1", 9), ("s0", 1)]), time="at")
    assert frame.select("n", "mw", "value").rows() == [(0, 101.0, 1.0), (1, None, 0.0)]
    assert pins == {"load": 1, "lags": 1}
    assert view.columns == ("mw", "value")


def test_keyless_features_answer_everyone(tmp_path: Path) -> None:
    columns = {"degrees": pl.Float64()}
    weather = FeatureGroup(Store(tmp_path), "energy", "weather", keys=[], time="time", columns=columns)
    rows = hourly(0, series=1).rename({"value": "degrees"}).drop("key")
    assert weather.write(rows).added == 1
    assert weather.write(rows).added == 0
    frame = FeatureView("v", [(weather, ["degrees"])]).training_set(spine_of([("x", 0), ("y", 5)]), time="at").frame
    assert frame["degrees"].to_list() == [None, 0.0]
    assert FeatureView("v", [(weather, ["degrees"])]).training_set(spine_of([]), time="at").frame.is_empty()


def test_reading_a_group(tmp_path: Path) -> None:
    lags = group(tmp_path)
    for n in range(10):
        lags.write(hourly(n))
    assert lags.write(hourly(3)).added == 0
    assert lags.read(timedelta(hours=2))["time"].unique().to_list() == [hour(8), hour(9)]
    assert lags.read(timedelta(hours=2), as_of=hour(5))["time"].max() == hour(4)
    assert lags.read(version=3).height == 12
    assert lags.versions().height == 10
    assert lags.read(columns=[]).columns == ["key", "time"]
    assert lags.read(timedelta(hours=2), as_of=hour(-5)).is_empty()


def test_the_digest_is_the_definition(tmp_path: Path) -> None:
    lags, elsewhere = group(tmp_path / "a"), group(tmp_path / "b")
    view = FeatureView("v", [(lags, ["value"])], ttl=timedelta(days=1))
    assert len(view.digest) == 12
    assert view.digest == FeatureView("v", [(elsewhere, ["value"])], ttl=timedelta(hours=24)).digest
    assert view.digest != FeatureView("v", [(lags, ["value"])]).digest
    with pytest.raises(AttributeError):
        view.ttl = None  # type: ignore[misc]


def test_mistakes_are_named(tmp_path: Path) -> None:
    lags = group(tmp_path)
    view, asked = FeatureView("v", [(lags, ["value"])]), spine_of([("a", 1)])
    with pytest.raises(NotFoundError):
        view.training_set(asked, time="at")
    lags.write(hourly(0))
    with pytest.raises(UsageError, match="key is Int64"):
        view.training_set(asked.with_columns(key=pl.lit(1, pl.Int64)), time="at")
    with pytest.raises(UsageError, match="'key'"):
        view.training_set(asked.drop("key"), time="at")
    with pytest.raises(StoreError, match="time zone"):
        view.training_set(asked.with_columns(pl.col("at").dt.replace_time_zone(None)), time="at")
    with pytest.raises(StoreError, match="no value"):
        view.training_set(asked.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("at")), time="at")
    with pytest.raises(UsageError, match="'value' is a feature"):
        view.training_set(asked.with_columns(value=1), time="at")
    with pytest.raises(UsageError, match="nope"):
        view.training_set(asked, time="at", versions={"nope": 1})
    with pytest.raises(UsageError, match="'nope'"):
        FeatureView("v", [(lags, ["nope"])])
    with pytest.raises(UsageError, match="twice"):
        FeatureView("v", [(lags, ["value"]), (group(tmp_path, "other"), ["value"])])
    with pytest.raises(UsageError, match="twice"):
        group(tmp_path, column="key")
    with pytest.raises(UsageError, match="'extra'"):
        lags.write(hourly(1).with_columns(extra=1))
    with pytest.raises(StoreError, match="String"):
        lags.write(hourly(1).with_columns(value=pl.lit("x")))


def test_a_spine_in_another_zone_is_answered_as_in_utc(tmp_path):
    made = group(tmp_path)
    made.write(facts([("a", 1, 1, 1.0), ("a", 2, 2, 2.0), ("a", 3, 3, 3.0)]))
    view = FeatureView("view", [(made, ["value"])], ttl=timedelta(hours=5))
    spine = pl.DataFrame({"key": ["a", "a", "b"], "time": [hour(2.5), hour(9), hour(2)]})
    expected = view.training_set(spine).frame
    assert expected["value"].to_list() == [2.0, None, None]
    for zone in ("Europe/Copenhagen", "America/St_Johns", "Asia/Kathmandu"):
        for unit in ("ms", "us", "ns"):
            local = spine.with_columns(pl.col("time").dt.convert_time_zone(zone).dt.cast_time_unit(unit))
            assert view.training_set(local).frame.cast({"time": pl.Datetime("us", "UTC")}).equals(expected)


def test_a_naive_spine_is_refused_with_a_hint_that_asks_for_its_zone(tmp_path):
    made = group(tmp_path)
    made.write(facts([("a", 1, 1, 1.0)]))
    spine = pl.DataFrame({"key": ["a"], "time": [hour(2).replace(tzinfo=None)]})
    with pytest.raises(StoreError, match="whose clock it is") as refused:
        FeatureView("view", [(made, ["value"])]).training_set(spine)
    assert "Europe/Copenhagen" in str(refused.value)


def test_rows_that_contradict_one_another_are_refused_and_named(tmp_path):
    made = group(tmp_path)
    rows = [("a", 1, 1, 1.0), ("a", 1, 1, 2.0), ("a", 1, 2, 3.0), ("b", 1, 1, None), ("b", 1, 1, 0.0), ("c", 1, 1, 5.0)]
    with pytest.raises(UsageError, match=r"2 keys have different values .* key a") as refused:
        made.write(facts(rows))
    assert "known_at" in str(refused.value)
    assert not made.table.exists()
    assert made.write(facts([rows[0], rows[0], rows[2]])).added == 2


def test_a_later_write_that_contradicts_an_earlier_one_is_counted(tmp_path):
    made = group(tmp_path)
    assert made.write(facts([("a", 1, 1, 1.0), ("b", 1, 1, 1.0)])).restated == 0
    written = made.write(facts([("a", 1, 1, 2.0), ("b", 1, 1, 1.0), ("c", 1, 1, 1.0)]))
    assert (written.added, written.unchanged, written.restated) == (2, 1, 1)
    assert made.write(facts([("a", 1, 3, 4.0)])).restated == 0
