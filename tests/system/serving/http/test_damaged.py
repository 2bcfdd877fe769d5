"""Tables and databases that are gone, damaged or unreadable: every route says so, and none fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.servers import LIVE, SMALL, TITANIC, event, passengers

from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http import app
from headrace.serving.http.options import Options
from headrace.settings import Settings

ROUTES = [
    *("/", "/docs", "/openapi.json", "/health", "/ready", "/metrics", "/v1/systems", "/v1/systems/{s}"),
    *("/v1/systems/{s}/series", "/v1/systems/{s}/observations?metric=orders&hours=5"),
    *(
        "/v1/systems/{s}/predictions?metric=orders",
        "/v1/systems/{s}/predictions?metric=orders&as_of=2020-03-03T00:00:00Z",
    ),
    *(
        "/v1/systems/{s}/metrics",
        "/v1/systems/{s}/runs",
        "/v1/systems/{s}/runs?status=failed",
        "/v1/systems/{s}/alerts",
        "/v1/systems/{s}/validation",
        "/v1/systems/{s}/quarantine",
    ),
    *("/v1/predictions/0190b3c5-0000-7000-8000-000000000000", "/v2", "/v2/health/live", "/v2/health/ready"),
    *("/v2/models/{s}", "/v2/models/{s}/ready", "/v2/models/{s}/versions/1", "/ping", "/version"),
]
EACH = 7
ANSWERS = (200, 304, 307, 400, 404, 405, 406, 409, 422, 503)


def files(path: Path) -> list[Path]:
    """All files; not what a database shares with its clients: to shorten that ends them, whoever they are."""
    every = [path] if path.is_file() else sorted(path.rglob("*"))
    return [each for each in every if each.is_file() and not each.name.endswith("-shm")]


def garbage(path: Path) -> None:
    """Every file below is there, and is nothing."""
    for each in files(path):
        each.write_bytes(b"\x00garbage" * 3)


def gone(path: Path) -> None:
    """It is not there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path: Path) -> None:
    """A folder without anything, or a file without bytes."""
    if path.is_dir():
        shutil.rmtree(path)
        path.mkdir()
    else:
        path.write_bytes(b"")


def other(path: Path) -> None:
    """A folder is a file, and a file a folder."""
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()


def halved(path: Path) -> None:
    """Cut off in the middle, each file."""
    for each in files(path):
        each.write_bytes(each.read_bytes()[: each.stat().st_size // 2])


HARM: dict[str, Callable[[Path], None]] = {each.__name__: each for each in (garbage, gone, empty, other, halved)}


def places(home: Path) -> list[Path]:
    """What a server reads: each table, the databases, the models."""
    tables = [each.parent for each in sorted(home.glob("store/*/**/_delta_log"))]
    databases = sorted(home.glob("*.db"))
    return [*tables, *databases, home / "store", home]


def asked(client: TestClient, system: str) -> list[str]:
    """Ask everything; what was answered as it must not be."""
    wrong = []
    for route in ROUTES:
        answer = client.get(route.format(s=system), follow_redirects=False)
        if answer.status_code not in ANSWERS:
            wrong.append(f"GET {route}: {answer.status_code} {answer.text[:300]}")
        elif answer.status_code >= 400 and route[1:3] == "v1":
            told = answer.json()
            assert told["status"] == answer.status_code
            assert answer.headers["content-type"] == "application/problem+json"
    rows = passengers(2, first=95_000_000)
    body = rows[0] if system == "titanic" else event(1)
    many = rows if system == "titanic" else [event(2), event(3)]
    for path in ("/v1/systems/{s}/predict", "/v1/systems/{s}/predict?version=1", "/v1/systems/{s}/predict?version=7"):
        for each in (body, many):
            answer = client.post(path.format(s=system), json=each)
            if answer.status_code not in ANSWERS:
                wrong.append(f"POST {path}: {answer.status_code} {answer.text[:300]}")
    framed = json.dumps({"dataframe_records": [body]})
    answer = client.post("/invocations", content=framed, headers={"content-type": "application/json"})
    if answer.status_code not in ANSWERS:
        wrong.append(f"POST /invocations: {answer.status_code} {answer.text[:300]}")
    return wrong


@pytest.mark.parametrize("system", [TITANIC, LIVE], ids=["rows", "series"])
def test_no_route_fails_whatever_is_damaged(
    titanic_home: Path, live_template_home: Path, tmp_path: Path, system: str
) -> None:
    """Before a server starts, and while it runs; of all pairs of a place and a harm, every `EACH`th."""
    template = titanic_home if system == TITANIC else live_template_home
    declared = load_system(system, [word for word in SMALL[system] if word != "--set"])
    cases = [(number, harm, before) for number in range(len(places(template))) for harm in HARM for before in (0, 1)]
    wrong = []
    for number, harm, before in cases[::EACH]:
        home = Path(shutil.copytree(template, tmp_path / "home"))
        place = places(home)[number]
        if before:
            HARM[harm](place)
        made = app.Application(
            [declared], Home(Settings(home=home), make=False), Options(access_log="off"), registry=CollectorRegistry()
        )
        with TestClient(made, raise_server_exceptions=False) as client:
            if not before:
                HARM[harm](place)
            found = asked(client, Path(system).name)
        wrong += [f"{place.relative_to(home)} {harm} {'after' * (1 - before)}: {each}" for each in found]
        if home.is_dir():
            shutil.rmtree(home)
        else:
            home.unlink(missing_ok=True)
    assert wrong == [], "\n".join(wrong)
