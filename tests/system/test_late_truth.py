"""Rows posted without their target, or with an empty one; their truth comes late, twice, corrected, or empty."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.commands import headrace
from tests.servers import SMALL, TITANIC, passengers, titanic_template

from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.settings import Settings

ROUTE = "/v1/systems/titanic/predict"
ONE, TWO, THREE = passengers(3, first=7_000)


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    system = load_system(TITANIC, [word for word in SMALL[TITANIC] if word != "--set"])
    options = Options(access_log="off")
    application = Application([system], Home(Settings(home=home)), options, registry=CollectorRegistry())
    with TestClient(application) as client:
        yield client


class Truths:
    """What becomes known of rows, an hour after the last time; each time a file of its own."""

    def __init__(self, home: Path) -> None:
        self._common = ("--home", home, "--json", *SMALL[TITANIC])
        self._folder, self._now = home.parent, datetime.now(UTC)

    def told(self, *rows: dict[str, Any]) -> Any:
        self._now += timedelta(hours=1)
        path = self._folder / f"{self._now:%H%M%S}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return self._does("ingest", "--source", f"file:{path}")

    def monitored(self) -> tuple[int, float]:
        done = self._does("monitor")
        assert done.code == 0, done.err
        return done.json["matured"], done.json["metrics"]["rate"]

    def actual(self, row: dict[str, Any]) -> Any:
        where = ("--with-actual", "--where", f"PassengerId={row['PassengerId']}")
        (found,) = headrace("predictions", TITANIC, *self._common, *where).json
        return found["actual"]

    def _does(self, command: str, *arguments: str) -> Any:
        when = ("--as-of", self._now.isoformat(), "--simulated")
        return headrace(command, TITANIC, *self._common, *arguments, *when)


def test_a_truth_that_comes_late_twice_corrected_or_empty(client: TestClient, home: Path) -> None:
    bare = [client.post(ROUTE, json=row) for row in (ONE, ONE | {"Survived": None}, TWO, THREE)]
    assert [answer.status_code for answer in bare] == [200] * 4, [answer.text for answer in bare]
    assert bare[0].json() == bare[1].json()  # a target that is empty is none
    assert headrace("export", TITANIC, "--home", home, "--json", *SMALL[TITANIC]).json["exported"] == 3
    truths = Truths(home)
    late = [ONE | {"Survived": 1}, TWO | {"Survived": 0}]
    assert truths.told(*late).json["ingested"] == 2
    assert truths.monitored() == (2, 0.5)
    again = truths.told(*late).json
    assert (again["ingested"], again["repeated"]) == (0, 2)
    assert truths.monitored() == (2, 0.5)
    assert truths.told(ONE | {"Survived": 0}).json["ingested"] == 1
    assert (truths.monitored(), truths.actual(ONE)) == ((2, 0.0), 0)
    assert truths.told(ONE | {"Survived": None}, THREE | {"Survived": None}).code == 0  # takes nothing back
    assert (truths.monitored(), truths.actual(ONE), truths.actual(THREE)) == ((2, 0.0), 0, None)
    contrary = truths.told(TWO | {"Survived": 1}, TWO | {"Survived": 0})
    assert (contrary.code, contrary.json["error"]) == (3, "ContractBroken")
    assert (truths.monitored(), truths.actual(TWO)) == ((2, 0.0), 0)
