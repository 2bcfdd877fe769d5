"""Many events of one step, streamed, posted and in batch: the same values of steps, and the same numbers from them."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import rounds
from tests.system.serving.posted.test_parity import Posted, entry, streamed, without
from tests.system.serving.stream.test_engine import METRICS, answered, steps_of
from tests.worlds import stream as worlds

from headrace import Column, Contract, System
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.lineage import iso
from headrace.loading import load_system
from headrace.pipelines.predictions import replay
from headrace.serving.engine.engine import Engine
from headrace.serving.engine.seeding import Seeding
from headrace.serving.stream import champions
from headrace.settings import Settings
from headrace.tasks.forecast.export import export
from headrace.tasks.intake import Intake

FOLDER = worlds.ROOT / "systems" / "live_metrics"
KINDS = [("sum", "zero"), ("mean", "missing"), ("last", "missing"), ("min", "zero"), ("sum", "zero", "Europe/London")]
DAILY = [
    *("horizon=3d", "model.seasons=[7d]", "monitoring.baselines=[7d]", "step=1d", "stream.allowed_lateness=30h"),
    *("model.n_estimators=5", "model.max_rows=2000"),
]


def system_of(kind: str, empty: str, zone: str = "UTC") -> System:
    base = worlds.system() if zone == "UTC" else load_system(str(FOLDER), DAILY)
    columns = (
        Column("metric", "category"),
        Column("time", "time", zone=zone),
        Column("value", "float", aggregate=kind, empty=empty),
    )
    fields = {name: getattr(base, name) for name in type(base).model_fields}
    return System(**fields | {"contract": Contract(columns=columns)}).at(base.folder)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def world(request, tmp_path_factory):
    """A system, its home with a model, the model, and how to make an engine."""
    system = system_of(*request.param)
    home = Home(Settings(home=tmp_path_factory.mktemp("events")))
    source = worlds.SOURCE if len(request.param) == 2 else "simulated:?series=8&days=90&step=5h"
    run(system, home, RunRequest(worlds.TRAINED, worlds.TRAINED, source, ("ingest", "validate", "train")))
    champion = champions.champion(system, home, worlds.TRAINED + timedelta(days=9000))
    return system, home, champion


class Doors:
    """What `streamed` asks of the module of helpers, for a system whose steps have many events."""

    def __init__(self, system: System, home: Home) -> None:
        self._system, self._grid = system, home.grid(system)

    def shape(self):
        return self._system.event_shape(self._grid)

    def engine(self, champion, seed=None):
        seed = seed or worlds.nothing
        return Engine("live_metrics", self.shape(), champion, "live_metrics.events", seed=seed)


move = st.tuples(
    st.sampled_from(METRICS),
    # seconds from the newest event of the series
    st.sampled_from(
        [0, 1, 60, 600, 600, 1200, 1800, 3600, 3600, 7200, 30 * 3600, 19 * 86_400, -1, -600, -3600, -9000, -30_000]
    ),
    st.sampled_from([1.5, 0.1, 0.2, 0.7, -3.25, 7e9]),
)
moves = st.lists(move, min_size=1, max_size=120)
sizes = st.lists(st.integers(1, 40), min_size=120, max_size=120)
plans = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 1), st.sampled_from([None, None, "restart", "export"])),
    min_size=120,
    max_size=120,
)


def messages_of(moves):
    at = dict.fromkeys(METRICS, worlds.TRAINED + worlds.STEP)
    for offset, (metric, seconds, value) in enumerate(moves):
        time = at[metric] + timedelta(seconds=seconds)
        at[metric] = max(at[metric], time)
        yield worlds.message(offset, metric, time, value)


def events_of(messages, answers):
    """The answered events as rows of the table, known when their answers say so."""
    known = {int(a["event_id"].rsplit("-", 1)[1]): datetime.fromisoformat(a["as_of"]) for a in answers}
    rows = [
        (each["metric"], datetime.fromisoformat(each["time"]), each["value"], known[m.offset])
        for m in messages
        if m.offset in known
        for each in (json.loads(m.value),)
    ]
    utc = pl.Datetime("us", "UTC")
    schema = {"metric": pl.String, "time": utc, "value": pl.Float64, "known_at": utc}
    return pl.DataFrame(rows, schema=schema, orient="row")


def same_in_batch(champion, table, answers):
    for answer in answers:
        as_of = datetime.fromisoformat(answer["as_of"])
        views = champion.predictor.snapshots(table, [as_of], table.version())
        frame = champion.predictor.predict(views).frame.filter(pl.col("metric") == answer["metric"])
        assert iso(views.origin(0)) == answer["origin"]
        assert steps_of(answer) == frame.select("time", "value", "lower", "upper").rows()


@given(moves, sizes, sizes)
@settings(max_examples=rounds(4, 40), deadline=None)
def test_every_answer_is_the_batch_doors(world, moves, one, other):
    system, home, champion = world
    messages, doors = list(messages_of(moves)), Doors(system, home)
    # All series begin with an event, so that each answer's origin is that of all.
    answers, late = answered(doors.engine(champion), messages, one)
    again, late_again = answered(doors.engine(champion), messages, other)
    by_event = sorted(answers, key=lambda a: int(a["event_id"].rsplit("-", 1)[1]))
    assert by_event == sorted(again, key=lambda a: int(a["event_id"].rsplit("-", 1)[1]))
    assert (late, len(answers) + late) == (late_again, len(moves))
    table = home.table("live_metrics", f"events{uuid.uuid4().hex[:12]}")
    events = events_of(messages, answers)
    if events.height:
        identity = ["metric", "time", "value", "known_at"]
        table.append(events, identity=identity, compare=[], window="time")
        told = [answer for answer in answers if answer["predictions"]]
        same_in_batch(champion, table, told[-15:])


@given(moves, plans)
@settings(max_examples=rounds(3, 30), deadline=None)
def test_posted_and_streamed_say_the_same_and_are_found_in_the_tables(world, moves, plan):
    system, home, champion = world
    messages, doors = list(messages_of([*((metric, 3600, 9.5) for metric in METRICS), *moves])), Doors(system, home)
    with tempfile.TemporaryDirectory() as folder:
        mine = Home(Settings(home=Path(shutil.copytree(home.path, Path(folder) / "home"))))
        done, at = Posted(system, mine, champion), 0
        for size, worker, then in plan:
            part = messages[at : at + size]
            at += size
            if part:
                done.post(worker, [[entry(m.offset, m.value)] for m in part])
            if then == "export":
                done.export()
            if then == "restart":
                done.restart(worker)
        answers, late = streamed(doors, home, champion, [messages[n] for n in done.order])
        assert done.late == late
        assert {n: without(a, "id", "key", "event_id") for n, a in done.answers.items()} == {
            n: without(a, "event_id") for n, a in answers.items()
        }
        done.export()
        assert done.differing == 0
        told = [answer for answer in done.answers.values() if answer["predictions"]]
        same_in_batch(champion, mine.raw(system), told[-5:])
        for answer in told[-2:]:
            assert replay(mine, answer["id"])["identical"]
        assert export(system, mine)["exported"] == 0


def test_a_series_goes_on_within_a_step_that_the_tables_know(world):
    system, home, champion = world
    with tempfile.TemporaryDirectory() as folder:
        mine = Home(Settings(home=Path(shutil.copytree(home.path, Path(folder) / "home"))))
        start = worlds.TRAINED + 5 * worlds.STEP
        times = [start + timedelta(minutes=minute) for minute in (0, 10, 20)]
        rows = pl.DataFrame({"metric": "orders", "time": times, "value": [0.1, 0.7, 0.2], "known_at": times})
        Intake(system, mine, as_of=start + worlds.STEP, own=False).add(rows)
        doors = Doors(system, home)
        engine = doors.engine(champion, seed=Seeding("live_metrics", mine, doors.shape()))
        late = [
            worlds.message(i, "orders", start + timedelta(minutes=minute), value)
            for i, (minute, value) in enumerate([(30, 0.4), (45, 3.5), (70, 0.3), (185, 9.0)])
        ]
        answers = [json.loads(body) for _, body in engine.answer(late).outputs]
        Intake(system, mine, as_of=start, own=True).add(events_of(late, answers))
        same_in_batch(champion, mine.raw(system), answers)
