"""The loop on real data: the load of PJM East, with a level shift put into it, and without."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headrace.flow.backfill import BackfillRequest, backfill
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.loop import actions
from headrace.loop.alerts import alerts
from headrace.pipelines.configured import Reference
from headrace.settings import Settings

ROOT = Path(__file__).parents[3]
LOAD = ROOT.parent / "shared" / "data" / "pjme_hourly" / "PJME_hourly.csv.gz"
WORLD = str(ROOT / "tests" / "worlds" / "acting")
BEGIN = datetime(2016, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)

pytestmark = pytest.mark.skipif(not LOAD.exists(), reason="the public data are not beside the repository")


@pytest.fixture(scope="module")
def load():
    """October as it was, as the world's series."""
    frame = pl.read_csv(LOAD).with_columns(time=pl.col("Datetime").str.to_datetime(time_unit="us", time_zone="UTC"))
    frame = frame.filter(pl.col("time").is_between(BEGIN, BEGIN + 31 * DAY)).unique("time").sort("time")
    return frame.select("time", series=pl.lit("PJME"), value=pl.col("PJME_MW").cast(pl.Float64))


def backfilled(tmp_path, frame, days, *settings):
    path = tmp_path / "load.parquet"
    frame.filter(pl.col("time") < BEGIN + days * DAY).write_parquet(path)
    reference = Reference(WORLD, settings)
    home = Home(Settings(home=tmp_path / "home", threads=1))
    times = DateRange(BEGIN + 10 * DAY, BEGIN + days * DAY, DAY / 2)
    done = backfill(reference.load(), home, BackfillRequest(times, times.end, f"file:{path}", reference=reference))
    assert done.failed == []
    return home, alerts(reference.load(), home), actions.read(home, "acting")


def test_a_shift_is_a_warning_then_an_alarm_then_a_retuning_and_the_alert_closes(tmp_path, load):
    since = BEGIN + 13 * DAY
    by = pl.when(pl.col("time") < since).then(1).when(pl.col("time") < since + 2 * DAY).then(1.25).otherwise(1.7)
    home, raised, acted = backfilled(
        tmp_path, load.with_columns(pl.col("value") * by), 23, "monitoring.on_alarm=retune"
    )
    (alert,) = raised
    assert since < alert.raised_at < alert.alarm_at < alert.closed_at < BEGIN + 23 * DAY
    assert (acted[-1].action, acted[-1].outcome) == ("retune", "promoted")
    assert acted[-1].as_of < alert.closed_at
    table = home.table("acting", "metrics")
    scores = table.collect(table.scan(where=pl.col("scope") == "run"))
    recent = scores.filter(pl.col("made") > acted[-1].as_of - 2 * DAY)
    errors = recent.group_by(pl.col("made") >= acted[-1].as_of).agg(pl.col("absolute", "actual").sum()).sort("made")
    before, after = errors["absolute"] / errors["actual"]
    assert after < 0.6 * before


def test_a_false_alarm_on_quiet_data_changes_nothing(tmp_path, load):
    tight = "monitoring.rules=[{kind: served_error, warn: .01, alarm: .02, on_alarm: retrain}]"
    home, _, acted = backfilled(tmp_path, load, 14, tight, "monitoring.at_most.per=30d")
    assert [fact.outcome for fact in acted] == ["rejected"]
    assert home.registry.champion("acting").version == 1
