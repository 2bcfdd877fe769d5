"""A home as a team has it on some morning: one system is late, one drifts, one broke, and one lives on events."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.commands import headrace
from tests.servers import (
    ENERGY,
    LIVE,
    PRICES,
    PRICES_SMALL,
    SOURCE,
    TITANIC,
    Server,
    energy_template,
    live_template,
    prices_template,
    ran,
    serving,
)
from tests.templates import template
from tests.worlds.answers import HOSTILE

from headrace.sources.passengers import Passengers, passenger_rows

TOKENS = {
    "all-of-it": {"may": ["*:read", "*:predict", "*:decide", "*:write"], "name": "ann"},
    "to-look": {"may": ["*:read"], "name": "bob"},
}
_PARTS = ("store", "models")
_HOURLY = """
step: 1h
horizon: 3h
model: {seasons: [6h, 24h], n_estimators: 5, max_rows: 1000}
stream: {allowed_lateness: 5h}
monitoring: {baselines: [6h]}
"""


def browsed_template(base: Path) -> Path:
    """A folder with the `home` and, of the system whose settings differ, its `live_metrics`; to be copied."""

    def make(folder: Path) -> None:
        home = folder / "home"
        shutil.copytree(energy_template(base), home)
        for other in (prices_template(base), live_template(base)):
            for part in _PARTS:
                if (other / part).is_dir():
                    shutil.copytree(other / part, home / part, dirs_exist_ok=True)
        ran("train", ENERGY, home, "--as-of", "2026-03-02T12:00:00Z")
        _drift(home, folder / "passengers.jsonl")
        _break(home, folder / "listings.jsonl")
        hourly(folder)

    return template(base, "browsed", make)


def hourly(folder: Path) -> Path:
    """live_metrics with steps of an hour and a small model, in a folder of its own."""
    system = folder / "live_metrics"
    shutil.copytree(LIVE, system, ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    (system / "config.yaml").write_text(_HOURLY, encoding="utf-8")
    return system


def systems_of(folder: Path) -> tuple[str, ...]:
    """What is served of it."""
    return ENERGY, TITANIC, PRICES, str(folder / "live_metrics")


def _drift(home: Path, file: Path) -> None:
    """What came of the passengers that were asked for, five rows that break the contract, and older, richer people."""
    came = passenger_rows(Passengers(seed=1, rows=400, unknown=0), datetime.now(UTC)).to_dicts()[-60:]
    new = passenger_rows(Passengers(seed=5, rows=120, unknown=120), datetime.now(UTC)).to_dicts()
    for place, row in enumerate(new):
        row |= {"PassengerId": 5000 + place, "Age": min((row["Age"] or 30) + 35, 99), "Fare": (row["Fare"] or 10) * 4}
    for row in new[:5]:
        row |= {"Pclass": 9, "Name": HOSTILE}
    file.write_text("\n".join(json.dumps(row) for row in came + new), encoding="utf-8")
    ran("run", TITANIC, home, "--source", SOURCE[TITANIC], "--as-of", "2026-03-01T00:00:00Z")
    ran("run", TITANIC, home, "--source", f"file:{file}", "--as-of", "2026-03-02T00:00:00Z")
    ran("monitor", TITANIC, home, "--as-of", "2026-03-03T00:00:00Z")


def _break(home: Path, file: Path) -> None:
    """Listings of which more break the contract than may."""
    rows = [
        {"train_id": 900_000 + n, "name": "boots", "item_condition_id": 9 if n % 2 else 1, "shipping": 1, "price": 20.0}
        for n in range(40)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    when = ("--source", f"file:{file}", "--as-of", "2026-03-02T00:00:00Z")
    done = headrace("run", PRICES, "--home", home, "--json", *PRICES_SMALL, *when)
    assert done.code == 3, done.err


@contextmanager
def browsed(base: Path, folder: Path, **environment: str) -> Iterator[Server]:
    """A server over a copy of it, in `folder`."""
    shutil.copytree(browsed_template(base), folder)
    tokens = {"HEADRACE_TOKENS": json.dumps(TOKENS)}
    with serving(folder / "home", systems=systems_of(folder), **tokens, **environment) as server:
        yield server
