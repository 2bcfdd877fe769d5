"""A run that fails before it watches: what is stored is watched all the same, and the first error is the one to say."""

from datetime import timedelta
from typing import Literal

import polars as pl
import pytest
from tests.worlds.flow import NOW, last, system_of, world

from headrace import Monitoring
from headrace.errors import ContractBroken, SourceError
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import READINGS
from headrace.hooks import AlertRaisedEvent
from headrace.loop.alerts import alerts
from headrace.loop.evaluate import policy_of
from headrace.loop.readings import read
from headrace.pipelines import runs
from headrace.policy.monitoring import MonitorRule, Quarantined, StaleSource

FIRST, DAYS = 140, 4
WATCHED = Monitoring(baselines=("12h", "24h"), window="3d", rules=(StaleSource(),))


class Breaks(MonitorRule):
    """A rule with a mistake in it."""

    kind: Literal["breaks"] = "breaks"

    def measure(self, facts):
        raise ZeroDivisionError


def watched(monitoring=WATCHED, hooks=()):
    return system_of(hooks=hooks).model_copy(update={"monitoring": monitoring})


def begun(home, system):
    """A home with one good run, and the place of its source."""
    file = home.path / "rows.parquet"
    world(2).filter(pl.col("time") < last(FIRST)).write_parquet(file)
    run(system, home, RunRequest(last(FIRST), NOW, f"file:{file}"))
    return file


def fails(home, system, file, day, error=SourceError):
    with pytest.raises(error) as failure:
        run(system, home, RunRequest(last(FIRST - 24 * day), NOW + timedelta(days=day), f"file:{file}"))
    return failure.value


def outcome(home, system):
    return read(home, "world", policy_of(system)), alerts(system, home)


def test_a_source_that_is_gone_is_told_as_if_runs_had_been_well(place):
    told = []

    def hear(event: AlertRaisedEvent) -> None:
        told.append((event.severity, event.as_of))

    home, system = place("gone"), watched(hooks=(hear,))
    file = begun(home, system)
    stored = file.read_bytes()
    file.unlink()
    notes = [getattr(fails(home, system, file, day), "__notes__", []) for day in range(1, DAYS + 1)]
    assert [[note[:24] for note in said] for said in notes if said] == [
        ["raised  warning: stale s"],
        ["raised  alarm: stale sou"],
    ]
    assert [severity for severity, _ in told] == ["warning", "alarm"]
    ended = outcome(home, system)
    (alert,) = ended[1]
    assert (alert.rule, alert.severity, alert.is_open) == ("stale source", "alarm", True)
    newest = runs.newest(home, "world", 1)[0]
    record = runs.record(home, "world", newest["run_id"])
    assert (newest["status"], record["error"]["error"]) == ("failed", "SourceError")
    assert [step["name"] for step in record["steps"]] == ["ingest", "monitor"]
    assert record["alerts"]["open"] == 1
    fails(home, system, file, DAYS)  # again, and one of before
    fails(home, system, file, 2)
    assert outcome(home, system) == ended

    past = place("past")
    (past.path / "rows.parquet").write_bytes(stored)
    days = DateRange(last(FIRST), last(FIRST - 24 * DAYS), timedelta(days=1))
    backfill(watched(), past, BackfillRequest(days, NOW, f"file:{past.path}/rows.parquet"))
    assert outcome(past, system) == ended


def test_rows_that_break_the_contract_are_told_of(place):
    home, system = place("broken"), watched(WATCHED.model_copy(update={"rules": (Quarantined(),)}))
    file = begun(home, system)
    rows = world(2).filter(pl.col("time") < last(FIRST - 24))
    rows.with_columns(time=pl.lit(None, pl.Datetime("us", "UTC"))).write_parquet(file)
    fails(home, system, file, 1, ContractBroken)
    fails(home, system, file, 2, ContractBroken)
    assert {alert.rule for alert in alerts(system, home)} == {"quarantined"}


def test_messages_are_kept_and_sent_by_runs_that_fail(place):
    home, system = place("messages"), watched(WATCHED.model_copy(update={"notify": ("NO_SUCH_CHANNEL",)}))
    file = begun(home, system)
    file.unlink()
    for day in range(1, DAYS + 1):
        fails(home, system, file, day)
    (waits,) = home.ledger.notices.waiting("world")
    assert (waits.channel, waits.messages, waits.reason) == (
        "NO_SUCH_CHANNEL",
        2,
        "the variable NO_SUCH_CHANNEL is not set",
    )


def test_what_fails_while_watching_is_said_beside_the_first_error(place):
    home, system = place("twice"), watched()
    file = begun(home, system)
    file.unlink()
    broken = watched(WATCHED.model_copy(update={"rules": (Breaks(),)}))
    error = fails(home, broken, file, 1)
    assert error.__notes__ == ["nor could the system be watched: ZeroDivisionError"]
    newest = runs.newest(home, "world", 1)[0]
    record = runs.record(home, "world", newest["run_id"])
    assert record["error"]["error"] == "SourceError"
    assert record["warnings"] == error.__notes__


def test_nothing_is_watched_where_nothing_is_stored_or_nothing_was_to_be_watched(place):
    home, system = place("nothing"), watched()
    error = fails(home, system, home.path / "rows.parquet", 0)
    assert not getattr(error, "__notes__", [])
    assert not home.table("world", READINGS).exists()
    file = begun(home, system)
    before = home.table("world", READINGS).version()
    file.unlink()
    with pytest.raises(SourceError):
        run(system, home, RunRequest(last(FIRST - 48), NOW, f"file:{file}", ("ingest", "validate")))
    assert home.table("world", READINGS).version() == before
