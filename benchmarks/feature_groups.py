"""How many events a second become feature rows that are looked up, and how old a row is when it first is.

    python benchmarks/feature_groups.py --bootstrap HOST:PORT [--events 50000] [--cards 1000] [--rate 200]
                                        [--seconds 20] [--postgresql URI]

`headrace materialize` as a user starts it, one worker. First a backlog: from the start of the first transaction to the
moment since which the last row is known. Then events at a steady rate, each with the time at which it was sent: how
much later it is known, by the table, and that a look-up sees it then, by asking. Every event must have its row.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from confluent_kafka import Producer

from headrace.home import Home
from headrace.settings import Settings
from headrace.sources.broker import Broker
from headrace.store import FeatureGroup
from headrace.store.fed import settle

SYSTEM = """
from headrace import Column, Contract, FeatureSystem
from headrace.features import lag, rolling_count, rolling_max, rolling_sum

system = FeatureSystem(
    name="{name}",
    contract=Contract(columns=(Column("card", "category"), Column("at", "time"), Column("amount", "float"))),
    keys=("card",),
    time="at",
    step="1m",
    values={{"spent": ("amount", "sum"), "payments": ("amount", "count"), "largest": ("amount", "max"),
             "last": ("amount", "last")}},
    features={{
        "spent_10m": rolling_sum("spent", "10m"),
        "spent_1h": rolling_sum("spent", "1h"),
        "mean_1h": rolling_sum("spent", "1h") / rolling_sum("payments", "1h"),
        "largest_1h": rolling_max("largest", "1h"),
        "minutes_1h": rolling_count("payments", "1h"),
        "last": lag("last", "0h"),
        "before": lag("last", "1m"),
    }},
)
"""


class Bench:
    """A topic, a home and the command."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.name = f"bench_{uuid.uuid4().hex[:8]}"
        self.arguments, self.folder, self.home_dir = arguments, folder / self.name, folder / "home"
        self.folder.mkdir()
        (self.folder / "system.py").write_text(SYSTEM.format(name=self.name))
        self.home = Home(Settings(home=self.home_dir, online_uri=arguments.postgresql))
        self.cards, self.rng = [f"card{i:06d}" for i in range(arguments.cards)], np.random.default_rng(0)
        self.producer = Producer({"bootstrap.servers": arguments.bootstrap, "linger.ms": 1})
        from headrace.loading import load_features

        Broker(arguments.bootstrap).ensure(load_features(str(self.folder)).topics, 4)

    def start(self) -> subprocess.Popen[str]:
        """The command, in a process of its own."""
        given = ["materialize", self.folder, "--bootstrap", self.arguments.bootstrap, "--home", self.home_dir, "--json"]
        more = {"HEADRACE_ONLINE_URI": self.arguments.postgresql} if self.arguments.postgresql else {}
        command = [sys.executable, "-m", "headrace", *map(str, given), "--port", "0"]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(command, stdout=pipe, stderr=quiet, text=True, env={**os.environ, **more})

    def send(self) -> tuple[str, float, datetime]:
        """Send one event of now: its card, its amount and the time."""
        card, amount, now = str(self.rng.choice(self.cards)), float(self.rng.uniform(1, 99)), datetime.now(UTC)
        said = {"card": card, "at": now.isoformat(), "amount": amount}
        self.producer.produce(f"{self.name}.events", json.dumps(said), card)
        self.producer.poll(0)
        return card, amount, now

    def rows(self, count: int) -> pl.DataFrame:
        """The table, once it has so many rows."""
        until = time.monotonic() + 600
        while time.monotonic() < until:
            try:
                group = FeatureGroup.open(self.home.store, self.name, "features")
                settle(group)
                frame = group.table.collect(group.table.scan())
            except Exception:  # noqa: BLE001 - it has not begun
                frame = pl.DataFrame()
            if frame.height >= count:
                assert frame.height == count == frame["event"].n_unique()
                return frame
            time.sleep(1.0)
        raise SystemExit(f"not {count} rows in 600 s")


def backlog(bench: Bench) -> float:
    """Events a second."""
    for _ in range(bench.arguments.events):
        bench.send()
    bench.producer.flush()
    bench.process = bench.start()
    known = bench.rows(bench.arguments.events)["known_at"].sort()
    first, last = known[0], known[-1]
    size = known.filter(known < first + timedelta(milliseconds=5)).len()  # of the first transaction nothing is timed
    return (bench.arguments.events - size) / (last - first).total_seconds()


def freshness(bench: Bench) -> dict[str, float]:
    """Seconds from the sending of an event to the moment since which it is known, and until a look-up sees it."""
    group, sent, asked = FeatureGroup.open(bench.home.store, bench.name, "features"), 0, []
    began = time.monotonic()
    while time.monotonic() - began < bench.arguments.seconds:
        card, amount, now = bench.send()
        sent += 1
        if sent % 50 == 0:
            while (found := bench.home.online.get(group, card, as_of=datetime.now(UTC))) is None or found[
                "last"
            ] != amount:
                time.sleep(0.001)
            asked.append((datetime.now(UTC) - now).total_seconds())
        time.sleep(max(began + sent / bench.arguments.rate - time.monotonic(), 0))
    bench.producer.flush()
    frame = bench.rows(bench.arguments.events + sent).sort("known_at").tail(sent)
    took = (frame["known_at"] - frame["at"]).dt.total_microseconds().to_numpy() / 1e6
    known = {f"known p{q}": float(np.percentile(took, q)) for q in (50, 99)}
    return {
        "rate": sent / bench.arguments.seconds,
        **known,
        "asked p50": float(np.median(asked)),
        "asked max": max(asked),
    }


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--cards", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--postgresql")
    with tempfile.TemporaryDirectory() as folder:
        bench: Any = Bench(parser.parse_args(), Path(folder))
        try:
            print(f"backlog: {backlog(bench):,.0f} events/s")
            for name, value in freshness(bench).items():
                print(f"{name}: {value:,.0f} events/s" if name == "rate" else f"{name}: {value * 1000:,.0f} ms")
        finally:
            bench.process.send_signal(signal.SIGTERM)
            print(bench.process.communicate(timeout=60)[0])
            bench.home.online.close()


if __name__ == "__main__":
    main()
