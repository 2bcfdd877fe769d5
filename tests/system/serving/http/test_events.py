"""Events posted to a system that forecasts: answered as on the stream, once, by any worker, or refused whole."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.commands import headrace
from tests.servers import EVENTS, LIVE, SMALL, SOURCE, Server, event, ran, serving

from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.engine.engine import Engine, Message
from headrace.serving.engine.seeding import Seeding
from headrace.serving.stream import champions
from headrace.settings import Settings
from headrace.tasks import task_of


@pytest.fixture(scope="module")
def live(live_template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests share: each takes hours of its own."""
    home = Path(shutil.copytree(live_template_home, tmp_path_factory.mktemp("live") / "home"))
    with serving(home, systems=(LIVE,)) as server:
        yield server


def streamed(home: Path, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the stream says to the same events."""
    system = load_system(LIVE, [each for each in SMALL[LIVE] if each != "--set"])
    of, shape = Home(Settings(home=home)), system.event_shape()
    champion = champions.champion(system, of, datetime.now(UTC))
    engine = Engine(system.name, shape, champion, "t", seed=Seeding(system.name, of, shape))
    done = engine.answer([Message(0, i, b"k", json.dumps(e).encode(), 2**53) for i, e in enumerate(events)])
    assert not done.dead
    assert not done.late
    return [json.loads(body) for _, body in sorted(done.outputs, key=lambda each: each[0].offset)]


def test_one_event_is_answered_by_one_object_and_an_array_by_an_array(live_home: Path) -> None:
    events = [event(1, 7.5), event(2, 8.5), event(2, 3.25, "revenue"), event(1, 9.0)]
    expected = streamed(live_home, events)
    with serving(live_home, systems=(LIVE,)) as server:
        first = server.post(events[0], EVENTS).json()
        many = server.post(events[1:3], EVENTS).json()
        corrected = server.post(events[3], EVENTS, Idempotency_Key="fix").json()
    assert (many["model_version"], len(many["predictions"])) == (1, 2)
    told = [first, *many["predictions"], corrected]
    for said, same, wanted in zip(told, expected, events, strict=True):
        assert (said["id"], said["key"], said["metric"]) == (same["prediction_id"], wanted["metric"], wanted["metric"])
        assert {n: v for n, v in said.items() if n not in ("id", "key", "event_id")} == {
            n: v for n, v in same.items() if n != "event_id"
        }
    assert first["event_id"] == '["orders","2020-03-02T01:00:00Z"]'
    assert corrected["event_id"] == "fix"
    assert len(first["predictions"]) == 3


def test_the_same_event_again_is_answered_as_before(live: Server) -> None:
    first = live.post(event(10), EVENTS)
    reordered = b'{"value": 5, "time": "2020-03-02T11:00:00+01:00", "metric": "orders", "host": "a"}'
    assert live.post(reordered, EVENTS).content == first.content
    many = live.post([event(10), event(10), event(11)], EVENTS).json()["predictions"]
    assert many[0] == many[1] == first.json()
    other = live.post(event(10, 6.0), EVENTS)
    assert (other.status_code, other.json()["errors"][0]["loc"]) == (409, ["body"])
    assert "Idempotency-Key" in other.json()["detail"]


def test_a_correction_has_a_key_of_its_own(live: Server) -> None:
    live.post([event(20), event(21)], EVENTS)
    fixed = live.post(event(20, 6.5), EVENTS, Idempotency_Key="fix-20")
    said = fixed.json()
    assert (said["origin"], said["event_time"]) == ("2020-03-02T21:00:00Z", "2020-03-02T20:00:00Z")
    assert said["as_of"] == "2020-03-02T21:00:00.001000Z"
    assert live.post(event(20, 6.5), EVENTS, Idempotency_Key="fix-20").content == fixed.content
    assert live.post(event(20, 7.5), EVENTS, Idempotency_Key="fix-20").status_code == 409
    assert live.post(event(21), EVENTS, Idempotency_Key="fix-21").json()["id"] != said["id"]
    assert (
        live.post([event(22), event(23)], EVENTS, Idempotency_Key="both").json()["predictions"][1]["event_id"]
        == "both 1"
    )


VALUE, TIME, METRIC = ["body", "value"], ["body", "time"], ["body", "metric"]
BODIES: list[tuple[str, Any, int, list[Any]]] = [
    ("not JSON", b'{"metric": ', 400, []),
    ("null", b"null", 422, ["body"]),
    ("a number", b"5", 422, ["body"]),
    ("an array with null", b"[null]", 422, ["body", 0]),
    ("an array in an array", b"[[1]]", 422, ["body", 0]),
    ("an empty object", {}, 422, METRIC),
    ("nothing but a time", {"time": "yesterday"}, 422, METRIC),
    ("no time", {"metric": "orders", "value": 1}, 422, TIME),
    ("null for a value", event(30) | {"value": None}, 422, VALUE),
    ("text for a value", event(30) | {"value": "5"}, 422, VALUE),
    ("truth for a value", event(30) | {"value": True}, 422, VALUE),
    ("array for a value", event(30) | {"value": [1]}, 422, VALUE),
    ("NaN", b'{"metric": "orders", "time": "2020-03-03T06:00:00Z", "value": NaN}', 422, VALUE),
    ("1e999", b'{"metric": "orders", "time": "2020-03-03T06:00:00Z", "value": 1e999}', 422, VALUE),
    ("a name twice", b'{"metric": "orders", "metric": "revenue", "value": 1}', 400, METRIC),
    ("half a surrogate pair", b'{"metric": "\\ud800", "time": "2020-03-03T06:00:00Z", "value": 1}', 422, METRIC),
    ("a blank key", event(30, metric=" "), 422, METRIC),
    ("number for a key", event(30) | {"metric": 5}, 422, METRIC),
    ("an unknown series", event(30, metric="nobody"), 422, METRIC),
    ("no time at all", event(30) | {"time": "yesterday"}, 422, TIME),
    ("a number for a time", event(30) | {"time": 5}, 422, TIME),
    ("30 February", event(30) | {"time": "2020-02-30T00:00:00Z"}, 422, TIME),
    ("the year 1", event(30) | {"time": "0001-01-01T00:00:00Z"}, 422, TIME),
    ("the year 9999", event(30) | {"time": "9999-12-31T23:59:59Z"}, 409, TIME),
    ("the future", event(30) | {"time": "2100-01-01T00:00:00Z"}, 409, TIME),
    ("too large an event", event(30) | {"pad": "x" * 70_000}, 422, ["body"]),
    ("the second of two", [event(30), event(31) | {"value": None}], 422, ["body", 1, "value"]),
    ("a late one among others", [event(30), event(-300)], 409, ["body", 1, "time"]),
    ("one key, two values", [event(30), event(30, 6.0)], 409, ["body", 1]),
]


@pytest.mark.parametrize(("body", "status", "at"), [each[1:] for each in BODIES], ids=[each[0] for each in BODIES])
def test_a_bad_event_refuses_its_body(live: Server, body: Any, status: int, at: list[Any]) -> None:
    live.post(event(25), EVENTS)
    before = stored(live)
    answer = live.post(body, EVENTS)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert [each["loc"] for each in answer.json().get("errors", [])][:1] == ([at] if at else [])
    assert stored(live) == before
    assert [line for line in live.lines() if line["log.level"] == "error"] == []


def test_every_fault_of_an_event_is_told(live: Server) -> None:
    for time, said in (({}, "is missing"), ({"time": "yesterday"}, "'yesterday' is not a time")):
        faults = {each["loc"][1]: each["msg"] for each in live.post({"value": "x"} | time, EVENTS).json()["errors"]}
        assert (sorted(faults), faults["time"]) == (["metric", "time", "value"], said)


def stored(server: Server) -> int:
    """Events in the server's ledger."""
    with sqlite3.connect(server.log.parent / "ledger.db") as ledger:
        return int(ledger.execute("select count(*) from events").fetchone()[0])


def test_an_array_of_nothing_is_answered_with_nothing(live: Server) -> None:
    assert live.post([], EVENTS).json() == {"predictions": [], "model_version": 1}


def test_large_values_leave_no_hole_in_the_json(live: Server) -> None:
    said = live.post([event(h, 1.7e308, "revenue") for h in range(1, 40)], EVENTS)
    assert said.status_code == 200
    json.loads(said.content, parse_constant=pytest.fail)


def test_workers_answer_one_series_as_one(live_home: Path) -> None:
    """Clients post events of the same series through two workers at once: what is logged is what one stream says."""
    metrics = ("orders", "revenue")
    with serving(live_home, "--workers", "2", systems=(LIVE,)) as server:

        def post(client: int) -> list[int]:
            with server.client() as http:
                bodies = [event(h, client + h / 8, metrics[h % 2]) for h in range(1, 30)]
                return [
                    http.post(EVENTS, json=body, headers={"idempotency-key": f"{client}-{i}"}).status_code
                    for i, body in enumerate(bodies)
                ]

        with ThreadPoolExecutor(6) as pool:
            statuses = [status for each in pool.map(post, range(6)) for status in each]
    assert set(statuses) <= {200, 409}, "events are answered, or too late"
    assert statuses.count(200) > 60
    entries = Home(Settings(home=live_home)).ledger.read("live_metrics")
    assert len(entries) == statuses.count(200)
    expected = streamed(live_home, [json.loads(entry.inputs) for _, entry in entries])
    for (_, entry), same in zip(entries, expected, strict=True):
        said = json.loads(entry.answer)
        assert {n: said[n] for n in same if n != "event_id"} == {n: v for n, v in same.items() if n != "event_id"}


def test_what_was_posted_is_exported_once_watched_and_replayed(live_home: Path) -> None:
    with serving(live_home, systems=(LIVE,)) as server:
        told = [server.post(event(h, 5.0 + h % 7), EVENTS).json() for h in range(1, 13)]
        fixed = server.post(event(12, 9.0), EVENTS, Idempotency_Key="fix").json()
        early = headrace("replay", told[3]["id"], "--home", live_home, "--json")
        assert "headrace export" in early.json["hint"]
        assert server.get(f"/v1/predictions/{fixed['id']}").json()["prediction"]["value"] == fixed["value"]
        done = ran("export", LIVE, live_home).json
        assert (done["exported"], done["events"], done["predictions"], done["differing"]) == (13, 13, 39, 0)
        assert ran("export", LIVE, live_home).json["exported"] == 0
        (live_home / "store" / "live_metrics" / "posted.json").unlink()
        assert ran("export", LIVE, live_home).json | {"exported": 0} == done | dict.fromkeys(
            ("exported", "events", "predictions"), 0
        )
        other = server.post(event(13), EVENTS).json()
        again = headrace("replay", other["id"], "--home", live_home, "--json", *SMALL[LIVE])
        assert again.json["identical"]  # its configuration is at hand, so it was exported
        after = server.post(event(14), EVENTS).json()
    for each in (told[3], fixed):
        again = headrace("replay", each["id"], "--home", live_home, "--json").json
        assert (again["identical"], again["stored"]) == (True, each["value"])
    as_of = "2020-03-02T14:00:00Z"
    assert ran("monitor", LIVE, live_home, "--as-of", as_of).json["matured"] > 0
    done = ran("run", LIVE, live_home, "--source", SOURCE[LIVE] + "&seed=9", "--as-of", as_of).json
    assert done["exported"] == {"exported": 1, "events": 1, "predictions": 3, "differing": 0}
    assert headrace("replay", after["id"], "--home", live_home, "--json").json["identical"]


def test_a_server_that_logs_nothing_answers_no_events(live_home: Path) -> None:
    with serving(live_home, "--unlogged", systems=(LIVE,)) as server:
        answer = server.post(event(1), EVENTS)
        assert (answer.status_code, "logs nothing" in answer.json()["detail"]) == (404, True)
        assert EVENTS not in server.get("/openapi.json").json()["paths"]


def test_the_document_names_the_series_and_what_they_are_answered_with(live: Server) -> None:
    document = live.get("/openapi.json").json()
    operation, parts = document["paths"][EVENTS]["post"], document["components"]["schemas"]

    def named(schema: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = parts[schema["$ref"].rpartition("/")[2]]
        return found

    row = named(operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0])
    assert "orders" in row["properties"]["metric"]["enum"]
    assert sorted(row["required"]) == ["metric", "time", "value"]
    answer = named(operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"][0])
    assert set(live.post(event(24), EVENTS).json()) == set(answer["required"])


def test_a_baseline_that_took_over_answers_events_too(live_home: Path) -> None:
    system = load_system(LIVE, [each for each in SMALL[LIVE] if each != "--set"])
    home = Home(Settings(home=live_home, threads=1))
    trained = home.registry.champion(system.name)
    assert trained is not None
    now = {"as_of": trained.as_of + timedelta(seconds=1), "now": datetime.now(UTC)}
    version = task_of(system).fall_back(home, data_version=home.raw(system).version(), because="it is tried", **now)
    if not version.promoted:
        home.registry.promote(system.name, 2, created_at=now["now"], as_of=now["as_of"], by="ann")
    expected = streamed(live_home, [event(1, 7.5)])
    with serving(live_home, systems=(LIVE,)) as server:
        said = server.post(event(1, 7.5), EVENTS).json()
    assert (said["model_version"], said["served"], said["model_share"]) == (2, "baseline", 0.0)
    assert said["predictions"] == expected[0]["predictions"]
    # Of naive forecasts alone: of the value that was posted, and of those a season before.
    facts = home.raw(system)
    known = facts.collect(facts.scan().filter(pl.col("metric") == "orders")).sort("time", "known_at")
    past = dict(known.select("time", "value").iter_rows())
    for step in said["predictions"]:
        time = datetime.fromisoformat(step["time"])
        naive = [7.5, *(past[time - season] for season in system.monitoring.baselines)]
        assert min(naive) <= step["value"] <= max(naive)
