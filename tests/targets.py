"""Targets of predictions for tests: each says what somebody who uses it as it is meant sees of it."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

from tests import kafka
from tests.ports import free_port
from tests.postgres import new_database

from headrace.sinks import Prediction, PredictionLayout, SinkContext, open_sink
from headrace.sinks.base import SinkColumn

LAYOUT = PredictionLayout(
    "shop",
    "tables",
    (
        SinkColumn("id", "text"),
        SinkColumn("store", "text"),
        SinkColumn("day", "time"),
        SinkColumn("value", "float"),
        SinkColumn("open", "boolean"),
        SinkColumn("number", "integer"),
    ),
)
DAY = datetime(2026, 3, 1, tzinfo=UTC)


def prediction(number: int, value: float = 1.5, replaces: tuple[str, ...] = ()) -> Prediction:
    """One of three stores, in turn; its number says its place."""
    name, store = f"id-{number}", f"store {number % 3}"
    row = (name, store, DAY + timedelta(days=number), value, number % 2 == 0, number)
    return Prediction(name, store, {"id": name, "store": store, "value": value, "number": number}, [row], replaces)


def some(begin: int, end: int) -> list[Prediction]:
    return [prediction(number) for number in range(begin, end)]


class Target:
    """One place to pass on to."""

    uri = ""

    def open(self, folder: Path, **more):
        return open_sink(self.uri, LAYOUT, SinkContext(folder, timeout=more.pop("timeout", 10.0), partitions=3, **more))

    def held(self) -> Counter[str]:
        """How often each id is there."""
        raise NotImplementedError

    def order(self) -> list[tuple[str, int]]:
        """Key and number of what is there, in an order that keeps that of each key."""
        raise NotImplementedError

    def close(self) -> None:
        """End what it has started."""


class SQLiteTarget(Target):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "out.db"
        self.uri = f"sqlite:///{self.path}?table=out"

    def rows(self, query: str = "SELECT * FROM out ORDER BY number") -> list:
        with sqlite3.connect(self.path) as connection:
            return connection.execute(query).fetchall()

    def held(self):
        return Counter(row[0] for row in self.rows())

    def order(self):
        return [(row[1], row[5]) for row in self.rows()]


class DuckDBTarget(Target):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "out.duckdb"
        self.uri = f"duckdb:///{self.path}?table=out"

    def rows(self, query: str = "SELECT * FROM out ORDER BY number") -> list:
        import duckdb

        with duckdb.connect(self.path) as connection:
            return connection.execute(query).fetchall()

    held, order = SQLiteTarget.held, SQLiteTarget.order


class PostgresTarget(Target):
    def __init__(self, server: str) -> None:
        self.database = new_database(server)
        self.uri = f"{self.database}/out"

    def rows(self, query: str = "SELECT * FROM out ORDER BY number") -> list:
        import psycopg

        with psycopg.connect(self.database, autocommit=True) as connection:
            done = connection.execute(query)
            return done.fetchall() if done.description else []

    held, order = SQLiteTarget.held, SQLiteTarget.order


class TopicTarget(Target):
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.topic = bootstrap, f"out-{uuid4().hex[:8]}"
        self.uri = f"kafka://{bootstrap}/{self.topic}"

    def records(self) -> list:
        return kafka.committed(self.bootstrap, self.topic)

    def held(self):
        return Counter(json.loads(each.value())["id"] for each in self.records())

    def order(self):
        return [(each.key().decode(), json.loads(each.value())["number"]) for each in self.records()]


Behaviour = Callable[[int, dict], tuple[int, dict[str, str]] | None]


class Webhook(Target):
    """A server that does what it is asked to once for each idempotency key.

    Attributes:
        behave: Told the number of a request and its headers (in lower case); what it answers instead, before it has
            done anything, or None. A status of 0 is no answer at all; a negative one comes after it was done.
    """

    def __init__(self, behave: Behaviour = lambda number, headers: None) -> None:
        self.behave, self.port = behave, free_port()
        self.requests: list[tuple[dict, bytes]] = []
        self.done: dict[str, bytes] = {}
        self._effects: list[dict] = []
        self._lock = threading.Lock()
        self.uri = f"http://127.0.0.1:{self.port}/hook"
        self.start()

    def start(self) -> None:
        of = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if len(body) < int(self.headers["content-length"]):  # who sends it has died
                    self.close_connection = True
                    return
                self.answer(*of.take({name.lower(): value for name, value in self.headers.items()}, body))

            def answer(self, status, headers):
                if not status:
                    self.close_connection = True
                    return
                text = b"said so"
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, headers: dict, body: bytes) -> tuple[int, dict[str, str]]:
        with self._lock:
            number = len(self.requests)
            self.requests.append((headers, body))
            told = self.behave(number, headers)
            if told is not None and told[0] >= 0:
                return told
            name = headers["idempotency-key"]
            if name not in self.done:
                self.done[name] = body
                said = json.loads(body)
                self._effects += said if isinstance(said, list) else [said]
            elif self.done[name] != body:
                return 422, {}  # the key stands for another body
        if told is not None:
            time.sleep(0.01)
            return (-told[0] if told[0] != -1 else 0), told[1]
        return 200, {}

    def held(self):
        return Counter(each["id"] for each in self._effects)

    def order(self):
        return [(each["store"], each["number"]) for each in self._effects]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def close(self) -> None:
        with suppress(OSError):
            self.stop()
