"""First events of series that are older than what the tables know of them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace.errors import LateEventError
from headrace.home import RAW, Home
from headrace.ledger import Entry
from headrace.serving.engine.seeding import Seeding
from headrace.serving.posted.log import EventLog
from headrace.settings import Settings
from headrace.tasks.forecast.export import export

OLD = {"years": timedelta(days=16 * 365), "days": timedelta(days=1), "hours": timedelta(hours=7)}
GRACE = {"an hour": timedelta(hours=1), "the newest": timedelta(), "five hours": timedelta(hours=5)}


@pytest.fixture
def own(home: Home, tmp_path: Path) -> Home:
    """A home of the test's own."""
    return Home(Settings(home=Path(shutil.copytree(home.path, tmp_path / "home"))))


def newest(world, home: Home) -> datetime:
    """When the last step in the tables began."""
    raw = home.table("live_metrics", RAW)
    return raw.collect(raw.scan().select("time")).to_series().max()


def entry(world, time: datetime, value: float = 5.0, key: str = "") -> Entry:
    event = world.message(0, "orders", time, value).value
    return Entry("live_metrics", key or f"{time}", "", event.hex(), event, b"", "", 0, datetime.now(UTC))


def said(result) -> dict:
    """An answer but for its lineage."""
    names = ("as_of", "origin", "event_time", "value", "predictions")
    return {name: json.loads(result.answer)[name] for name in names}


def as_in_batch(world, champion, home: Home, answer: dict) -> None:
    raw = home.table("live_metrics", RAW)
    views = champion.predictor.snapshots(raw, [datetime.fromisoformat(answer["as_of"])], raw.version())
    frame = champion.predictor.predict(views).frame.filter(pl.col("metric") == "orders")
    told = [(datetime.fromisoformat(s["time"]), s["value"], s["lower"], s["upper"]) for s in answer["predictions"]]
    assert told == frame.select("time", "value", "lower", "upper").rows()


@pytest.mark.parametrize("age", OLD.values(), ids=OLD)
@pytest.mark.parametrize("worker", ["the same", "another", "one that exported"])
def test_an_old_first_event_is_late_and_leaves_no_trace(
    world, system, champion, own: Home, home: Home, tmp_path: Path, age: timedelta, worker: str
) -> None:
    other = Home(Settings(home=Path(shutil.copytree(home.path, tmp_path / "control"))))
    last = newest(world, own)
    plan = [entry(world, last + n * world.STEP, 5.0 + n) for n in (1, 2, 3)]
    wanted = [
        said(each[0]) for each in EventLog(system, other, lambda: champion.pins).write_groups([[e] for e in plan])
    ]
    log = EventLog(system, own, lambda: champion.pins)
    found = []
    for each in plan:
        refused = log.write_groups([[entry(world, last - age)]])[0][0]
        assert isinstance(refused, LateEventError)
        assert "before the newest of its series" in str(refused)
        if worker == "one that exported":
            assert export(system, own)["differing"] == 0
        if worker != "the same":
            log = EventLog(system, own, lambda: champion.pins)
        found.append(said(log.write_groups([[each]])[0][0]))
    assert found == wanted
    assert export(system, own)["differing"] == 0
    for each in found:
        as_in_batch(world, champion, own, each)


def test_what_the_tables_learn_between_is_known_to_the_next_event(world, system, champion, own: Home) -> None:
    """An event that is refused does not hold on to what the tables knew then."""
    log, last = EventLog(system, own, lambda: champion.pins), newest(world, own)
    assert isinstance(log.write_groups([[entry(world, last - timedelta(days=2))]])[0][0], LateEventError)
    raw = own.table("live_metrics", RAW)
    row = {"metric": ["orders"], "time": [last + world.STEP], "value": [321.5], "known_at": [last + world.STEP]}
    utc = pl.Datetime("us", "UTC")
    raw.append(
        pl.DataFrame(row, schema_overrides={"time": utc, "known_at": utc}),
        identity=["metric", "time"], compare=["value"], window="time",
    )  # fmt: skip
    made = said(log.write_groups([[entry(world, last + 2 * world.STEP)]])[0][0])
    assert export(system, own)["differing"] == 0
    as_in_batch(world, champion, own, made)


def test_a_correction_that_the_tables_learnt_late_puts_the_series_clock_forward(
    world, system, champion, own: Home
) -> None:
    """No answer may be known before what the tables know of its series."""
    log, last = EventLog(system, own, lambda: champion.pins), newest(world, own)
    raw = own.table("live_metrics", RAW)
    utc, late = pl.Datetime("us", "UTC"), last + world.STEP + timedelta(minutes=20)
    row = {"metric": ["orders"], "time": [last], "value": [321.5], "known_at": [late]}
    raw.append(
        pl.DataFrame(row, schema_overrides={"time": utc, "known_at": utc}),
        identity=["metric", "time"], compare=["value"], window="time",
    )  # fmt: skip
    near, far = entry(world, last + world.STEP), entry(world, last + 2 * world.STEP)
    answers = [said(log.write_groups([[each]])[0][0]) for each in (near, far)]
    assert answers[0]["as_of"] > late.isoformat()
    assert export(system, own)["differing"] == 0
    for each in answers:
        as_in_batch(world, champion, own, each)
    again = EventLog(system, own, lambda: champion.pins)
    more = said(again.write_groups([[entry(world, last + 3 * world.STEP)]])[0][0])
    assert export(system, own)["differing"] == 0
    as_in_batch(world, champion, own, more)


@pytest.mark.parametrize("age", OLD.values(), ids=OLD)
def test_an_old_first_event_on_the_stream_is_late_too(world, champion, own: Home, age: timedelta) -> None:
    last = newest(world, own)
    engine = world.engine(champion, seed=Seeding("live_metrics", own, world.shape()))
    control = world.engine(champion, seed=Seeding("live_metrics", own, world.shape()))
    good = [world.message(n, "orders", last + n * world.STEP, 5.0 + n) for n in (1, 2)]
    done = engine.answer([world.message(0, "orders", last - age, 131.2)])
    assert [reason for _, reason in done.late] == [done.late[0][1]]
    assert not engine.rings.index, "the tables may know more of it by its next event"
    mixed = engine.answer([world.message(0, "orders", last - age, 131.2), *good])
    assert [m.offset for m, _ in mixed.late] == [0]
    assert [body for _, body in mixed.outputs] == [body for _, body in control.answer(good).outputs]
    restored = world.engine(champion)
    log = {key: value for _, key, value in mixed.changes}
    restored.changelog.restore(restored.rings, 0, restored.changelog.checked(log)[0])
    assert np.array_equal(restored.rings.values[:, 0], engine.rings.values[:, 0], equal_nan=True)


@pytest.mark.parametrize("age", GRACE.values(), ids=GRACE)
def test_one_within_the_grace_is_a_correction(world, system, champion, own: Home, age) -> None:
    log, last = EventLog(system, own, lambda: champion.pins), newest(world, own)
    (first,), (second,) = log.write_groups([[entry(world, last - age, 777.0)], [entry(world, last + world.STEP, 6.0)]])
    assert export(system, own) | {"predictions": 0} == {"exported": 2, "events": 2, "predictions": 0, "differing": 0}
    assert datetime.fromisoformat(said(first)["origin"]) == last
    for each in (first, second):
        as_in_batch(world, champion, own, said(each))
