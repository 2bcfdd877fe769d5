"""No clock decides anything: hosts whose clocks differ by hours agree on what stands."""

from datetime import timedelta

import polars as pl
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace.flow.run import RunRequest, run
from headrace.pipelines.runs import newest
from headrace.tasks.forecast.inference import read_predictions

BEHIND = NOW - timedelta(hours=1)
"""A clock that is an hour slow."""


def facts(place, name, frame):
    frame.write_parquet(place.path / name)
    return f"file:{place.path}/{name}"


def test_a_number_told_by_a_slow_clock_stands_and_is_told_once(place):
    system, home, rows = system_of(), place("slow"), world(5)
    missing = pl.col("time") > last(10)
    uri = facts(home, "some.parquet", rows.filter(~missing | (pl.col("place") != "p0")))
    first = run(system, home, RunRequest(last(6), NOW, uri))
    again = run(system, home, RunRequest(last(6), BEHIND, facts(home, "all.parquet", rows)))
    assert first.stored
    assert again.stored
    shown = read_predictions(system, home).filter(pl.col("as_of") == last(6)).sort("place", "time")
    told = again.frame.sort("place", "time")
    assert shown["value"].to_list() == told["value"].to_list()
    for now in (BEHIND, BEHIND - HOUR, NOW + HOUR):
        repeated = run(system, home, RunRequest(last(6), now, facts(home, "all.parquet", rows)))
        assert repeated.stored == 0


def test_the_newest_run_is_the_one_that_ended_last(place):
    system, home = system_of(), place("runs")
    uri = facts(home, "all.parquet", world(5))
    for hours, now in ((9, NOW), (8, BEHIND), (7, NOW - 5 * HOUR)):
        run(system, home, RunRequest(last(hours), now, uri))
    assert [each["as_of"] for each in newest(home, "world", 5)] == [last(7), last(8), last(9)]


def test_the_last_decision_stands_whatever_the_clock_of_whoever_took_it(place):
    system, home = system_of(), place("decisions")
    uri = facts(home, "all.parquet", world(5))
    run(system, home, RunRequest(last(20), NOW, uri))
    run(system, home, RunRequest(last(10), NOW, uri, retrain=True))
    registry = home.registry
    one, two = (version.version for version in registry.versions("world"))
    registry.promote("world", two, created_at=NOW, as_of=last(5))
    registry.promote("world", one, created_at=BEHIND, as_of=last(5))
    assert registry.champion("world", last(5)).version == registry.champion("world").version == one
    facts_now = registry.timeline("world").facts
    registry.promote("world", one, created_at=BEHIND - HOUR, as_of=last(5))
    assert registry.timeline("world").facts == facts_now
