"""From a shadow to a champion: scored beside, compared when the truth is known, promoted on that evidence."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.servers import EVENTS, LIVE, SMALL, TITANIC, TRAINED, Server, event, passengers, ran, serving
from tests.system.serving.http.test_shadows import follower_of
from tests.waiting import until

from headrace.home import Home
from headrace.settings import Settings

ROWS = passengers(240, first=700_000)
SECOND = EVENTS + "?version=2"


def told(server: Server, name: str) -> dict[str, Any]:
    return server.get(f"/v1/systems/{name}").json()["shadows"][0]


def test_rows_from_a_shadow_to_the_champion(titanic_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(titanic_home, tmp_path / "home"))
    # What the truth is made from, so that one of the two knows it and the other does not.
    truth = [{**row, "Survived": int(row["Sex"] == "female")} for row in ROWS]
    ran("train", TITANIC, home, "--set", "model.calibrate=false")
    ran("promote", TITANIC, home, "1")
    with serving(home, "--shadow", "2") as server:
        answered = server.post(ROWS).json()["predictions"]
        until(lambda: told(server, "titanic")["scored"] == len(ROWS))
        early = headrace("compare", TITANIC, "1", "2", "--home", home, "--json", *SMALL[TITANIC])
        assert (early.code, early.json["pairs"], early.json["rows"], early.json["winner"]) == (0, len(ROWS), 0, None)
        lines = [json.dumps(row) for row in truth]
        (tmp_path / "truth.jsonl").write_text("\n".join(lines), encoding="utf-8")
        ran("ingest", TITANIC, home, "--source", f"file:{tmp_path}/truth.jsonl")
        assert ran("monitor", TITANIC, home).json["beside"][0]["rows"] == len(ROWS)
        beside = server.get("/v1/systems/titanic/metrics").json()["beside"]
        assert [(each["versions"], each["rows"]) for each in beside] == [([1, 2], len(ROWS))]
        replayed = ran("compare", TITANIC, home, "1", "2", "--replay", "--since", "2026-01-02T00:00:00Z").json
        done = ran("compare", TITANIC, home, "1", "2").json
        assert done["metrics"]["2"] == pytest.approx(replayed["metrics"]["2"], rel=0.2)  # more were predicted in batch
        ids = {each["id"] for each in answered}
        assert {each["id"] for each in done["answers"]["largest"]} <= ids
        assert "beside" in headrace("models", TITANIC, "--home", home, "--json").json["versions"][1]
        assert "Beside the champion" in Path(ran("report", TITANIC, home).json["report"]).read_text(encoding="utf-8")
        shadows = headrace("predictions", TITANIC, "--home", home, "--role", "shadow", "--json").json
        assert {each["shadow_of"] for each in shadows} == ids
        promoted = ran("promote", TITANIC, home, "2").json
        assert (promoted["evidence"]["rows"], promoted["evidence"]["versions"]) == (len(ROWS), [1, 2])
        assert promoted["versions"][1]["evidence"] == promoted["evidence"]
        assert promoted["evidence"]["line"] in promoted["versions"][1]["decision"]
        until(lambda: server.get("/v1/systems/titanic").json()["model_version"] == 2)
        assert server.get("/v1/systems/titanic/metrics").json()["beside"] == []


@pytest.fixture
def live(live_template_home: Path, tmp_path: Path) -> Path:
    """Of version 1, the champion, and version 2."""
    home = Path(shutil.copytree(live_template_home, tmp_path / "home"))
    ran("train", LIVE, home, "--as-of", TRAINED.isoformat(), "--set", "model.n_estimators=25")
    ran("promote", LIVE, home, "1")
    return home


def events(first: int, count: int) -> list[dict[str, Any]]:
    metrics = ("orders", "revenue")
    return [
        event(h, 5 + (7 * h) % 11 + i, metric) for h in range(first, first + count) for i, metric in enumerate(metrics)
    ]


@pytest.mark.long
def test_events_are_scored_beside_and_asked_of_a_version(live: Path) -> None:
    wanted = 0
    with serving(live, "--shadow", "2", systems=(LIVE,)) as server:
        first = server.post(events(1, 4), EVENTS).json()
        assert first["model_version"] == 1
        corrected = event(3, 50.0)
        assert server.post(corrected, EVENTS, Idempotency_Key="fix").status_code == 200
        os.kill(follower_of(server), signal.SIGKILL)
        asked = server.post(event(5, 8.0), SECOND)
        assert (asked.status_code, asked.json()["model_version"]) == (200, 2)
        assert server.post(event(5, 8.0), SECOND).content == asked.content
        assert server.post(event(5, 8.0), EVENTS).content == asked.content  # who asks for none has what stands
        taken = server.post(event(4, 5 + 28 % 11), SECOND)
        assert (taken.status_code, taken.json()["errors"][0]["msg"]) == (409, "version 1 has answered this key")
        assert server.post(event(6), EVENTS + "?version=7").status_code == 404
        server.post(events(6, 5), EVENTS)
        wanted = 8 + 1 + 10
        until(lambda: told(server, "live_metrics")["scored"] == wanted)
        assert told(server, "live_metrics") == {
            "model_version": 2,
            "scored": wanted,
            "failed": 0,
            "own": 1,
            "waiting": 0,
        }
    ran("export", LIVE, live)
    with serving(live, "--shadow", "live_metrics=2", systems=(LIVE,)) as server:
        server.post(events(11, 5), EVENTS)
        until(lambda: told(server, "live_metrics")["scored"] == wanted + 10)
    # Each is computed again on the way into the tables: as a batch run of version 2 would have said it then.
    done = ran("export", LIVE, live).json
    assert (done["differing"], done["shadows"]) == (0, 3 * 10)
    home = Home(Settings(home=live))
    stored = home.table("live_metrics", "shadows").scan().collect()
    assert (stored["id"].n_unique(), set(stored["model_version"])) == (3 * (wanted + 10), {2})
    shadow = said_of(live)[0]
    replayed = headrace("replay", stored["id"][0], "--home", live, "--json").json
    assert replayed["identical"]
    assert headrace("trace", shadow, "--home", live, "--json").json["role"] == "shadow"
    compared = ran("compare", LIVE, live, "1", "2").json
    assert compared["pairs"] == 3 * (wanted + 10)
    assert compared["rows"] > 40
    again = ran("compare", LIVE, live, "1", "2", "--replay").json
    assert (again["pairs"], again["answers"]["differ"]) == (3 * (wanted + 11), compared["answers"]["differ"] + 3)
    beside = ran("monitor", LIVE, live, "--as-of", "2020-03-04T00:00:00Z").json["beside"]
    assert [each["versions"] for each in beside] == [[1, 2]]
    listed = headrace("predictions", LIVE, "--home", live, "--role", "shadow", "--json", *SMALL[LIVE]).json
    assert len(listed) == stored.height
    assert ran("promote", LIVE, live, "2").json["evidence"]["rows"] == compared["rows"]


def said_of(home: Path) -> list[str]:
    return [shadow.id for shadow, _ in Home(Settings(home=home)).ledger.shadows.read("live_metrics", 2)]


def test_a_canary_of_events_is_refused(live: Path) -> None:
    done = headrace("serve", LIVE, "--home", live, "--port", "1", "--canary", "2=5%", *SMALL[LIVE])
    assert done.code == 2
    assert "--shadow VERSION" in done.err
