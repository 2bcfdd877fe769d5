"""Versions that score beside: all that was answered, once, whatever is killed, and never as a prediction."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.servers import PREDICT, TITANIC, Server, passengers, ran, serving
from tests.waiting import until

from headrace.home import Home
from headrace.identity import decoded
from headrace.ledger.shadows import Beside
from headrace.settings import Settings
from headrace.tasks.rows.predictor import RowPredictor

ROWS = passengers(300, first=500_000)


@pytest.fixture(scope="module")
def template(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of version 1, the champion, and version 2."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("shadows") / "home"))
    ran("train", TITANIC, home, "--set", "model.calibrate=false")
    ran("promote", TITANIC, home, "1")
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))


def said(home: Path, version: int = 2) -> list[Beside]:
    return Home(Settings(home=home)).ledger.shadows.read("titanic", version, limit=1_000_000)


def logged(home: Path) -> dict[str, Any]:
    entries = Home(Settings(home=home)).ledger.read("titanic", limit=1_000_000)
    return {entry.id: entry for _, entry in entries}


def follower_of(server: Server) -> int:
    """The process that scores beside; it is nicer than the others."""

    seen: list[int] = []

    def found() -> bool:
        children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
        every = [int(pid) for each in children for pid in each.read_text().split()]
        usual = os.getpriority(os.PRIO_PROCESS, server.process.pid)
        seen[:] = [pid for pid in every if not _zombie(pid) and os.getpriority(os.PRIO_PROCESS, pid) > usual]
        return bool(seen)

    until(found)
    return seen[0]


def test_a_shadow_scores_what_is_answered_and_is_never_answered(home: Path) -> None:
    with serving(home, "--shadow", "2") as server:
        alone = [server.post(row).json() for row in ROWS[:40]]
        many = server.post(ROWS).json()["predictions"]
        assert many[:40] == alone
        assert {each["model_version"] for each in many} == {1}
        server.post(ROWS[0] | {"PassengerId": 1}, PREDICT + "?version=2")
        assert server.post(ROWS[5] | {"Age": 1.25}).status_code == 409
        until(lambda: len(said(home)) == len(ROWS))
        until(lambda: "headrace_shadow_rows" in server.get("/metrics").text)
        until(lambda: (server.get("/v1/systems/titanic").json()["shadows"] or [{}])[0].get("own") == 1)
        told = server.get("/v1/systems/titanic").json()["shadows"]
        assert told == [{"model_version": 2, "scored": len(ROWS), "failed": 0, "own": 1, "waiting": 0}]
        shadow, answered = said(home)[0]
        trace = server.get(f"/v1/predictions/{shadow.id}").json()
        assert (trace["role"], trace["pins"]["model_version"]) == ("shadow", 2)
        assert trace["prediction"]["shadow_of"] == answered.id
        assert server.get(f"/v1/predictions/{answered.id}").json()["role"] == "answered"
    store = Home(Settings(home=home))
    predictor = RowPredictor.load(store.registry.fetch(store.registry.get("titanic", 2)))
    for shadow, entry in said(home):
        again = predictor.answer(decoded(entry.inputs.decode(), predictor.model.types))
        assert json.loads(shadow.answer) == {"id": shadow.id, **again, "model_version": 2}
    ids = {shadow.id for shadow, _ in said(home)}
    assert not ids & set(logged(home))
    shadow = said(home)[7][0]
    for exported in (False, True):
        replayed = headrace("replay", shadow.id, "--home", home, "--json").json
        assert replayed["identical"], replayed
        assert headrace("trace", shadow.id, "--home", home, "--json").json["role"] == "shadow"
        listed = headrace("predictions", TITANIC, "--home", home, "--json").json
        assert not ids & {each["id"] for each in listed}
        if not exported:
            done = headrace("export", TITANIC, "--home", home, "--json").json
            assert (done["exported"], done["shadows"]) == (len(ROWS) + 1, len(ROWS))
    assert "shadows" not in headrace("export", TITANIC, "--home", home, "--json").json


def test_what_was_answered_while_nothing_followed_is_scored_later(home: Path) -> None:
    with serving(home, "--shadow", "2") as server:
        server.post(ROWS[:10])
        until(lambda: len(said(home)) == 10)
    with serving(home) as server:
        server.post(ROWS[10:30])
    with serving(home, "--shadow", "titanic=2", "--workers", "2") as server:
        server.post(ROWS[30:35])
        until(lambda: len(said(home)) == 35)
    assert {entry.id for _, entry in said(home)} == set(logged(home))


def test_kills_lose_and_double_nothing(home: Path) -> None:
    with serving(home, "--shadow", "2", "--canary", "2=20%") as server:
        for start in range(0, 300, 50):
            server.post(ROWS[start : start + 50])
            if start <= 50:
                os.kill(follower_of(server), signal.SIGKILL)
        server.kill()
    time.sleep(0.2)
    with serving(home, "--shadow", "2", "--canary", "2=20%") as server:
        many = server.post(ROWS).json()["predictions"]
        wanted = {each["id"] for each in many if each["model_version"] == 1}
        assert 180 < len(wanted) < 280
        until(lambda: len(said(home)) >= len(wanted))
        time.sleep(1)
        assert sorted(entry.id for _, entry in said(home)) == sorted(wanted)


def _zombie(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
