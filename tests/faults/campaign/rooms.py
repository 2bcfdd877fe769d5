"""What the HTTP campaign serves: a system in a home, its ledger, and what batch says of what was answered."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from tests.commands import headrace
from tests.faults.campaign.clients import Ask
from tests.faults.campaign.tally import Tally
from tests.ports import free_port
from tests.servers import (
    EVENTS,
    LIVE,
    PREDICT,
    SMALL,
    TITANIC,
    event,
    live_template,
    ran,
    titanic_template,
)

from headrace.home import Home
from headrace.settings import Settings
from headrace.sources.passengers import Passengers, passenger_rows
from headrace.tasks.forecast.predictor import Predictor
from headrace.tasks.rows.predictor import RowPredictor

METRICS = ("orders", "revenue", "cost_per_click", "requests", "taxi_trips", "metric_0005", "metric_0006", "metric_0007")
POOL = 1500
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class Room:
    """One system served over one home, whose ledger is SQLite or a database of a PostgreSQL server."""

    kind, source, path = "", "", ""

    def __init__(self, folder: Path, template: Path, workers: int, database: str | None, clock: bool) -> None:
        self.folder, self.home, self.backup = folder, folder / "home", folder / "backup"
        shutil.copytree(template, self.home)
        self.workers, self.database, self.port = workers, database, free_port()
        Path(f"{folder.parent}.log").write_text("")
        self.clock = Path(f"{folder.parent}.clock") if clock and FAKETIME else None
        self._environment = {"HEADRACE_LEDGER_TIMEOUT": "3"}
        if database:
            self._environment["HEADRACE_LEDGER_URI"] = database
        if self.clock is not None:
            self.tell("+0")
            more = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.clock)}
            self._faked = more | {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self._read, self.ids = 0, dict[str, bytes]()
        self.start()
        self.post(self.fresh())  # the first one makes the ledger
        shutil.copytree(self.home, self.backup)

    def __str__(self) -> str:
        more = ", clock" if self.clock else ""
        return f"{self.kind}, {'PostgreSQL' if self.database else 'SQLite'}, {self.workers} worker(s){more}"

    def start(self) -> None:
        """Start the server, and wait until it is ready."""
        command = [
            sys.executable,
            "-m",
            "headrace",
            "serve",
            self.source,
            "--home",
            str(self.home),
            *SMALL[self.source],
        ]
        command += ["--port", str(self.port), "--workers", str(self.workers), "--access-log", "off"]
        environment = os.environ | self._environment | (self._faked if self.clock is not None else {})
        # By way of another process, whose files may grow; and not on the file system that may be full.
        with Path(f"{self.folder.parent}.log").open("ab") as log:
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        self.process = subprocess.Popen(
            command, stdout=cat.stdin, stderr=cat.stdin, env=environment, start_new_session=True
        )
        assert cat.stdin is not None
        cat.stdin.close()
        self.ready()

    def tell(self, offset: str) -> None:
        """Set its clock, whole at once: it is read all the time."""
        assert self.clock is not None
        new = self.clock.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self.clock)

    def ready(self, within: float = 60.0) -> bool:
        """Wait until it says that it is."""
        end = time.monotonic() + within
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=10):
                    return True
            except OSError:
                time.sleep(0.05)
        return False

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a body is answered with."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    @property
    def processes(self) -> list[int]:
        """The server, and its children after it."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return []
        return [self.process.pid, *map(int, children)]

    def kill(self) -> None:
        """kill -9 all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def logged(self) -> list[tuple[str, bytes]]:
        """Keys and answers in the ledger."""
        query = "select key, answer from predictions order by sequence"
        if self.database:
            with psycopg.connect(self.database) as connection:
                return [(key, bytes(answer)) for key, answer in connection.execute(query)]
        with closing(sqlite3.connect(self.home / "ledger.db")) as connection:
            return [(key, bytes(answer)) for key, answer in connection.execute(query)]

    def command(self, name: str, *arguments: object, may_fail: bool = False) -> Any:
        """A command of the system on the home, as JSON."""
        with _variables(self._environment):
            done = headrace(name, self.source, "--home", self.home, "--json", *SMALL[self.source], *arguments)
        assert may_fail or done.code == 0, f"{name}: {done.out} {done.err}"
        return done.json

    def troubles(self) -> list[str]:
        """Errors that the server logged."""
        lines = Path(f"{self.folder.parent}.log").read_text().splitlines()
        return [line for line in lines if '"log.level":"error"' in line or "Error" in line]

    def promote(self, version: int) -> None:
        """Make a version the champion, as the command does it: nothing is made where the home is away."""
        registry = Home(Settings(home=self.home), make=False).registry
        registry.promote(self.kind, version, created_at=datetime.now(UTC))

    def champion(self) -> int:
        """The version that answers."""
        found = Home(Settings(home=self.home), make=False).registry.champion(self.kind)
        if found is None:
            raise LookupError("there are no versions")
        return found.version

    def asks(self, number: int, chance: random.Random) -> Iterator[Ask]:
        """Bodies of one client."""
        raise NotImplementedError

    def fresh(self) -> dict[str, Any]:
        """A body that no client sends."""
        raise NotImplementedError

    def check_numbers(self, answers: dict[str, dict[str, Any]], tally: Tally) -> None:
        """Compare answers, by id, with batch."""

    def check_tables(self, tally: Tally) -> None:
        """Export, and compare what the tables have with the ledger."""


class _variables:  # noqa: N801 - used as a statement
    def __init__(self, more: dict[str, str]) -> None:
        self._more = more

    def __enter__(self) -> None:
        os.environ.update(self._more)

    def __exit__(self, *_: object) -> None:
        for name in self._more:
            os.environ.pop(name, None)


class Rows(Room):
    """Passengers, each with a key of its own, alone or some together."""

    kind, source, path = "titanic", TITANIC, PREDICT
    _rows: ClassVar[list[dict[str, Any]]] = []
    _told: ClassVar[dict[int, list[float]]] = {}

    @classmethod
    def template(cls, base: Path) -> Path:
        """A home with two versions, and what batch says of all passengers by each."""
        home = titanic_template(base)
        if not cls._rows:
            ran("train", cls.source, home, "--set", "model.calibrate=false")
            frame = passenger_rows(Passengers(seed=7, rows=POOL), datetime(2026, 1, 1, tzinfo=UTC)).drop("Survived")
            registry = Home(Settings(home=home)).registry
            for version in (1, 2):
                model = RowPredictor.load(registry.fetch(registry.get("titanic", version)))
                cls._told[version] = [each["probability"] for each in model.predict(frame)]
            assert cls._told[1] != cls._told[2]
            cls._rows = frame.to_dicts()
        return home

    _numbers = itertools.count(1)

    def _row(self) -> dict[str, Any]:
        number = next(self._numbers)
        return self._rows[number % POOL] | {"PassengerId": number}

    def asks(self, number: int, chance: random.Random) -> Iterator[Ask]:
        """One passenger; now and then some."""
        while True:
            yield Ask(self._row() if chance.random() < 0.85 else [self._row() for _ in range(chance.randint(2, 30))])

    def fresh(self) -> dict[str, Any]:
        """One more passenger."""
        return self._row()

    def check_numbers(self, answers: dict[str, dict[str, Any]], tally: Tally) -> None:
        """By the version that each names."""
        for answer in answers.values():
            told = self._told[answer["model_version"]][answer["key"] % POOL]
            if answer["probability"] != told:
                tally.bad("wrong", f"passenger {answer['key']}: {answer['probability']}, batch says {told}")

    def check_tables(self, tally: Tally) -> None:
        """Each logged prediction is one row of the table."""
        self.command("export")
        found = [row for row in self.command("predictions") if row["door"] == "http"]
        logged = {json.loads(answer)["id"] for _, answer in self.logged()}
        ids = [row["id"] for row in found]
        if len(ids) != len(set(ids)):
            tally.bad("doubled", f"{len(ids) - len(set(ids))} predictions are in the table twice")
        if logged != set(ids):
            tally.bad("lost", f"{len(logged ^ set(ids))} predictions are in the ledger or the table only")


class Events(Room):
    """Events of eight series, with corrections, repeats, and some that are too late."""

    kind, source, path = "live_metrics", LIVE, EVENTS

    @classmethod
    def template(cls, base: Path) -> Path:
        """A home with two versions."""
        home = live_template(base)
        if len(Home(Settings(home=home)).registry.versions("live_metrics")) < 2:
            headrace("train", LIVE, "--home", home, "--json", *SMALL[LIVE], "--set", "model.n_estimators=9",
                     "--as-of", "2020-03-02T00:00:00+00:00")  # fmt: skip
        return home

    def __init__(self, *arguments: Any) -> None:
        self._hours = dict.fromkeys(METRICS, 0)
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def asks(self, number: int, chance: random.Random) -> Iterator[Ask]:
        """Two series by turns."""
        mine = METRICS[2 * number : 2 * number + 2]
        while True:
            metric, draw = chance.choice(mine), chance.random()
            with self._lock:
                if self._hours[metric] < 2:  # nothing to correct yet
                    draw = 0.0
                if draw < 0.85:
                    self._hours[metric] += 1
                hour = self._hours[metric]
            value = round(chance.uniform(50, 150), 3)
            if draw < 0.85:
                yield Ask(event(hour, value, metric))
            elif draw < 0.93:
                yield Ask(event(hour - 1, value, metric), headers={"idempotency-key": f"fix-{metric}-{hour}-{value}"})
            else:
                yield Ask(event(-100, value, metric), status=409)

    def fresh(self) -> dict[str, Any]:
        """The next event of the last series, which no client sends if there are three of them."""
        with self._lock:
            self._hours[METRICS[-1]] += 1
            return event(self._hours[METRICS[-1]], 80.0, METRICS[-1])

    def check_tables(self, tally: Tally) -> None:
        """All answers again from the tables; the last by a batch run as of them, by the version that each names."""
        logged = [json.loads(answer) for _, answer in self.logged()]
        done = self.command("export", may_fail=True)
        if done["differing"]:
            tally.bad("wrong", f"export: {done['differing']} answers differ")
        if done["exported"] != len(logged):
            tally.bad("lost", f"export: {done['exported']} of {len(logged)}")
        home = Home(Settings(home=self.home))
        table = home.table(self.kind, "raw")
        by_version = {v: Predictor.load(home.registry.fetch(home.registry.get(self.kind, v))) for v in (1, 2)}
        told = [each for each in logged if each["predictions"]]
        if done["differing"]:
            Path("faults-differing.json").write_text(
                json.dumps([json.loads(a) | {"_key": k} for k, a in self.logged()])
            )
        for answer in told if done["differing"] else told[-6:]:
            as_of = datetime.fromisoformat(answer["as_of"])
            said = [(step["value"], step["lower"], step["upper"]) for step in answer["predictions"]]
            found = {}
            for version, predictor in by_version.items():
                frame = predictor.predict(predictor.snapshots(table, [as_of], table.version())).frame
                found[version] = (
                    frame.filter(frame["metric"] == answer["metric"]).select("value", "lower", "upper").rows()
                )
            if found[answer["model_version"]] != said:
                tally.bad("wrong", f"{answer['event_id']} as of {as_of} by {answer['model_version']}: {said}; {found}")
