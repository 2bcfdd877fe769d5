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
from headrace.store.verify import damaged
from headrace.system import System
from headrace.tasks import task_of


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
        last, task = None, task_of(system)
        for pins, run_id, now in _runs(system, home):
            task.make_again(home, pins, run_id, now)
            last = pins
        if last is not None:
            task.score_again(home, last)
    return sorted(lost)


def _runs(system: System, home: Home) -> Iterator[tuple[Pins, str, datetime]]:
    """The runs that predicted, in the order in which they did, with their ids and when they were made."""
    table = home.table(system.name, RUNS)
    for row in table.collect(table.scan()).sort("_version", "as_of").iter_rows(named=True):
        record: Mapping[str, Any] = json.loads(row["record"])
        if record.get("pins") and row["predictions"] is not None:
            yield Pins.from_dict(record["pins"]), row["run_id"], row["created_at"]
