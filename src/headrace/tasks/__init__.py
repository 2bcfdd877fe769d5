"""What systems do with their models: forecast series, score rows, or a task of your own. `task_of` gives a system's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import DeclarationError
from headrace.plugins import Group
from headrace.system import System
from headrace.tasks.base import Task, known_tasks

__all__ = ["TASKS", "Task", "kinds", "task_of", "task_of_prediction"]

_FORECAST, _ROWS = "forecast", "rows"
TASKS = Group(
    "headrace.tasks",
    {_FORECAST: "headrace.tasks.forecast.task:ForecastTask", _ROWS: "headrace.tasks.rows.task:RowTask"},
)
"""All there are, by kind. Other packages bring theirs by an entry point of this group."""


def task_of(system: System) -> Task:
    """The task of a system: the one that it names, or by whether it has a horizon.

    Raises:
        DeclarationError: There is none of the kind that it names.
        PluginError: An installed package has one that cannot be imported.
    """
    return _class_of(system.task or (_FORECAST if system.forecasts else _ROWS))(system)


def task_of_prediction(row: Mapping[str, Any]) -> type[Task]:
    """The task that a stored prediction is of: tasks of your own are asked first, then rows, then series."""
    own = [kind for kind in kinds() if kind not in TASKS.builtin]
    return next(task for task in map(_class_of, (*own, _ROWS, _FORECAST)) if task.owns(row))


def kinds() -> tuple[str, ...]:
    """The kinds that there are: built in, of installed packages, and of modules that were imported."""
    return tuple(dict.fromkeys([*TASKS.names(), *known_tasks()]))


def _class_of(kind: str) -> type[Task]:
    if kind not in known_tasks():
        TASKS.load(kind)  # its class registers itself
    task = known_tasks().get(kind)
    if task is None:
        hint = f"one of {', '.join(kinds())}; a task of your own is known once its module is imported"
        raise DeclarationError(f"there is no kind of task {kind!r}", where="task", hint=hint)
    return task
