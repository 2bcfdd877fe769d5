"""Servers whose home, ledger, models or tables are moved, replaced or not writable while they answer."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.effort import THOROUGH
from tests.faults.test_serving import locked
from tests.servers import (
    EVENTS,
    LIVE,
    TITANIC,
    Server,
    event,
    live_template,
    passengers,
    ran,
    serving,
    titanic_template,
)
from tests.waiting import until

pytestmark = pytest.mark.fault
REPLACED = "the ledger is another file than the one opened"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """Where homes lie: `titanic` and `live_metrics`, each to be served."""
    base = tmp_path_factory.getbasetemp()
    shutil.copytree(titanic_template(base), tmp_path / "titanic")
    shutil.copytree(live_template(base), tmp_path / "live_metrics")
    return tmp_path


def moved(home: Path) -> None:
    home.rename(home.with_name("moved"))


def back(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.with_name("moved").rename(home)


def restored(home: Path) -> None:
    moved(home)
    shutil.copytree(home.with_name("backup"), home)


def emptied(home: Path) -> None:
    moved(home)
    shutil.copytree(home.with_name("moved"), home, ignore=shutil.ignore_patterns("ledger.db*"))
    (home / "ledger.db").touch()


def body(system: str, number: int) -> tuple[str, Any]:
    """Path and body of a post that no other one is."""
    if system == "titanic":
        return "/v1/systems/titanic/predict", passengers(400, first=500_000)[number]
    return EVENTS, event(number + 1, number / 8)


def posted(server: Server, system: str, number: int) -> int:
    path, what = body(system, number)
    answer = server.post(what, path)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert REPLACED in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
    return answer.status_code


def keys(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "ledger.db")) as ledger:
        return {key for (key,) in ledger.execute("select key from predictions")}


@pytest.mark.parametrize(
    ("system", "workers", "change"),
    [("titanic", 2, moved), ("live_metrics", 1, emptied)]
    + [("titanic", 2, restored), ("live_metrics", 2, restored)] * THOROUGH,
)
def test_posts_are_refused_until_the_home_is_back(
    folder: Path, system: str, workers: int, change: Callable[[Path], None]
) -> None:
    home, number = folder / system, iter(range(400))
    source = TITANIC if system == "titanic" else LIVE
    shutil.copytree(home, folder / "backup")
    with serving(home, "--workers", str(workers), systems=(source,)) as server:
        # Every process has one at least: a connection each.
        good = [posted(server, system, next(number)) for _ in range(12)]
        change(home)
        bad = [posted(server, system, next(number)) for _ in range(12)]
        until(lambda: server.get("/ready").status_code == 503)
        assert "ledger" in server.get("/ready").text or "table" in server.get("/ready").text
        bad += [posted(server, system, next(number)) for _ in range(4)]
        assert server.get("/health").status_code == 200
        back(home)
        until(lambda: server.get("/ready").status_code == 200)
        good += [posted(server, system, next(number)) for _ in range(8)]
        assert set(good) == {200}
        assert set(bad) == {503}
        assert len(keys(home)) == len(good)
    if system == "live_metrics":
        assert ran("export", LIVE, home).json["differing"] == 0


def test_a_second_server_on_the_new_home_answers_alone(folder: Path) -> None:
    home = folder / "titanic"
    shutil.copytree(home, folder / "backup")
    rows = passengers(3, first=700_000)
    with serving(home) as first:
        assert first.post(rows[0]).status_code == 200
        restored(home)
        with serving(home) as second:
            other = rows[1] | {"Age": 77.0}
            answers = [first.post(rows[1]), second.post(other), first.post(rows[1]), first.post(rows[2])]
            assert [each.status_code for each in answers] == [503, 200, 503, 503]
            assert second.get("/ready").status_code == 200
        assert len(keys(home)) == 1


def full(server: Server) -> None:
    """No file of the server can be written any more."""
    for child in [server.process.pid, *_children(server.process.pid)]:
        resource.prlimit(child, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def room(server: Server) -> None:
    for child in [server.process.pid, *_children(server.process.pid)]:
        resource.prlimit(child, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("system", ["titanic", "live_metrics"])
def test_a_server_that_can_keep_nothing_is_not_ready_until_it_can(folder: Path, system: str) -> None:
    home = folder / system
    with serving(home, "--access-log", "off", systems=(TITANIC if system == "titanic" else LIVE,)) as server:
        path, first = body(system, 0)
        assert server.post(first, path).status_code == 200
        full(server)
        refused = server.post(body(system, 1)[1], path)
        ready = server.get("/ready")
        assert (refused.status_code, ready.status_code) == (503, 503)
        assert refused.json()["detail"] == ready.json()["errors"][0]["msg"]
        until(lambda: server.get("/ready").status_code == 503)
        room(server)
        until(lambda: server.get("/ready").status_code == 200)  # with nothing posted
        assert server.post(body(system, 1)[1], path).status_code == 200
        full(server)
        assert server.post(body(system, 2)[1], path).status_code == 503
        room(server)
        assert server.post(body(system, 2)[1], path).status_code == 200
        assert server.get("/ready").status_code == 200, "the commit that succeeded says so at once"
    assert len(keys(home)) == 3


def test_a_locked_ledger_is_told_by_readiness(folder: Path) -> None:
    with serving(folder / "titanic", HEADRACE_LEDGER_TIMEOUT="1") as server:
        rows = passengers(2, first=800_000)
        assert server.post(rows[0]).status_code == 200
        with locked(folder / "titanic"):
            assert server.post(rows[1]).status_code == 503
            assert "locked" in server.get("/ready").json()["errors"][0]["msg"]
        until(lambda: server.get("/ready").status_code == 200)
        assert server.post(rows[1]).status_code == 200


def test_models_and_tables_that_are_gone_are_told_and_nothing_is_answered_by_them(folder: Path) -> None:
    store = folder / "titanic" / "store"
    with serving(folder / "titanic") as server:
        rows = passengers(3, first=900_000)
        assert server.post(rows[0]).status_code == 200
        store.rename(folder / "away")
        until(lambda: server.get("/ready").status_code == 503)
        assert "registry" in server.get("/ready").json()["errors"][0]["msg"]
        refused = server.post(rows[1])
        assert refused.status_code == 503
        assert "model version 1" in refused.json()["detail"]
        shutil.rmtree(store, ignore_errors=True)
        (folder / "away").rename(store)
        until(lambda: server.get("/ready").status_code == 200)
        assert server.post(rows[1]).status_code == 200


def test_events_are_not_answered_from_tables_that_are_gone(folder: Path) -> None:
    """A new series would begin from nothing; one that is restored goes on from what is there."""
    home = folder / "live_metrics"
    shutil.copytree(home / "store", folder / "before")
    with serving(home, systems=(LIVE,)) as server:
        assert server.post(event(1), EVENTS).status_code == 200
        (home / "store").rename(folder / "away")
        assert server.post(event(1, metric="revenue"), EVENTS).status_code == 503
        until(lambda: server.post(event(-100), EVENTS).status_code == 503)  # until then it has its memory: 409
        assert server.post(event(2), EVENTS).status_code == 503
        shutil.rmtree(home / "store", ignore_errors=True)
        (folder / "away").rename(home / "store")
        until(lambda: server.get("/ready").status_code == 200)
        assert server.post(event(2), EVENTS).status_code == 200
        first = ran("export", LIVE, home).json
        assert [first[name] for name in ("exported", "events", "predictions", "differing")] == [2, 2, 6, 0]
        assert server.post(event(3), EVENTS).status_code == 200
        shutil.rmtree(home / "store")  # and the backup comes back, from before the export
        shutil.copytree(folder / "before", home / "store")
        until(lambda: server.get("/ready").status_code == 200)
        until(lambda: server.post(event(4), EVENTS).status_code == 200)
        assert server.post(event(1, metric="revenue"), EVENTS).status_code == 200
        answers = json.loads(server.post([event(5), event(6)], EVENTS).content)["predictions"]
        assert [len(each["predictions"]) for each in answers] == [3, 3]
    again = ran("export", LIVE, home).json
    assert (again["exported"], again["differing"]) == (7, 0)


@pytest.mark.parametrize("ledger", ["SQLite", "PostgreSQL"])
def test_a_server_that_began_anew_answers_no_series_from_tables_that_are_gone(
    folder: Path, ledger: str, request: pytest.FixtureRequest
) -> None:
    """Neither one that it has in its log nor a new one: it has not read of its tables what it could miss."""
    home, more = folder / "live_metrics", {}
    if ledger == "PostgreSQL":
        more = {"HEADRACE_LEDGER_URI": request.getfixturevalue("postgres_database")}
    gone = home / "store" if ledger == "SQLite" else home  # with SQLite the ledger would be missed first
    with serving(home, systems=(LIVE,), **more) as server:
        assert server.post([event(1), event(1, metric="requests")], EVENTS).status_code == 200
    with serving(home, systems=(LIVE,), **more) as server:
        assert server.post(event(2), EVENTS).status_code == 200
        gone.rename(folder / "away")
        asked = [event(2, metric="requests"), event(1, metric="revenue")]
        refused = [server.post(each, EVENTS) for each in asked]
        assert [each.status_code for each in refused] == [503, 503]
        shutil.rmtree(gone, ignore_errors=True)
        (folder / "away").rename(gone)
        for each in asked:
            until(lambda: server.post(each, EVENTS).status_code == 200)  # noqa: B023
            assert len(server.post(each, EVENTS).json()["predictions"]) == 3
    with pytest.MonkeyPatch.context() as environment:
        for name, value in more.items():
            environment.setenv(name, value)
        assert ran("export", LIVE, home).json["differing"] == 0


def test_no_ledger_is_made_where_the_home_was(folder: Path) -> None:
    """The first event makes it; where the home was put aside it would be in the way of the one that comes back."""
    home = folder / "live_metrics"
    assert not (home / "ledger.db").exists()
    with serving(home, systems=(LIVE,)) as server:
        moved(home)
        assert server.post(event(1), EVENTS).status_code == 503
        assert not (home / "ledger.db").exists()
        back(home)
        until(lambda: server.post(event(1), EVENTS).status_code == 200)
    assert len(keys(home)) == 1
