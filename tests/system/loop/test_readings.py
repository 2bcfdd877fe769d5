"""Readings and alerts: the same live, backfilled, repeated, in another order, and by two at once."""

from __future__ import annotations

import contextlib
import math
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import headrace
from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import lag
from headrace.hooks import AlertClosedEvent, AlertRaisedEvent
from headrace.loop import readings as readings_table
from headrace.loop.evaluate import policy_of
from headrace.loop.facts import StoredMonitoringFacts
from headrace.policy.monitoring import (
    Coverage,
    NothingPredicted,
    Quarantined,
    StaleSource,
    Threshold,
    Volume,
    WorseThanBaseline,
    WorseThanHeldOut,
)
from headrace.store.held import HeldTable

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST, LAST = BEGIN + 7 * DAY + 5 * HOUR, BEGIN + 13 * DAY
TIMES = [FIRST + n * DAY for n in range(6)]
ACTS = {"on_alarm": "retrain", "at_most": {"retrainings": 0}}
FEW = {"min_support": 5, "blocks": 2, "consecutive": 1}
RULES = (
    Threshold("mape", warn=0.1, alarm=0.15, by="series", min_support=5, consecutive=1),
    Threshold("wape", warn=0.15, by="horizon", min_support=2, consecutive=2, name="steps"),
    WorseThanBaseline(**FEW),
    WorseThanHeldOut("wape", min_support=5),
    Coverage(**FEW),
    Quarantined(min_support=1),
    StaleSource(),
    NothingPredicted(),
    Volume(past=4),
)


@pytest.fixture(scope="session")
def file(tmp_path_factory) -> Path:
    """Two series of which one jumps to another level on the tenth day; a few rows break the contract."""
    rng = random.Random(7)
    rows = []
    for n in range(14 * 24):
        for key in ("a", "b"):
            season = 100 + 30 * math.sin(n / 24 * 2 * math.pi)
            value = season * (1.8 if key == "b" and n > 10 * 24 else 1) + rng.gauss(0, 3)
            rows.append({"k": key, "t": BEGIN + n * HOUR, "y": -1.0 if n % 97 == 5 else value})
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    pl.DataFrame(rows).write_parquet(path)
    return path


def system(file: Path, train: str = "never", hooks: tuple = (), **acts: object) -> System:
    columns = (Column("t", "time", zone="UTC"), Column("k", "category"), Column("y", "float", minimum=0))
    return System(
        name="s",
        source=Source(lag="1h"),
        contract=Contract(columns=columns, max_invalid_fraction=0.5),
        keys=("k",),
        time="t",
        step="1h",
        horizon="3h",
        target="y",
        features={"last": lag("y", "1h"), "day": lag("y", "24h")},
        model=Forecaster(seasons=("24h",), n_estimators=5),
        schedule=Schedule(predict="1h", train=train),
        monitoring=Monitoring(baselines=("24h",), window="2d", every="12h", rules=RULES, **acts),
        hooks=hooks,
    )


def opened(home: Path, declared: System, file: Path) -> headrace.BoundSystem:
    """The system in a home, with all that it may ever see."""
    bound = headrace.open(home).system(declared)
    bound.ingest(LAST, source=f"file:{file}")
    return bound


def outcome(bound: headrace.BoundSystem) -> tuple[list, list]:
    """Readings and alerts as they stand, without what alarms caused."""
    home, declared = bound.workspace.reading, bound.declaration
    alerts = [{**alert.as_dict(), "actions": []} for alert in bound.alerts()]
    return readings_table.read(home, "s", policy_of(declared)), alerts


@pytest.fixture(scope="session")
def live(file, tmp_path_factory):
    """Runs one after the other, and what they ended in."""
    bound = opened(tmp_path_factory.mktemp("live"), system(file), file)
    for time in TIMES:
        bound.run(time)
    return bound, outcome(bound)


def test_a_run_at_an_evaluation_time_counts_at_the_next_one_whichever_times_there_are(live):
    bound, _ = live

    def predictions(times: list[datetime]) -> list[tuple]:
        facts = StoredMonitoringFacts(bound.declaration, bound.workspace.reading, times, [], DAY)
        return facts.predictions().select("time", "last", "predictions").rows()

    together = predictions(TIMES)
    assert together == [row for time in TIMES for row in predictions([time])]
    assert [last for _, last, _ in together] == [None, *TIMES[:-1]]


