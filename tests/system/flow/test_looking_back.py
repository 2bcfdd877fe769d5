"""Trainings that errors cause: the same whether runs were live, backfilled, repeated, or two at once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.system.flow.test_backfill import OF_THE_RUN

from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.tasks.forecast.matured import MARK

SHIFTED = Path(__file__).parents[2] / "worlds" / "shifted"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "simulated:?at=13"
TIMES = DateRange(BEGIN + timedelta(days=8), BEGIN + timedelta(days=18), timedelta(days=1))


def decided(home):
    return [(v.version, v.as_of, v.because) for v in home.registry.versions("shifted")]


def rows(home, name):
    table = home.table("shifted", name)
    frame = table.collect(table.scan())
    frame = frame.filter(pl.col("scope") != MARK) if name == "metrics" else frame
    frame = frame.drop(OF_THE_RUN, "data_version", strict=False)
    return frame.sort(sorted(frame.columns)).select(sorted(frame.columns))


@pytest.mark.long
def test_a_shift_trains_live_and_backfilled_alike(tmp_path):
    system = load_system(str(SHIFTED), ["schedule.retrain=[{kind: cusum, days: 2}, {kind: cost_aware, alpha: 1}]"])
    live, past = (Home(Settings(home=tmp_path / name)) for name in ("live", "past"))
    for as_of in TIMES.times():
        run(system, live, RunRequest(as_of, as_of, SOURCE))
    done = backfill(system, past, BackfillRequest(TIMES, TIMES.end, SOURCE))
    assert not done.failed
    assert len(decided(past)) > 1
    assert decided(past)[1][1] > BEGIN + timedelta(days=13)
    assert decided(live) == decided(past)
    for name in ("predictions", "metrics"):
        ours, theirs = (rows(home, name) for home in (live, past))
        assert ours.equals(theirs, null_equal=True), name
    again = backfill(system, past, BackfillRequest(TIMES, TIMES.end, SOURCE))
    assert (again.repeated, again.stored, again.scored, again.trained) == (done.runs, 0, 0, [])
