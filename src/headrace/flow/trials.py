"""One trial, in whatever process: what a search hands to the executor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace.errors import HeadraceError
from headrace.executors import Handover
from headrace.home import Home
from headrace.loading import adjusted
from headrace.tasks import task_of
from headrace.tasks.objective import Objective
from headrace.tuning import Tuning
from headrace.tuning.study import Study
from headrace.tuning.values import settings_of


@dataclass(frozen=True)
class TrialTask:
    """One more trial of a study; it can be pickled.

    Attributes:
        handed: The system and the home.
        tuning: What is searched.
        study: The study's name.
        as_of: What was known then is used, UTC.
        data_version: Logical version of the raw table.
        limit: By the machine's clock, in seconds: no trial begins later. None: no limit.
    """

    handed: Handover
    tuning: Tuning
    study: str
    as_of: datetime
    data_version: int
    limit: float | None


@dataclass(frozen=True)
class UnseenTask:
    """One configuration to be judged on the data that no trial sees; it can be pickled.

    Attributes:
        trials: Of which search.
        place: Which of those that are compared.
        handed: The system, as it is compared.
        values: What is set over it, by path.
    """

    trials: TrialTask
    place: int
    handed: Handover
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What a process keeps from one trial to the next: the data, parted, and the study."""

    task: TrialTask
    objective: Objective
    study: Study


_benches: dict[str, Bench] = {}
"""By home and study; the last one alone, since data may be large."""


def do_trial(task: TrialTask) -> bool:
    """Do one trial; False where the budget was met meanwhile, or the time is over.

    A configuration that cannot be fitted is a failed trial.
    """
    if task.limit is not None and time.time() >= task.limit:
        return False
    bench = bench_of(task)
    if not bench.study.left():
        return False
    with contextlib.suppress(HeadraceError):  # the study has its words
        bench.study.run(_loss(task, bench))
    return True


def do_unseen(task: UnseenTask) -> tuple[int, Any]:
    """Its place, and what its search's objective compares it by."""
    system = adjusted(task.handed.system, settings_of(task.values))
    return task.place, bench_of(task.trials).objective.unseen(system)


def clear() -> None:
    """Let go of what this process keeps for trials."""
    for bench in _benches.values():
        bench.study.workers.leave()
    _benches.clear()


def _loss(task: TrialTask, bench: Bench) -> Callable[[Mapping[str, Any], Callable[[int, float], None]], float]:
    def loss(values: Mapping[str, Any], report: Callable[[int, float], None]) -> float:
        return bench.objective.loss(adjusted(task.handed.system, settings_of(values)), report)

    return loss


def bench_of(task: TrialTask, home: Home | None = None) -> Bench:
    """What this process keeps for the trials of a task; the data is read once.

    Args:
        task: Of which.
        home: The task's home, where it is open.
    """
    key = f"{task.handed.settings.home}|{task.study}"
    if key not in _benches or _benches[key].task.tuning != task.tuning:
        clear()
        system = task.handed.system
        home = home or task.handed.home()
        objective = task_of(system).objective(home, as_of=task.as_of, data_version=task.data_version)
        study = home.study(system.name, task.tuning, task.study, objective.folds)
        _benches[key] = Bench(task, objective, study)
    return _benches[key]