def test_a_shift_is_told_and_repeating_changes_nothing(live):
    bound, (readings, alerts) = live
    assert {r.time for r in readings} == {BEGIN + n * 12 * HOUR for n in range(15, 25)}
    assert len({r.rule for r in readings}) == len(RULES)
    shifted = [alert for alert in alerts if alert["rule"] == "mape by series"]
    assert [alert["scope"] for alert in shifted] == [{"k": "b"}]
    assert shifted[0]["severity"] == "alarm"
    assert shifted[0]["value"] > shifted[0]["threshold"]
    for time in (TIMES[-1], TIMES[3]):
        bound.run(time)
    assert outcome(bound) == (readings, alerts)


def test_what_was_known_then_is_what_was_raised_then(live):
    bound, (_, alerts) = live
    for day in range(8, 14):
        time = BEGIN + day * DAY
        known = bound.alerts(as_of=time)
        assert {alert.id for alert in known} == {
            a["id"] for a in alerts if a["raised_at"] <= f"{time:%Y-%m-%dT%H:%M:%SZ}"
        }
        assert all(alert.closed_at is None or alert.closed_at <= time for alert in known)
    assert {alert.id for alert in bound.alerts(open=True)} == {a["id"] for a in alerts if a["closed_at"] is None}


def test_a_backfill_ends_in_the_same_by_itself_and_beside_another(live, file, tmp_path):
    told: list[object] = []

    def hear(event: AlertRaisedEvent | AlertClosedEvent) -> None:
        told.append(event)

    alone = opened(tmp_path / "alone", system(file, hooks=(hear,)), file)
    alone.backfill(TIMES[0], TIMES[-1], "1d", workers=1)
    assert outcome(alone) == live[1]
    raised = {event.id for event in told if isinstance(event, AlertRaisedEvent)}
    assert raised == {alert["id"] for alert in live[1][1]}
    shared = tmp_path / "shared"
    pair = [opened(shared, system(file, **ACTS), file) for _ in range(2)]  # made ahead, held, stored stretch by stretch
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda bound: bound.backfill(TIMES[0], TIMES[-1], "1d", workers=1), pair))
    assert outcome(pair[0]) == live[1]


def test_a_backfill_that_is_broken_off_wherever_it_stores_goes_on(live, file, tmp_path, monkeypatch):
    bound, release, broken = opened(tmp_path, system(file, **ACTS), file), HeldTable.release, []

    def breaking(table: HeldTable, where: pl.Expr | None = None) -> bool:
        """Breaks off before and after each table is stored for the first time."""
        for place in ("before", "after") if table.held else ():
            if (place, table.uri) not in broken:
                broken.append((place, table.uri))
                if place == "after":
                    release(table, where)
                raise KeyboardInterrupt
        return release(table, where)

    monkeypatch.setattr(HeldTable, "release", breaking)
    done = None
    while done is None:
        with contextlib.suppress(KeyboardInterrupt):
            done = bound.backfill(TIMES[0], TIMES[-1], "1d", workers=1)
    assert len(broken) == 2 * len({uri for _, uri in broken}) > 8
    assert outcome(bound) == live[1]
    assert {action["outcome"] for action in done.as_dict()["actions"]} == {"no_budget"}


def test_trainings_between_change_nothing_about_that(file, tmp_path):
    ends = []
    for name in ("live", "past"):
        bound = opened(tmp_path / name, system(file, train="1d"), file)
        if name == "live":
            for time in TIMES[:3]:
                bound.run(time)
        else:
            bound.backfill(TIMES[0], TIMES[2], "1d", workers=1)
        ends.append(outcome(bound))
    assert ends[0] == ends[1]


def test_runs_in_another_order_end_in_the_same(live, file, tmp_path):
    bound = opened(tmp_path, system(file), file)
    for place in (0, 4, 2, 5, 1, 3):
        bound.run(TIMES[place])
    assert outcome(bound) == live[1]
