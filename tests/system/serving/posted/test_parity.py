"""The same events streamed, posted and in batch: the same numbers to the last bit, whoever answers, whatever ends."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.system.serving.stream.test_engine import METRICS, messages_of, steps_of
from tests.system.serving.stream.test_engine import events as moves

from headrace.errors import LateEventError
from headrace.home import RAW, Home
from headrace.ledger import Entry
from headrace.pipelines.predictions import replay
from headrace.serving.engine.seeding import Seeding
from headrace.serving.posted.log import EventLog
from headrace.settings import Settings
from headrace.system import System
from headrace.tasks.forecast.export import export
from headrace.tasks.forecast.inference import read_predictions

plans = st.lists(
    st.tuples(
        st.integers(1, 30),  # events of a transaction
        st.integers(1, 4),  # events of a body
        st.integers(0, 1),  # which worker answers
        st.sampled_from([None, None, None, None, "restart", "export"]),
    ),
    min_size=120,
    max_size=120,
)


def copied(home: Home, folder: str) -> Home:
    return Home(Settings(home=Path(shutil.copytree(home.path, Path(folder) / "home"))))


def entry(number: int, event: bytes) -> Entry:
    """An event on its way to the log, under a key of its own."""
    return Entry("live_metrics", f"idempotency:{number}", "", event.hex(), event, b"", "", 0, datetime.now(UTC))


class Posted:
    """Two workers over one ledger, and what they answered."""

    def __init__(self, system: System, home: Home, champion) -> None:
        self.system, self.home, self._champion = system, home, champion
        self._logs: dict[int, EventLog] = {}
        self.answers: dict[int, dict] = {}
        self.late: dict[int, str] = {}
        self.order: list[int] = []
        self.differing = 0

    def post(self, worker: int, groups: list[list[Entry]]) -> None:
        """One transaction of a worker; a body that is refused is sent again afterwards, event by event."""
        made = EventLog(self.system, self.home, lambda: self._champion.pins)
        log, again = self._logs.setdefault(worker, made), []
        for group, result in zip(groups, log.write_groups(groups), strict=True):
            numbers = [int(asked.key.removeprefix("idempotency:")) for asked in group]
            if not any(isinstance(each, LateEventError) for each in result):
                self.answers |= {n: json.loads(each.answer) for n, each in zip(numbers, result, strict=True)}
                self.order += numbers
            elif len(group) == 1:
                self.late[numbers[0]] = result[0].message
                self.order += numbers
            else:
                again += [[asked] for asked in group]
        if again:
            self.post(worker, again)

    def export(self) -> None:
        self.differing += export(self.system, self.home)["differing"]

    def restart(self, worker: int) -> None:
        self._logs.pop(worker, None)


def posted(system, home, champion, messages, plan) -> Posted:
    workers, at = Posted(system, home, champion), 0
    for size, body, worker, then in plan:
        part = [entry(m.offset, m.value) for m in messages[at : at + size]]
        at += size
        if part:
            workers.post(worker, [part[i : i + body] for i in range(0, len(part), body)])
        if then == "export":
            workers.export()
        if then == "restart":
            workers.restart(worker)
    return workers


def streamed(world, home, champion, messages) -> tuple[dict[int, dict], dict[int, str]]:
    engine = world.engine(champion, seed=Seeding("live_metrics", home, world.shape()))
    done = engine.answer(messages)
    assert not done.dead
    return {m.offset: json.loads(body) for m, body in done.outputs}, {m.offset: why for m, why in done.late}


def without(answer: dict, *names: str) -> dict:
    return {name: value for name, value in answer.items() if name not in names}


@given(moves, plans)
@settings(max_examples=10, deadline=None)
def test_posted_streamed_and_batch_say_the_same(world, system, home, champion, moves, plan):
    # What the tables know of a series beyond its first event is not seen by streams: begin after it.
    messages = list(messages_of(world, [*((metric, 1, 0, 9.5) for metric in METRICS), *moves]))
    with tempfile.TemporaryDirectory() as folder:
        first = (len(METRICS), 1, 0, None)  # each by itself: with an older event it would be refused, and sent after it
        done = posted(system, copied(home, folder), champion, messages, [first, *plan])
        answers, late = streamed(world, home, champion, [messages[n] for n in done.order])
        assert sorted(done.order) == list(range(len(messages)))
        assert done.late == late
        assert {n: without(a, "id", "key", "event_id") for n, a in done.answers.items()} == {
            n: without(a, "event_id") for n, a in answers.items()
        }
        assert all(a["id"] == a["prediction_id"] and a["key"] == a["metric"] for a in done.answers.values())
        done.export()
        assert done.differing == 0
        check_the_batch_door(done, champion)


def check_the_batch_door(done: Posted, champion) -> None:
    """The tables hold each answer, and say the same as of its time; so does a replay."""
    raw = done.home.table("live_metrics", RAW)
    told = [answer for answer in done.answers.values() if answer["predictions"]]
    if not told:
        return
    stored = read_predictions(done.system, done.home)
    for answer in told[-5:]:
        as_of = datetime.fromisoformat(answer["as_of"])
        views = champion.predictor.snapshots(raw, [as_of], raw.version())
        again = champion.predictor.predict(views).frame.filter(pl.col("metric") == answer["metric"])
        assert steps_of(answer) == again.select("time", "value", "lower", "upper").rows()
        rows = stored.filter(pl.col("as_of") == as_of, pl.col("metric") == answer["metric"])
        assert steps_of(answer) == rows.select("time", "value", "lower", "upper").rows()
        assert rows["id"][0] == answer["id"]
    assert replay(done.home, told[-1]["id"])["identical"]
    assert export(done.system, done.home)["exported"] == 0
