"""The state moves on by what is in the log alone: commits that fail, answers that are lost, workers, restarts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import KeyConflictError, LateEventError, LedgerUnavailableError, StoreError
from headrace.home import Home
from headrace.ledger import Entry, Ledger
from headrace.lineage import PINNED
from headrace.serving.engine.seeding import Seeding
from headrace.serving.posted.log import EventLog
from headrace.settings import Settings
from headrace.tasks.forecast.export import export


def entry(world, hour: int, value: float = 5.0, metric: str = "orders", key: str = "") -> Entry:
    event = world.message(0, metric, world.TRAINED + hour * world.STEP, value).value
    return Entry("live_metrics", key or f"{metric} {hour}", "", event.hex(), event, b"", "", 0, datetime.now(UTC))


def told(result: list[Any]) -> list[dict[str, Any]]:
    """Answers but for what says which event they answer."""
    return [{n: v for n, v in json.loads(e.answer).items() if n not in ("id", "key", "event_id")} for e in result]


@pytest.fixture(params=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest, home: Home, tmp_path: Path) -> Home:
    """A home of the test's own, with its ledger in either database."""
    uri = None if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    return Home(Settings(home=Path(shutil.copytree(home.path, tmp_path / "home")), ledger_uri=uri))


@pytest.fixture
def log(system, champion) -> Callable[[Home], EventLog]:
    """Makes workers."""
    return lambda home: EventLog(system, home, lambda: champion.pins)


def expected(world, champion, home: Home, entries: list[Entry]) -> list[dict[str, Any]]:
    """What the stream says."""
    from headrace.serving.engine.seeding import Seeding

    engine = world.engine(champion, seed=Seeding("live_metrics", home, world.shape()))
    messages = [world.Message(0, i, b"k", e.inputs, 2**53) for i, e in enumerate(entries)]
    outputs = sorted(engine.answer(messages).outputs, key=lambda each: each[0].offset)
    return [{n: v for n, v in json.loads(body).items() if n != "event_id"} for _, body in outputs]


class Cut:
    """A connection that dies once: before the commit, after it, or so that the database does the work twice."""

    def __init__(self, ledger: Ledger, when: str) -> None:
        self._ledger, self._when, self._real = ledger, when, ledger.extend

    def __call__(self, system: str, after: int, make: Any) -> int:
        if self._when == "twice":
            self._real(system, after, make)  # committed, but nobody heard of it
            return self._real(system, after, make)

        def cut(newer: Any, standing: Any) -> Any:
            made = make(newer, standing)
            if self._when == "before":
                raise LedgerUnavailableError("the connection died")
            return made

        self._real(system, after, cut)
        raise LedgerUnavailableError("the connection died")


