"""Drift of systems that run: what is asked for or read now, beside what the champion learnt from."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import headrace as hr
from headrace import (
    Boosting,
    Column,
    Contract,
    DriftLimits,
    Linear,
    Monitoring,
    Regressor,
    Schedule,
    Source,
    System,
    console,
)
from headrace.errors import DeclarationError, NotFoundError, StoreError
from headrace.features import col, ngrams
from headrace.home import DRIFT, DRIFT_COUNTS
from headrace.housekeeping.drift import old_drift
from headrace.loop import readings
from headrace.loop.drift import IDENTITY, keep_drift
from headrace.loop.drift.counts import reference_id
from headrace.loop.evaluate import evaluate, policy_of
from headrace.policy.monitoring import Drifted, Reading
from headrace.store import Table
from headrace.tasks import task_of

BEGIN = datetime(2024, 3, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
WORDS = np.array(["red", "blue", "coat", "ring", "old", "new", "wool", "gold"])


def things(**limits: Any) -> System:
    return System(
        name="things",
        source=Source(),
        contract=Contract(
            columns=(
                Column("id", "integer"),
                Column("age", "float", nullable=True),
                Column("kind", "category", nullable=True),
                Column("shop", "category"),
                Column("note", "text", nullable=True),
                Column("price", "float", nullable=True),
            )
        ),
        keys=("id",),
        target="price",
        features={"age": col("age"), "kind": col("kind"), "words": ngrams("note", buckets=64)},
        model=Regressor(members=(Linear(), Boosting(n_estimators=10, num_leaves=4))),
        schedule=Schedule(predict="never", train="never"),
        monitoring=Monitoring(
            rules=(Drifted(),), drift=DriftLimits(**{"segments": ("shop",), "window": timedelta(days=3)} | limits)
        ),
    )


def rows(first: int, count: int, *, labelled: bool = True, older: float = 0.0, shop: str | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(first)
    age = rng.gamma(4, 2, count)
    shops = rng.choice(["north", "south"], count, p=[0.7, 0.3])
    age = np.where((shops == shop) | (shop is None), age + older, age)
    return pl.DataFrame(
        {
            "id": np.arange(first, first + count),
            "age": age,
            "kind": rng.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2]),
            "shop": shops,
            "note": [" ".join(rng.choice(WORDS, 4)) for _ in range(count)],
            "price": (20 - age + rng.normal(0, 1, count)) if labelled else None,
        },
        schema_overrides={"price": pl.Float64},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("things")
    comes(opened(folder), BEGIN, rows(0, 600))
    return folder


@pytest.fixture
def s(trained: Path, tmp_path: Path) -> hr.BoundSystem:
    return copied(trained, tmp_path / "copy")


def copied(folder: Path, to: Path) -> hr.BoundSystem:
    shutil.copytree(folder, to)
    return opened(to)


def opened(folder: Path, **limits: Any) -> hr.BoundSystem:
    workspace = hr.open(folder / "home", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC), quiet=True)
    return workspace.system(things(**limits))


def comes(s: hr.BoundSystem, time: datetime, frame: pl.DataFrame) -> None:
    path = s.workspace.path.parent / f"{time:%Y%m%d%H}.csv"
    frame.write_csv(path)
    s.run(time, source=f"file:{path}")


@pytest.mark.parametrize("labelled", [True, False], ids=["read", "asked for"])
def test_a_shift_is_found_and_what_is_stable_is_not(s: hr.BoundSystem, labelled: bool) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, labelled=labelled))
    still = s.drift()
    assert (still.rows, still.reference_rows, still.reason, still.drifted) == (300, 600, None, False)
    assert {(each.role, each.name, each.kind) for each in still.variables} == {
        ("feature", "age", "numeric"),
        ("feature", "kind", "categorical"),
        ("feature", "words", "text"),
        ("target" if labelled else "prediction", "price", "numeric"),
    }
    comes(s, BEGIN + 2 * DAY, rows(2000, 300, labelled=labelled, older=6.0))
    moved = s.drift()
    assert moved.rows == 600
    assert moved.drifted
    assert {each.name for each in moved.variables if each.drifted} == {"age", "price"}
    age = next(each for each in moved.variables if each.name == "age")
    assert age.current["mean"] == pytest.approx(age.reference["mean"] + 3, abs=1)
    assert age.importance is not None
    assert age.importance > 0.5
    assert not s.drift(as_of=BEGIN + DAY).drifted  # as it was known then
    assert {(each.column, each.value) for each in moved.segments} == {("shop", "north"), ("shop", "south")}


def test_one_segment_that_drifts_is_named(s: hr.BoundSystem) -> None:
    comes(s, BEGIN + DAY, rows(1000, 500, older=4.0, shop="south"))
    (segment,) = s.drift().segments
    assert (segment.column, segment.value) == ("shop", "south")
    assert "age" in {each.name for each in segment.variables}


def test_a_column_that_vanished_is_missing_and_new_values_are_named(s: hr.BoundSystem) -> None:
    frame = rows(1000, 200).with_columns(age=pl.lit(None, pl.Float64), kind=pl.lit("z"), note=pl.lit("unheard of"))
    comes(s, BEGIN + DAY, frame)
    found = {each.name: each for each in s.drift().variables}
    assert found["age"].foremost.statistic == "missing"
    assert found["kind"].current["new"] == {"z": 200}
    assert found["words"].foremost.statistic == "outside_vocabulary"
    assert all(found[name].drifted for name in ("age", "kind", "words"))


def test_of_too_little_there_is_no_verdict(
    s: hr.BoundSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing came" in (s.drift().reason or "")
    comes(s, BEGIN + DAY, rows(1000, 1, older=1e6))
    one = s.drift()
    assert (one.rows, one.drifted) == (1, False)
    assert "fewer than 30" in (one.reason or "")
    evaluate(s.declaration, s.workspace.home, as_of=BEGIN + 2 * DAY)
    reasons = s.unwatched()  # that no alert was raised means nothing then
    assert reasons["drifted"] == "1 row came, fewer than 30"
    assert (s.alerts(), s.unwatched(as_of=BEGIN - DAY)) == ([], {})
    console.print_unwatched(reasons)
    assert "not known  drifted: 1 row" in capsys.readouterr().out
    with pytest.raises(NotFoundError, match="no model then"):
        s.drift(as_of=BEGIN - DAY)
    with pytest.raises(NotFoundError, match="no model yet"):
        opened(tmp_path / "new").drift()


def test_facts_are_the_same_live_at_once_and_repeated(trained: Path, tmp_path: Path) -> None:
    live, late = copied(trained, tmp_path / "live"), copied(trained, tmp_path / "late")
    times = [datetime(2024, 3, 2, tzinfo=UTC) + day * DAY for day in range(6)]
    for day in range(1, 5):
        for s in (live, late):
            comes(s, BEGIN + day * DAY, rows(1000 * day, 80, older=2.0 * (day == 3), labelled=day % 2 == 0))
        keep_drift(live.declaration, live.workspace.home, [time for time in times if time <= BEGIN + day * DAY])
    for s in (late, live):
        keep_drift(s.declaration, s.workspace.home, times)
    for name, order in (
        (DRIFT, ["time", "role", "name", "segment"]),
        (DRIFT_COUNTS, ["day", "variable", "segment"]),
    ):
        tables = [s.workspace.home.table("things", name) for s in (live, late)]
        frames = [table.collect(table.scan()).drop("_version") for table in tables]
        if name == DRIFT_COUNTS:  # what it was counted by says which writes were seen
            frames = [frame.filter(pl.col("part") != "mark") for frame in frames]
        ordered = [frame.sort(*order, "role", *(["part"] if name == DRIFT_COUNTS else [])) for frame in frames]
        assert ordered[0].equals(ordered[1], null_equal=True)
        assert ordered[0].height
        version = tables[0].version()
        assert keep_drift(live.declaration, live.workspace.home, times).rows == 0
        assert tables[0].version() == version


def test_a_month_is_read_from_counts_alone(s: hr.BoundSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    comes(s, BEGIN + DAY, rows(1000, 100))
    time = BEGIN.replace(hour=0) + 2 * DAY
    first = s.drift(as_of=time)
    task = type(task_of(s.declaration).distributions(s.workspace.home, s.models.champion, ("shop",)))

    def refuse(*_: object) -> None:
        raise AssertionError("rows were read again")

    monkeypatch.setattr(task, "observed", refuse)
    monkeypatch.setattr(task, "reference", refuse)
    assert s.drift(as_of=time) == first


def kept(s: hr.BoundSystem) -> dict[datetime, Reading]:
    found = readings.read(s.workspace.home, "things", policy_of(s.declaration))
    return {each.time: each for each in found if each.rule == "drifted"}


def test_where_a_versions_files_are_gone_drift_is_unknown_and_says_why(
    s: hr.BoundSystem, caplog: pytest.LogCaptureFixture
) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))
    s.train(as_of=BEGIN + 2 * DAY)
    s.promote(2, as_of=BEGIN + 2 * DAY)
    first = s.workspace.home.registry.get("things", 1)
    s.workspace.home.registry.drop_files(first)
    again = opened(s.workspace.path.parent, segments=())  # never counted so
    midnight = BEGIN.replace(hour=0)
    evaluate(again.declaration, again.workspace.home, as_of=BEGIN + 6 * DAY)
    said = kept(again)[midnight + 2 * DAY]
    assert (said.level, len(said.scopes)) == ("unknown", 1)
    assert "version 1 learnt from" in said.scopes[0].evidence["reason"]
    assert "drift of things is unknown: what version 1 learnt from" in caplog.text
    assert kept(again)[midnight + 6 * DAY].level == "unknown"  # nothing came since version 2, which is no failure
    assert "nothing came" in kept(again)[midnight + 6 * DAY].scopes[0].evidence["reason"]
    s.run(BEGIN + 6 * DAY)  # by what had been counted before


def test_a_training_hides_no_shift_that_it_has_just_learnt(s: hr.BoundSystem) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))
    s.train(as_of=BEGIN + DAY)
    assert s.models.champion is not None
    assert s.models.champion.version == 2
    comes(s, BEGIN + 2 * DAY, rows(2000, 300, older=6.0))
    midnight = BEGIN.replace(hour=0)
    evaluate(s.declaration, s.workspace.home, as_of=midnight + 5 * DAY)
    levels = [kept(s)[midnight + number * DAY].level for number in (2, 3)]
    assert levels == ["warning", "warning"]
    (alert,) = s.alerts()
    assert alert.raised_at == midnight + 3 * DAY
    assert "price (target)" in alert.evidence["columns"]
    beside = [s.drift(as_of=midnight + number * DAY).version for number in (2, 4, 5)]
    assert beside == [1, 1, 2]  # in the end with what version 2 learnt, which is the shift


def test_a_home_that_cannot_be_written_is_read(s: hr.BoundSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the file system is read-only")

    s = opened(s.workspace.path.parent, segments=())
    monkeypatch.setattr(Table, "append", refuse)
    assert s.drift().drifted
    with pytest.raises(StoreError, match="read-only"):
        keep_drift(s.declaration, s.workspace.home, [BEGIN + 2 * DAY])


def test_two_at_once_keep_each_fact_once(s: hr.BoundSystem) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))
    pair = [opened(s.workspace.path.parent, segments=()) for _ in range(2)]
    times = [BEGIN.replace(hour=0) + day * DAY for day in (2, 3)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: keep_drift(one.declaration, one.workspace.home, times), pair))
    table = s.workspace.home.table("things", DRIFT)
    facts = table.collect(table.scan()).drop("_version")
    assert facts.filter(pl.col("time") == times[0]).height
    assert facts.height == facts.unique(list(IDENTITY)).height
    assert keep_drift(pair[0].declaration, s.workspace.home, times).rows == 0


def test_other_limits_give_new_readings(s: hr.BoundSystem) -> None:
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))
    time = BEGIN.replace(hour=0) + 2 * DAY
    values = {}
    for name, limits in {
        "strict": {},
        "lax": {"wasserstein": 50.0, "stability": 50.0},
        "many": {"least": 9999},
    }.items():
        one = opened(s.workspace.path.parent, **limits)
        evaluate(one.declaration, one.workspace.home, as_of=time)
        values[name] = kept(one)[time].level, kept(one)[time].value
    assert values["strict"][0] == "warning"
    assert values["lax"] == ("ok", 0.0)
    assert values["many"] == ("unknown", None)


@pytest.mark.parametrize(
    ("segments", "message"), [(("shp",), "'shp'"), (("price",), "'price'"), (("shop",) * 2, "twice")]
)
def test_segments_are_columns(segments: tuple[str, ...], message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as caught:
        things(segments=segments)
    assert caught.value.where == f"monitoring.drift.segments[{len(segments) - 1}]"


def test_what_is_pruned_of_drift_is_measured_again_where_somebody_looks(s: hr.BoundSystem) -> None:
    for day, older in ((1, 0.0), (2, 6.0), (9, 0.0), (10, 0.0)):
        comes(s, BEGIN + day * DAY, rows(1000 * day, 300, older=older))
    times = [BEGIN + 2 * DAY, BEGIN + 10 * DAY]
    before = [s.drift(as_of=time).as_dict() for time in times]
    later = hr.open(s.workspace.path, clock=lambda: BEGIN + 20 * DAY, quiet=True)
    told = {row["kind"]: row["rows"] for row in later.prune("1d", runs=0).to_dicts()}
    assert told["drift"] > 0
    assert told["drift_counts"] > 0
    pruned = {row["kind"]: row["rows"] for row in later.prune("1d", runs=0, dry=False).to_dicts()}
    assert {name: pruned[name] for name in ("drift", "drift_counts")} == {n: told[n] for n in ("drift", "drift_counts")}
    assert not {"drift", "drift_counts"} & {row["kind"] for row in later.prune("1d", runs=0).to_dicts()}
    home, version = s.workspace.reading, s.workspace.reading.registry.get("things", 1)
    counts = home.table("things", "drift_counts")
    ids = counts.collect(counts.scan().select(pl.col("reference").unique()))["reference"].to_list()
    assert ids == [reference_id(version, ("shop",))], "of a version that keeps its files"
    days = counts.collect(counts.scan(where=pl.col("part") == "mark"))["day"]
    assert days.min() > BEGIN + 5 * DAY, "and days that a window of the newest needs"
    assert days.max() > BEGIN + 8 * DAY
    assert {"drift", "drift_counts"} <= {*later.disk("things")["name"]}
    assert [s.drift(as_of=time).as_dict() for time in times] == before
    config = {"monitoring": {"window": "30d", "drift": {"window": "3d", "segments": ["shop"]}}}
    gone = dict(old_drift(home, "things", BEGIN + 19 * DAY, config, (), dry=True))
    assert gone["drift_counts"] > 0, "of one whose files go, the reference goes too"


def test_rules_that_look_more_than_daily_find_drift_once_a_day(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    monitoring = things().monitoring.model_copy(update={"every": timedelta(hours=6)})
    declared = things().model_copy(update={"monitoring": monitoring})
    workspace = hr.open(tmp_path / "copy/home", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC), quiet=True)
    s = workspace.system(declared)
    comes(s, BEGIN + DAY, rows(1000, 300, older=6.0))
    comes(s, BEGIN + 3 * DAY, rows(2000, 300, older=6.0))
    found = readings.read(workspace.reading, "things", policy_of(declared))
    late = [reading for reading in found if reading.time > BEGIN + DAY]
    assert {(reading.time.hour, reading.level) for reading in late} == {
        (0, "warning"),
        *((hour, "unknown") for hour in (6, 12, 18)),
    }
