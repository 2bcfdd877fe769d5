"""A small home with trained systems, and servers over it as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from tests.commands import Ran, headrace
from tests.ports import free_port
from tests.templates import template
from tests.waiting import PATIENCE, until

from headrace.sources.passengers import Passengers, passenger_rows

ROOT = Path(__file__).resolve().parents[1]
TITANIC, ENERGY, LIVE = (str(ROOT / "systems" / name) for name in ("titanic", "energy", "live_metrics"))
FEW = "n_estimators: 15, num_leaves: 5, min_child_samples: 15"
SMALL = {
    TITANIC: (
        *("--set", f"model.members=[{{kind: linear, C: 0.3}}, {{kind: boosting, {FEW}}}]"),
        *("--set", "model.folds=2", "--set", "model.repeats=1"),
    ),
    ENERGY: ("--set", "model.n_estimators=5", "--set", "model.max_rows=1000"),
    LIVE: (
        *(
            "--set",
            "step=1h",
            "--set",
            "horizon=3h",
            "--set",
            "model.seasons=[6h,24h]",
            "--set",
            "stream.allowed_lateness=5h",
        ),
        *("--set", "monitoring.baselines=[6h]", "--set", "model.n_estimators=5", "--set", "model.max_rows=1000"),
    ),
}
SOURCE = {
    TITANIC: "simulated:?rows=400&unknown=60&seed=1",
    ENERGY: "simulated:?series=3&days=40",
    LIVE: "simulated:?series=8&days=20&step=1h",
}
PRICES = str(ROOT / "systems" / "price_alchemy")
PRICES_SMALL = ("--set", "model.members=[{kind: linear}]", "--set", "model.folds=2", "--set", "model.repeats=1")
PREDICT, EVENTS = "/v1/systems/titanic/predict", "/v1/systems/live_metrics/predict"
TRAINED = datetime(2020, 3, 2, tzinfo=UTC)


def ran(command: str, system: str, home: Path, *arguments: object) -> Ran:
    """A command on a system with a small model, as JSON."""
    done = headrace(command, system, "--home", home, "--json", *SMALL[system], *arguments)
    assert done.code == 0, done.err
    return done


def titanic_template(base: Path) -> Path:
    """A home with a trained titanic, to be copied; `base` is the process's base of temporary folders."""

    def make(folder: Path) -> None:
        ran("run", TITANIC, folder / "home", "--source", SOURCE[TITANIC])

    return template(base, "titanic", make) / "home"


def live_template(base: Path) -> Path:
    """A home with a trained live_metrics, which knows nothing from `TRAINED` on; to be copied."""

    def make(folder: Path) -> None:
        home, as_of = folder / "home", TRAINED.isoformat()
        ran("ingest", LIVE, home, "--source", SOURCE[LIVE], "--as-of", as_of)
        ran("train", LIVE, home, "--as-of", as_of)

    return template(base, "live_metrics", make) / "home"


def prices_template(base: Path) -> Path:
    """A home with a trained price_alchemy."""

    def make(folder: Path) -> None:
        source = ("--source", "simulated:?rows=400&seed=1", "--as-of", "2026-03-01T00:00:00Z")
        done = headrace("run", PRICES, "--home", folder / "home", "--json", *PRICES_SMALL, *source)
        assert done.code == 0, done.err

    return template(base, "price_alchemy", make) / "home"


def energy_template(base: Path) -> Path:
    """A home with energy after two runs, to be copied."""

    def make(folder: Path) -> None:
        for hour in (10, 12):
            ran("run", ENERGY, folder / "home", "--source", SOURCE[ENERGY], "--as-of", f"2026-03-02T{hour}:00:00Z")

    return template(base, "energy", make) / "home"


def event(hour: int, value: float = 5.0, metric: str = "orders") -> dict[str, Any]:
    """An event of live_metrics, some hours after `TRAINED`."""
    time = (TRAINED + timedelta(hours=hour)).isoformat().replace("+00:00", "Z")
    return {"metric": metric, "time": time, "value": value}


@cache
def passengers(size: int, *, seed: int = 7, first: int = 100_000) -> list[dict[str, Any]]:
    """Passengers as JSON rows without an outcome; what is missing is null or left out."""
    rows = passenger_rows(Passengers(seed=seed, rows=size), datetime(2026, 1, 1, tzinfo=UTC)).to_dicts()
    for place, row in enumerate(rows):
        del row["Survived"]
        row["PassengerId"] = first + place
        for name in [name for name, value in row.items() if value is None and place % 2]:
            del row[name]
        if place % 17 == 0:
            row["Fare"] = None
        if place % 19 == 0:
            row["Embarked"] = ""
    return rows


def endless_passengers(first: int) -> Iterator[dict[str, Any]]:
    """The passengers of all keys from `first` on: load that lasts as long as what is waited for."""
    rows = passengers(1000)
    for key in count(first):
        yield rows[key % len(rows)] | {"PassengerId": key}


@dataclass
class Server:
    """A running server.

    Attributes:
        url: Where it listens.
        log: The file of its stderr.
    """

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def client(self) -> httpx.Client:
        """A client with connections of its own."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, verify=False)  # reading certificates takes its time

    @cached_property
    def _shared(self) -> httpx.Client:
        return self.client()

    def post(self, body: Any, path: str = PREDICT, **headers: str | bytes) -> httpx.Response:
        """One request: JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self._shared.post(path, content=content, headers=given)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """One request."""
        return self._shared.get(path, **options)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]

    def line(self, request_id: str) -> dict[str, Any]:
        """What it logged of a request, which it does after the answer."""
        until(lambda: any(each.get("http.request.id") == request_id for each in self.lines()))
        return next(each for each in self.lines() if each.get("http.request.id") == request_id)

    def close(self) -> None:
        """Close the connections of `post` and `get`."""
        shared: httpx.Client | None = self.__dict__.get("_shared")
        if shared is not None:
            shared.close()

    def kill(self) -> None:
        """kill -9 it and all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    home: Path, *arguments: str, systems: Sequence[str] = (TITANIC,), ready: bool = True, **environment: str
) -> Iterator[Server]:
    """A server over a home, until the end of the block."""
    port = free_port()
    small = [word for system in systems for word in SMALL.get(system, ())] if len(systems) == 1 else []
    command = [sys.executable, "-m", "headrace", "serve", *systems, "--home", str(home), "--port", str(port)]
    if "--readers" not in arguments:  # a process that reads takes a second to start
        command += ["--readers", "0"]
    log = home / f"serve-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *small, *arguments], stderr=file, env=os.environ | environment, start_new_session=True
        )
    server = Server(f"http://127.0.0.1:{port}", log, process)
    try:
        until(lambda: answers(server, "/ready" if ready else "/health"), process)
        yield server
    finally:
        server.close()
        if process.poll() is None:
            server.kill()


def answers(server: Server, path: str) -> bool:
    """Whether a route answers 200."""
    try:
        return server.get(path).status_code == 200
    except httpx.TransportError:
        return False
