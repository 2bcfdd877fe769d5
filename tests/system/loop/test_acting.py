"""What alarms cause: the same whether runs were live, backfilled, repeated or put back from a backup."""

import shutil
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from tests.system.flow.test_backfill import OF_THE_RUN

from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.housekeeping.renaming import rename
from headrace.loop import actions
from headrace.loop.alerts import alerts
from headrace.loop.evaluate import policy_of
from headrace.loop.readings import standing
from headrace.pipelines.configured import Reference, configured
from headrace.settings import Settings
from headrace.tasks.forecast.matured import MARK

WORLD = str(Path(__file__).parents[2] / "worlds" / "acting")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SHIFT = "simulated:?at=13"
TIMES = DateRange(BEGIN + 11 * DAY, BEGIN + 19 * DAY, timedelta(hours=12))


UNTIL_16 = DateRange(TIMES.start, BEGIN + 16 * DAY, TIMES.every)


@pytest.fixture
def home(tmp_path):
    return Home(Settings(home=tmp_path / "home", threads=1))


def declared(action, *settings):
    reference = Reference(WORLD, (f"monitoring.on_alarm={action}", *settings))
    return reference, reference.load()


def backfilled(home, action, *settings, source=SHIFT, times=TIMES):
    reference, system = declared(action, *settings)
    return backfill(system, home, BackfillRequest(times, times.end, source, reference=reference))


def lived(home, action, *settings, source=SHIFT, times=TIMES):
    reference, system = declared(action, *settings)
    for as_of in times.times():
        present = configured(reference, system, home, as_of)
        run(present, home, RunRequest(as_of, as_of, source, reference=reference))


def rows(home, name):
    table = home.table("acting", name)
    frame = table.collect(table.scan())
    frame = frame.filter(pl.col("scope") != MARK) if name == "metrics" else frame
    frame = frame.drop(OF_THE_RUN, "data_version", strict=False)
    return frame.sort(sorted(frame.columns)).select(sorted(frame.columns))


def read(home, system):
    """The readings that stand, the alerts that follow, what they caused, and the versions that there are."""
    stands = standing(home, "acting", policy_of(system)).select("time", "rule", "level", "value", "scopes")
    versions = [(v.version, v.as_of, v.because, v.state, v.digest) for v in home.registry.versions("acting")]
    return stands, alerts(system, home), actions.read(home, "acting"), versions


def acted(home):
    return [(f.action, f.outcome, (f.as_of - BEGIN) / DAY, f.version) for f in actions.read(home, "acting")]


def champion(home):
    return home.registry.champion("acting").version


def test_a_shift_is_answered_by_a_retuning_live_backfilled_repeated_and_put_back_alike(home, tmp_path):
    live, (_, system) = Home(Settings(home=tmp_path / "live", threads=1)), declared("retune")
    lived(live, "retune")
    done = backfilled(home, "retune")
    assert not done.failed
    # By the first evening the new level is in too little of what is learnt from; then it is in most.
    assert acted(home) == [("retune", "rejected", 15, 2), ("retune", "promoted", 17, 3)]
    (alarm,) = alerts(system, home)
    assert (alarm.severity, (alarm.raised_at - BEGIN) / DAY, (alarm.closed_at - BEGIN) / DAY) == ("alarm", 15, 19)
    assert home.registry.champion("acting").because.startswith(alarm.id)
    # What was searched on ends where the champion learnt; the gate compared on what came since.
    assert (champion(home), home.configurations("acting").all()[0].as_of) == (3, BEGIN + 15 * DAY)
    ours, theirs = read(live, system), read(home, system)
    assert ours[0].equals(theirs[0], null_equal=True)
    assert ours[1:] == theirs[1:]
    shutil.copytree(home.path, tmp_path / "backup")  # as the guide to operation says; then the home is lost
    shutil.rmtree(home.path)
    shutil.copytree(tmp_path / "backup", home.path)
    home = Home(Settings(home=home.path, threads=1))
    again = backfilled(home, "retune")
    assert (again.repeated, again.stored, again.scored, again.trained, again.actions) == (done.runs, 0, 0, [], [])
    put_back = read(home, system)
    assert put_back[0].equals(theirs[0], null_equal=True)
    assert put_back[1:] == theirs[1:]
    for name in ("predictions", "metrics", "anomalies"):
        assert rows(live, name).equals(rows(home, name), null_equal=True), name