@pytest.mark.parametrize("when", ["before", "after", "twice"])
def test_a_commit_that_fails_or_is_not_heard_of_changes_no_number(
    world, champion, own: Home, log, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    entries = [entry(world, hour, hour / 8) for hour in range(1, 9)]
    wanted, worker, answers = expected(world, champion, own, entries), log(own), []
    for place, each in enumerate(entries):
        if place in (2, 5):
            with monkeypatch.context() as patch:
                patch.setattr(own.ledger, "extend", Cut(own.ledger, when))
                if when == "twice":
                    worker.write_groups([[each]])
                else:
                    with pytest.raises(LedgerUnavailableError):
                        worker.write_groups([[each]])
        answers += told(worker.write_groups([[each]])[0])
    assert answers == wanted
    assert len(own.ledger.read("live_metrics")) == len(entries)


def test_a_series_whose_tables_could_not_be_read_is_read_again(
    world, champion, own: Home, log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two come back from the log at once, and the tables go while they do: neither stays as far as it came."""
    entries = [entry(world, hour, hour / 8, metric) for hour in (1, 2, 3) for metric in ("orders", "revenue")]
    wanted, first, again = expected(world, champion, own, entries), log(own), log(own)
    answers = [told(first.write_groups([[each]])[0])[0] for each in entries[:4]]
    again.open()
    plain, calls = Seeding.replayed, iter([False, True])

    def gone(self: Seeding, *arguments: Any) -> Any:
        if next(calls, False):
            raise StoreError("the table is gone")
        return plain(self, *arguments)

    for when in ([False, True], [True]):
        calls = iter(when)
        with monkeypatch.context() as patch:
            patch.setattr(Seeding, "replayed", gone)
            with pytest.raises(StoreError):
                [again.write_groups([some]) for some in (entries[4:5], entries[5:])]
    answers += told(again.write_groups([entries[4:]])[0])
    assert answers == wanted


def test_every_worker_sees_what_the_others_logged(world, champion, own: Home, log) -> None:
    entries = [entry(world, hour, hour / 8, metric) for hour in range(1, 13) for metric in ("orders", "revenue")]
    workers = [log(own) for _ in range(3)]
    answers = [told(workers[place % 3].write_groups([[each]])[0])[0] for place, each in enumerate(entries)]
    assert answers == expected(world, champion, own, entries)
    repeated = [log(own).write_groups([[each]])[0][0] for each in entries[:3]]
    assert told(repeated) == answers[:3]


@pytest.mark.parametrize("exports", [(), (3,), (3, 6), (8,)])
def test_a_restart_goes_on_from_tables_and_log(world, system, champion, own: Home, log, exports) -> None:
    """Corrections and repetitions included, which tables alone do not tell in full."""
    plan = [(1, 1.0), (2, 2.0), (2, 2.0), (1, 4.0), (3, 3.0), (3, 3.0), (2, 9.0), (2, 9.0), (4, 4.0), (1, 7.0)]
    entries = [entry(world, hour, value, key=str(place)) for place, (hour, value) in enumerate(plan)]
    wanted, answers = expected(world, champion, own, entries), []
    for place, each in enumerate(entries):
        answers += told(log(own).write_groups([[each]])[0])
        if place in exports:
            assert export(system, own)["differing"] == 0
    assert answers == wanted
    assert export(system, own)["differing"] == 0


def test_a_restart_reads_no_more_of_the_log_than_is_remembered(world, champion, own: Home, log, monkeypatch) -> None:
    length = int(champion.predictor.model.lookback // world.STEP)
    entries = [entry(world, hour, hour % 9 / 2) for hour in range(1, 3 * length + 500)]
    answers = told(log(own).write_groups([entries[:-1]])[0])
    pages = []
    real = own.ledger.events
    monkeypatch.setattr(own.ledger, "events", lambda *a, **o: pages.append(1) or real(*a, **o))
    answers += told(log(own).write_groups([entries[-1:]])[0])
    assert answers[-1] == expected(world, champion, own, entries)[-1]
    assert len(pages) * 200 < 2 * length + 600


def test_of_a_body_all_events_are_logged_or_none(world, champion, own: Home, log) -> None:
    worker = log(own)
    first, other = entry(world, 1), entry(world, 1, 6.0)
    late = entry(world, -30)
    bodies = [[first], [other, entry(world, 2)], [entry(world, 3), late], [entry(world, 4), entry(world, 4)]]
    one, conflict, refused, twice = worker.write_groups(bodies)
    assert isinstance(one[0], Entry)
    assert [type(each) for each in conflict] == [KeyConflictError, Entry]
    assert [type(each) for each in refused] == [Entry, LateEventError]
    assert twice[0] == twice[1]
    assert [e.key for _, e in own.ledger.read("live_metrics")] == ["orders 1", "orders 4"]
    found = own.ledger.get(one[0].id)
    assert found is not None
    assert found[1] == {name: getattr(champion.pins, name) for name in PINNED}


def test_a_new_champion_answers_from_the_same_state(world, system, champion, own: Home) -> None:
    from headrace.flow.run import RunRequest, run
    from headrace.lineage import Pins

    later = world.TRAINED + timedelta(minutes=1)
    again = system.model_copy(update={"model": system.model.model_copy(update={"seed": 3})})
    run(again, own, RunRequest(later, later, world.SOURCE, ("train",), retrain=True))
    model = own.registry.get("live_metrics", 2)
    newer = Pins(
        *(later, 0, str(model.pins["feature_version"]), 2, model.digest),
        *(system.config_digest, champion.pins.code_revision),
    )
    current = [champion.pins]
    worker = EventLog(system, own, lambda: current[0])
    entries = [entry(world, hour, hour / 8) for hour in range(1, 7)]
    answers = told([worker.write_groups([[e]])[0][0] for e in entries[:3]])
    current[0] = newer
    answers += told([worker.write_groups([[e]])[0][0] for e in entries[3:]])
    assert [a["model_version"] for a in answers] == [1, 1, 1, 2, 2, 2]
    restarted = EventLog(system, own, lambda: newer)
    following = entry(world, 7, 1.0)
    said = told(restarted.write_groups([[following]])[0])[0]
    assert said["expected"]["lower"] == answers[-1]["predictions"][0]["lower"]
    assert export(system, own)["differing"] == 0
