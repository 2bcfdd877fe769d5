"""A lone series has no key column: every command, the HTTP door, posted events and the stream take it as it is."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.servers import serving
from tests.worlds import stream as worlds

from headrace import Classifier, Column, Contract, System
from headrace.errors import DeclarationError
from headrace.features import col
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.engine.engine import Engine, Message
from headrace.serving.stream.champions import champion
from headrace.serving.stream.produce import message_of
from headrace.settings import Settings
from headrace.sources.events import EVER

SYSTEM = """
from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features

system = System(
    name="lone",
    source=Source(columns={"time": "Datetime", "load": "PJME_MW"}),
    contract=Contract(columns=(Column("time", "time", zone="UTC"), Column("load", "float")), max_invalid_fraction=0.05),
    time="time",
    step="1h",
    target="load",
    features=seasonal_features("load", step="1h", seasons=("24h",)),
    model=Forecaster(seasons=("24h",), n_estimators=5, num_leaves=5, min_child_samples=20),
    horizon="6h",
    schedule=Schedule(predict="1h", train="never"),
    monitoring=Monitoring(baselines=("24h",)),
)
"""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = FIRST + timedelta(days=30)
HOUR = timedelta(hours=1)


def load(hour: int) -> float:
    return round(30_000 + 5_000 * math.sin(hour / 24 * 2 * math.pi) + hour * 7_919 % 500, 3)


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the system, its file, and a home after one run as of `AS_OF`."""
    folder = tmp_path_factory.mktemp("lone")
    (folder / "lone").mkdir()
    (folder / "lone" / "system.py").write_text(SYSTEM)
    lines = [f"{FIRST + HOUR * hour:%Y-%m-%d %H:%M:%S},{load(hour)}" for hour in range(24 * 32)]
    (folder / "load.csv").write_text("\n".join(["Datetime,PJME_MW", *lines]) + "\n")
    done = command("run", folder, "--source", f"file:{folder}/load.csv", "--as-of", at(AS_OF))
    assert (done["predictions"], done["trained"]) == (6, True)
    return folder


def command(name: str, folder: Path, *more: object, home: str = "home", system: bool = True) -> Any:
    of = (folder / "lone",) if system else ()
    done = headrace(name, *of, "--home", folder / home, "--json", *more)
    assert done.code == 0, done.err
    return done.json


def test_a_system_of_rows_needs_a_key() -> None:
    contract = Contract(columns=(Column("x", "float"), Column("y", "integer", values=(0, 1), nullable=True)))
    with pytest.raises(DeclarationError, match="needs a key column"):
        System(name="rows", contract=contract, target="y", features={"x": col("x")}, model=Classifier())


def test_from_a_run_to_a_replay(place: Path) -> None:
    stored = command("predictions", place, "--where", f"time={at(AS_OF + HOUR)}")
    assert [row["as_of"] for row in stored] == [at(AS_OF)]
    assert set(stored[0]) >= {"id", "time", "value", "lower", "upper"}
    name = stored[0]["id"]
    assert command("trace", place, name, system=False)["prediction"]["ahead"] == 1
    assert command("replay", place, name, system=False)["identical"] is True
    again = command("predict", place, "--as-of", at(AS_OF))
    assert (again["predictions"], again["stored"]) == (6, 0)


def test_a_backfill_equals_live_runs_and_is_watched(place: Path) -> None:
    source, last = f"file:{place}/load.csv", AS_OF + 8 * HOUR
    stretch = ("--start", at(AS_OF), "--end", at(last), "--every", "1h")
    done = command("backfill", place, "--source", source, *stretch, "--workers", 2, home="filled")
    assert (done["runs"], done["predictions"], done["failed"]) == (9, 54, [])
    for hour in range(1, 9):
        command("run", place, "--source", source, "--as-of", at(AS_OF + hour * HOUR))
    listed = command("runs", place, "--limit", 100, home="filled")["runs"]
    assert [run["as_of"] for run in listed] == [at(last - hour * HOUR) for hour in range(9)]
    assert all(run["created_at"] < run["ended_at"] for run in listed)
    shown = ("time", "as_of", "value", "lower", "upper", "ahead")
    live, filled = (command("predictions", place, home=home) for home in ("home", "filled"))
    assert [[row[n] for n in shown] for row in live] == [[row[n] for n in shown] for row in filled]
    watched = [command("monitor", place, "--as-of", at(last), home=home) for home in ("home", "filled")]
    assert watched[0]["metrics"] == watched[1]["metrics"]
    assert (watched[0]["completeness"]["series"], watched[0]["metrics"]["wape"] < 0.1) == (1, True)
    report = command("report", place)
    page = Path(report["report"]).read_text()
    assert "The series" in page
    assert "<svg" in page