def test_a_false_alarm_changes_nothing(home):
    tight = "monitoring.rules=[{kind: served_error, warn: .01, alarm: .02}]"
    done = backfilled(home, "retrain", tight, "monitoring.at_most.per=30d", source="simulated:?at=50", times=UNTIL_16)
    assert (done.failed, champion(home), len(home.registry.versions("acting"))) == ([], 1, 2)
    assert acted(home) == [("retrain", "rejected", 12, 2)]
    assert "does not beat version 1" in actions.read(home, "acting")[0].reason
    # Under another name it is the same alert, which was told and acted on.
    before = alerts(declared("retrain", tight)[1], home)
    rename(home, "acting", "moved")
    rename(home, "moved", "again")
    reference, system = declared("retrain", tight, "monitoring.at_most.per=30d", "name=again")
    assert alerts(system, home) == before
    as_of = UNTIL_16.end + DAY / 2
    run(system, home, RunRequest(as_of, as_of, "simulated:?at=50", reference=reference))
    assert (len(actions.read(home, "again")), len(home.registry.versions("again"))) == (1, 2)


def test_an_action_that_fails_is_told_and_tried_again_and_runs_go_on(home):
    early = DateRange(BEGIN + 1.5 * DAY, BEGIN + 7 * DAY, timedelta(hours=12))
    done = backfilled(home, "retune", source="simulated:?at=3&by=2.5", times=early)
    assert (done.failed, done.runs, champion(home)) == ([], 12, 1)
    assert [(outcome, day) for _, outcome, day, _ in acted(home)] == [("failed", 5), ("failed", 6)]
    assert "is too short" in actions.read(home, "acting")[0].reason


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("tuning.space={model.params.days: [-1]}",), "OverflowError"),  # the user's own code fails in each trial
        (("tuning.timeout=1s",), "no trial was completed"),
    ],
)
def test_a_search_that_comes_to_nothing_leaves_the_champion(home, settings, reason, monkeypatch):
    if "timeout" in settings[0]:  # is over before the first trial
        monkeypatch.setattr(
            "headrace.flow.tune.time", SimpleNamespace(time=count(step=9).__next__, monotonic=time.monotonic)
        )
    until = DateRange(TIMES.start, BEGIN + 15.5 * DAY, TIMES.every)
    done = backfilled(home, "retune", *settings, times=until)
    assert (done.failed, done.runs, champion(home)) == ([], 10, 1)
    assert acted(home) == [("retune", "failed", 15, None)]
    assert reason in actions.read(home, "acting")[0].reason


def test_what_the_budget_forbids_is_told_once(home):
    backfilled(home, "retune", "monitoring.at_most.retunings=0", times=UNTIL_16)
    assert acted(home) == [("retune", "no_budget", 15, None)]
    assert "the budget is 0 retunings" in actions.read(home, "acting")[0].reason
    assert champion(home) == 1


def test_a_baseline_answers_until_a_training_beats_it(home, tmp_path):
    reference, system = declared("fallback")
    backfilled(home, "fallback", times=DateRange(TIMES.start, BEGIN + 17 * DAY, TIMES.every))
    ((_, outcome, day, version),) = acted(home)
    assert (outcome, day, version) == ("promoted", 15, 2)
    made = rows(home, "predictions")
    before, after = made.filter(pl.col("model_version") == 1), made.filter(pl.col("model_version") == 2)
    assert before["served"].unique().to_list() == ["model"]
    assert after["served"].unique().to_list() == ["baseline"]
    assert after["value"].equals(after["baseline_1d"])
    assert alerts(system, home)[0].closed_at is not None
    later = RunRequest(BEGIN + 30 * DAY, BEGIN + 30 * DAY, SHIFT, retrain=True, reference=reference)
    done = run(system, home, later)
    assert done.because == "it was asked for"
    assert "version 2" in done.trained.reason


def test_what_was_better_before_comes_back(home):
    _, system = declared("rollback")
    backfilled(home, "rollback", times=DateRange(BEGIN + 11 * DAY, BEGIN + 12 * DAY, DAY))
    # Somebody promotes a version that learnt from a day that was none.
    odd = RunRequest(BEGIN + 14 * DAY, BEGIN + 14 * DAY, "simulated:?at=13&until=14", retrain=True)
    run(declared("rollback", "model.params.days=1")[1], home, odd)
    home.registry.promote("acting", 2, created_at=odd.now, as_of=odd.as_of, by="ann")
    backfilled(
        home,
        "rollback",
        source="simulated:?at=13&until=14",
        times=DateRange(BEGIN + 14.5 * DAY, BEGIN + 19 * DAY, DAY / 2),
    )
    assert [(action, outcome, version) for action, outcome, _, version in acted(home)] == [("rollback", "promoted", 1)]
    assert champion(home) == 1
    assert home.registry.get("acting", 1).reason.startswith(alerts(system, home)[-1].id)
