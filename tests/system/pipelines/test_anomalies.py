"""Anomalies of runs' forecasts: found, not judged again by a correction, glitches among them, and told by a rule."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tests.worlds.flow import HOUR, START, system_of

from headrace.home import ANOMALIES, PREDICTIONS, RAW, Home
from headrace.loop.facts import StoredMonitoringFacts
from headrace.policy.monitoring.judging import readings_of
from headrace.policy.monitoring.rules import Anomalous
from headrace.settings import Settings
from headrace.tasks.forecast.anomalies import read_anomalies
from headrace.tasks.forecast.monitoring import monitor

SYSTEM, HOURS, PLACES = system_of(), 24 * 20, ("p0", "p1")
SPIKE, DROP = 24 * 15 + 7, 24 * 17
END = START + HOURS * HOUR


def home_of(path: Path) -> Home:
    """Two places, forecast an hour before by their usual day; one has a value far off, the other one of a device."""
    rng, home = np.random.default_rng(3), Home(Settings(home=path))
    rows = []
    for number, place in enumerate(PLACES):
        for hour in range(HOURS):
            usual = 100 + 20 * np.sin(hour / 24 * 2 * np.pi)
            value = usual + rng.normal(0, 2)
            value = 190.0 if (number, hour) == (0, SPIKE) else -9999.0 if (number, hour) in {(1, DROP)} else value
            rows.append((place, START + hour * HOUR, value, usual, START + (hour + 1) * HOUR))
    frame = pl.DataFrame(rows, schema=["place", "time", "load", "value", "known_at"], orient="row")
    frame = frame.with_columns(pl.col("time", "known_at").cast(pl.Datetime("us", "UTC")))
    home.table("world", RAW).append(
        frame.select("place", "time", "load", "known_at"), identity=["place", "time"], compare=["load"], window="time"
    )
    said = frame.select(
        *("place", "time", "value"),
        *(pl.lit(1).alias("ahead"), pl.lit(0).alias("revision"), pl.lit(2.0).alias("scale")),
        as_of=pl.col("time"),
        known_at=pl.col("time"),
        lower=pl.col("value") - 3.3,
        upper=pl.col("value") + 3.3,
        baseline_12h="value",
    )
    identity = ["place", "time", "as_of", "revision"]
    home.table("world", PREDICTIONS).append(said, identity=identity, compare=["value"], window="time")
    return home


def flagged(home: Home, as_of: datetime | None = None) -> list[tuple[str, int]]:
    found = read_anomalies(SYSTEM, home, as_of=as_of)
    assert found is not None
    rows = found.filter("anomaly").select("place", "time").rows()
    return [(place, (time - START) // HOUR) for place, time in rows]


def test_what_is_far_off_is_found_whichever_monitors_there_were(tmp_path: Path) -> None:
    home = home_of(tmp_path / "one")
    assert monitor(SYSTEM, home, as_of=END).rows
    assert flagged(home)[-2:] == [("p0", SPIKE), ("p1", DROP)]
    assert len(flagged(home)) <= 2 + 3, "the first days have a few more"
    assert ("p0", SPIKE) not in flagged(home, START + SPIKE * HOUR), "it was not known yet"
    assert ("p0", SPIKE) in flagged(home, START + (SPIKE + 1) * HOUR)
    table, version = home.table("world", ANOMALIES), home.table("world", ANOMALIES).version()
    monitor(SYSTEM, home, as_of=END)
    assert table.version() == version
    often = home_of(tmp_path / "often")
    for day in (3, 9, 16, 20):
        monitor(SYSTEM, often, as_of=START + timedelta(days=day))
    one, other = (read_anomalies(SYSTEM, each) for each in (home, often))
    assert one is not None
    assert other is not None
    columns = ["place", "time", "known_at", "actual", "value", "degree", "anomaly"]
    assert one.select(columns).equals(other.select(columns))


def test_a_correction_is_not_judged_again(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    monitor(SYSTEM, home, as_of=END)
    before = read_anomalies(SYSTEM, home)
    fact = {"place": "p0", "time": START + SPIKE * HOUR, "load": 100.0, "known_at": START + (SPIKE + 30) * HOUR}
    row = pl.DataFrame([fact]).with_columns(pl.col("time", "known_at").cast(pl.Datetime("us", "UTC")))
    home.table("world", RAW).append(row, identity=["place", "time"], compare=["load"], window="time")
    monitor(SYSTEM, home, as_of=END)
    after = read_anomalies(SYSTEM, home)
    assert before is not None
    assert after is not None
    assert before.equals(after)


def test_a_rule_warns_of_the_series_until_the_window_is_over(tmp_path: Path) -> None:
    home = home_of(tmp_path)
    monitor(SYSTEM, home, as_of=END)
    times = [START + timedelta(days=day) for day in range(14, 21)]
    facts = StoredMonitoringFacts(SYSTEM, home, times, [], timedelta(days=1))
    readings = readings_of(Anomalous(), facts)
    assert [reading.level for reading in readings] == ["ok", "ok", "warning", "ok", "warning", "ok", "ok"]
    assert [dict(scope.scope) for reading in readings for scope in reading.scopes] == [{"place": "p0"}, {"place": "p1"}]
    longer = readings_of(Anomalous(window="3d"), facts)
    assert [reading.level for reading in longer] == ["ok", "ok", *["warning"] * 5]