def test_without_a_source_what_is_stored_is_taken(place: Path) -> None:
    done = command("run", place, "--as-of", at(AS_OF))
    assert (done["from_store"], done["ingested"], done["predictions"]) == (True, 0, 6)
    stretch = ("--start", at(AS_OF), "--end", at(AS_OF + HOUR), "--every", "1h")
    done = command("backfill", place, *stretch, "--workers", 1)
    assert (done["from_store"], done["runs"], done["failed"]) == (True, 2, [])
    told = headrace("run", place / "lone", "--home", place / "home", "--as-of", at(AS_OF)).out
    assert "what is stored was taken" in told
    for name, home in (("ingest", "home"), ("run", "none")):
        refused = headrace(name, place / "lone", "--home", place / home)
        assert (refused.code, "--source file:PATH" in refused.err) == (2, True)


def test_evaluate(place: Path) -> None:
    stretch = ("--start", at(AS_OF - 48 * HOUR), "--end", at(AS_OF - 24 * HOUR), "--every", "12h")
    found = command("evaluate", place, *stretch)
    assert (found["origins"], found["rows"], found["matured"]) == (3, 18, 18)
    assert headrace("evaluate", place / "lone", "--home", place / "home", *stretch).code == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_http_door(place: Path, workers: int) -> None:
    with serving(place / "home", "--workers", str(workers), systems=(str(place / "lone"),)) as server:
        base = "/v1/systems/lone"
        assert server.get(f"{base}/series").json() == {"series": [{}]}
        assert len(server.get(f"{base}/observations?hours=100").json()["observations"]) > 50
        told = server.get(f"{base}/predictions?as_of={at(AS_OF)}").json()
        assert [each["time"] for each in told["predictions"]] == [at(AS_OF + n * HOUR) for n in range(1, 7)]
        assert server.get(f"{base}/predictions?lone=1").status_code == 422
        assert server.get(f"{base}/metrics").status_code == 200
        assert server.get("/openapi.json").status_code == 200
        first = AS_OF + (20 + workers) * HOUR
        event = {"time": at(first), "load": 31_000.0}
        one = server.post(event, path=f"{base}/predict").json()
        assert (one["key"], len(one["predictions"])) == ([], 6)
        assert server.post(event, path=f"{base}/predict").json() == one
        assert server.post(event | {"load": 1.0}, path=f"{base}/predict").status_code == 409
    done = command("export", place)
    assert (done["events"], done["differing"]) == (1, 0)
    assert command("replay", place, one["prediction_id"], system=False)["identical"] is True


def test_the_stream_takes_events_without_a_key(place: Path) -> None:
    system, home = load_system(str(place / "lone")), Home(Settings(home=place / "home"))
    who = champion(system, home, datetime.now(UTC))

    def engine() -> Engine:
        return Engine("lone", system.event_shape(), who, "lone.events", seed=worlds.nothing)

    messages = []
    for hour in range(24 * 6):
        key, body = message_of(system, {"time": FIRST + HOUR * hour, "load": load(hour)})
        assert key is None
        messages.append(Message(0, hour, key, body, EVER))
    whole, log = engine(), {}
    done = whole.answer(messages, keyless=True)
    log |= {key: value for _, key, value in done.changes}
    assert (len(done.answers), done.dead) == (len(messages), [])
    told = [json.loads(answer) for answer in done.answers]
    assert len(told[-1]["predictions"]) == 6
    assert not {"key", "lone"} & set(told[-1])
    # What the changelog holds is enough to go on.
    more = Message(0, 999, None, message_of(system, {"time": FIRST + HOUR * 24 * 6, "load": load(24 * 6)})[1], EVER)
    restored = engine()
    assert restored.changelog.restore(restored.rings, 0, restored.changelog.checked(log)[0]) == 1
    assert restored.answer([more], keyless=True).answers == whole.answer([more], keyless=True).answers


def test_pjm_as_it_is_published(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Two columns, rows out of order, hours missing and twice where clocks change."""
    with gzip.open(shared_data("pjme_hourly/PJME_hourly.csv.gz"), "rt") as file:
        header, *lines = file.read().splitlines()
    year = [line for line in lines if "2015-10-15" <= line[:10] <= "2015-12-01"]
    (tmp_path / "pjm.csv").write_text("\n".join([header, *year]) + "\n")
    (tmp_path / "lone").mkdir()
    text = SYSTEM.replace('zone="UTC"', 'zone="America/New_York", ambiguous="earliest"')
    (tmp_path / "lone" / "system.py").write_text(text)
    done = command("run", tmp_path, "--source", f"file:{tmp_path}/pjm.csv", "--as-of", "2015-11-30T00:00:00Z")
    assert done["predictions"] == 6
    found = command(
        "evaluate", tmp_path, "--start", "2015-11-28T00:00:00Z", "--end", "2015-11-29T00:00:00Z", "--every", "6h"
    )
    assert found["matured"] == 30
    assert found["metrics"]["wape"] < 0.1
