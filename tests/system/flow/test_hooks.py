"""What a run and a backfill tell hooks, when, and that a hook fails nothing."""

import json
from datetime import timedelta

import pytest
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace.errors import ContractBroken, HookError
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.hooks import HookEvent, PredictedEvent


class Ear:
    """Hears everything."""

    def __init__(self):
        self.heard = []

    def __call__(self, event: HookEvent):
        self.heard.append(event)

    @property
    def names(self):
        return [type(event).__name__.removesuffix("Event").lower() for event in self.heard]


@pytest.fixture
def home(place):
    home = place("hooked")
    world(1).write_parquet(home.path / "facts.parquet")
    return home


def hooked(*hooks, **more):
    return system_of(**more).model_copy(update={"hooks": hooks})


def test_a_run_tells_what_is_durable_and_again_when_it_is_repeated(home):
    ear = Ear()
    request = RunRequest(last(20), NOW, f"file:{home.path}/facts.parquet")
    done = run(hooked(ear), home, request)
    assert ear.names == ["validated", "ingested", "trained", "promoted", "predicted", "scored"]
    validated, ingested, trained, promoted, predicted, _ = ear.heard
    assert (validated.rows, ingested.added) == (done.rows["read"], done.rows["ingested"])
    number = done.trained.version.version
    assert (trained.version, promoted.version, promoted.before) == (number, number, None)
    assert (predicted.predictions, predicted.stored) == (done.frame.height, done.stored)
    assert all(event.as_of == last(20) and event.system == "world" for event in ear.heard)
    ear.heard.clear()
    run(hooked(ear), home, request)
    assert ear.names == ["validated", "ingested", "predicted", "scored"]
    assert (ear.heard[1].added, ear.heard[2].stored) == (0, 0)


def test_a_version_that_a_killed_process_left_is_told_by_the_next_run(home):
    ear = Ear()
    request = RunRequest(last(20), NOW, f"file:{home.path}/facts.parquet", steps=("ingest", "validate", "train"))
    run(hooked(Ear()), home, request)
    mark = home.path / "hooks" / "world.json"
    mark.write_text(json.dumps({"told": -1}))  # as far as it was when the process died
    run(hooked(ear), home, RunRequest(last(20), NOW, steps=("monitor",)))
    assert ear.names[:2] == ["trained", "promoted"]


def test_broken_data_is_told_before_the_run_fails(home):
    ear = Ear()
    (home.path / "bad.csv").write_text("place,time,load,warmth\n" + "a,no time,1,1\n" * 3)
    with pytest.raises(ContractBroken):
        run(hooked(ear), home, RunRequest(last(20), NOW, f"file:{home.path}/bad.csv"))
    (event,) = ear.heard
    assert (event.rows, event.bad, event.broken) == (3, 3, True)


def test_a_hook_that_fails_is_counted_and_loses_nothing(home):
    def broken(event: PredictedEvent):
        raise RuntimeError("mail server is away")

    request = RunRequest(last(20), NOW, f"file:{home.path}/facts.parquet")
    done = run(hooked(broken), home, request)
    assert done.as_dict()["failed_hooks"] == 1
    assert done.warnings[-1].endswith("broken failed on PredictedEvent: RuntimeError: mail server is away")
    assert done.stored == done.frame.height > 0
    strict = Home(home.settings.model_copy(update={"hooks": "raise"}))
    with pytest.raises(HookError, match="mail server is away"):
        run(hooked(broken), strict, request)


def test_a_backfill_tells_its_runs_in_the_order_of_their_times(home):
    ear = Ear()
    system = hooked(ear, train="8h")
    stretch = DateRange(last(12), last(2), HOUR)
    request = BackfillRequest(stretch, NOW, f"file:{home.path}/facts.parquet")
    backfill(system, home, request)
    times = [event.as_of for event in ear.heard[2:-1]]
    assert times == sorted(times)
    runs = [event for event in ear.heard if isinstance(event, PredictedEvent)]
    assert [event.as_of for event in runs] == [last(12) + timedelta(hours=i) for i in range(11)]
    assert ear.names[:5] == ["validated", "ingested", "trained", "promoted", "predicted"]
    assert ear.names.count("trained") == 2
    ear.heard.clear()
    backfill(system, home, request)
    assert [event.stored for event in ear.heard if isinstance(event, PredictedEvent)] == [0] * 11
