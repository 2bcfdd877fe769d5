"""Where processes run. A new kind is one new file here and a line in ``EXECUTORS``, or a package with an entry point of
the group ``headrace.executors``."""

from __future__ import annotations

from headrace.errors import UsageError
from headrace.executors.base import Entry, Executor, Handover, Pool, Running
from headrace.plugins import Group

__all__ = ["EXECUTORS", "Entry", "Executor", "Handover", "Pool", "Running", "executor_of"]

EXECUTORS = Group("headrace.executors", {"local": "headrace.executors.local:LocalExecutor"})
"""Name to a class that is made without arguments; see `Executor`."""


def executor_of(name: str) -> Executor:
    """The executor of this name: what ``HEADRACE_EXECUTOR`` or ``--executor`` says.

    Raises:
        UsageError: There is none.
        PluginError: The package that brings it cannot be loaded.

    >>> type(executor_of("local")).__name__
    'LocalExecutor'
    """
    kind = EXECUTORS.load(name)
    if kind is None:
        raise UsageError(f"no executor {name!r}", where="executor", hint=f"installed: {', '.join(EXECUTORS.names())}")
    executor: Executor = kind()
    return executor
