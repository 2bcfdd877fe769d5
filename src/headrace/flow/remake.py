"""Making predictions, scores and features again that a damaged table lost: from the records of the runs that made them.

A run's pins say all that shaped its numbers, so they come out as they were, under the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from headrace.home import METRICS, PREDICTIONS, RUNS, Home
from headrace.lineage import Pins
from headrace.pipelines import feature, inference
from headrace.store.verify import damaged
from headrace.system import System


def remake(system: System, home: Home) -> list[str]:
    """Take the damaged files of what can be made again out of its tables, and make it again; returns those tables.

    Raises:
        HeadraceError: The facts or a model that a run pinned cannot be read, so nothing can be made again.
    """
    lost = {}
    for name in home.store.tables(system.name):
        if name in (PREDICTIONS, METRICS) or name.startswith("features-"):
            files = damaged(home.table(system.name, name))
            if files:
                lost[name] = files
    for name, files in lost.items():
        table = home.table(system.name, name)
        # Scores are told apart from what was not looked at yet by marks among them: they are made as a whole.
        table.drop(list(table.files()["path"]) if name == METRICS else files)
    if lost:
        last = None
        for pins, run_id, now in _runs(system, home):
            _again(system, home, pins, run_id, now)
            last = pins
        if last is not None:
            _scores(system, home, last)
    return sorted(lost)


def _runs(system: System, home: Home) -> Iterator[tuple[Pins, str, datetime]]:
    """The runs that predicted, in the order in which they did, with their ids and when they were made."""
    table = home.table(system.name, RUNS)
    for row in table.collect(table.scan()).sort("_version", "as_of").iter_rows(named=True):
        said: Mapping[str, Any] = json.loads(row["record"])
        if said.get("pins") and row["predictions"] is not None:
            as_of = datetime.fromisoformat(said["pins"]["as_of"])
            yield Pins(**{**said["pins"], "as_of": as_of}), row["run_id"], row["created_at"]


def _again(system: System, home: Home, pins: Pins, run_id: str, now: datetime) -> None:
    if not system.forecasts:
        from headrace.pipelines import row_inference

        row_inference.predict(system, home, pins, run_id, now)
        return
    seen = feature.look(system, home, [pins.as_of], data_version=pins.data_version)
    feature.features(system, home, seen, [pins.as_of])
    inference.predict(system, home, [inference.Reader(pins, run_id)], now=now)


def _scores(system: System, home: Home, last: Pins) -> None:
    if system.forecasts:
        from headrace.pipelines import monitoring

        monitoring.monitor(system, home, as_of=last.as_of)
        return
    from headrace.pipelines import row_inference, row_monitoring

    row_inference.export(system, home, after=0)
    row_monitoring.monitor(system, home, as_of=last.as_of, data_version=last.data_version)
