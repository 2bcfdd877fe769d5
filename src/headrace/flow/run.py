"""A run: the steps of a system for one `as_of`, from records to watched predictions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace import tracing
from headrace.errors import HeadraceError, UsageError
from headrace.flow.result import Result, RunRequest
from headrace.flow.steps import STEPS, RunContext, Step
from headrace.home import Home
from headrace.lineage import iso, run_id
from headrace.pipelines import runs
from headrace.pipelines.decisions import calls_of, tell_decisions
from headrace.store.verify import refuse_altered
from headrace.system import System
from headrace.tasks import shape

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Result", "RunRequest", "run", "write_records"]


def run(system: System, home: Home, request: RunRequest) -> Result:
    """Run the steps. Killed at any moment and run again, it ends as if it had not been killed.

    What it did is kept in the store, also where it failed. One that fails before it watches watches what is stored.

    Raises:
        UsageError: There is no such step.
        HeadraceError: A step failed; steps before it are done, and repeating them changes nothing.
    """
    steps = _chosen(request)
    shape.check(system, home)
    refuse_altered(home.store, system.name)
    result = Result(run_id(system.name, request.as_of, request.now), system.name, request.as_of)
    labels = {"headrace__system": system.name, "headrace__run_id": result.run_id, "headrace__as_of": iso(result.as_of)}
    with tracing.span(f"run {system.name}", **labels) as span:
        _run(RunContext(system, home, request, result), steps)
        if span is not None:
            span.say(headrace__model_version=result.pins.model_version if result.pins else None)
    return result


def _chosen(request: RunRequest) -> list[Step]:
    names = [step.name for step in STEPS]
    unknown = sorted(set(request.steps or ()) - set(names))
    if unknown:
        raise UsageError(f"no step {unknown[0]!r}", hint=f"one of {', '.join(names)}")
    return [step for step in STEPS if request.does(step.name)]


def _run(context: RunContext, steps: Sequence[Step]) -> None:
    """Do the steps and keep what they did, also where one fails."""
    result, began = context.result, time.perf_counter()
    try:
        context.began_with = context.home.raw(context.system).id()
        context.calls = calls_of(context.system, context.home)
        tell_decisions(context.system, context.home, context.calls)
        for step in steps:
            _do(context, step)
    except Exception as error:
        _watch_all_the_same(context, steps[-1], error)
        result.seconds, result.error = time.perf_counter() - began, _described(error)
        _count_hooks(context)
        gone = _failed(context, error)
        if gone is not None and type(error) is not UsageError:  # what it failed over follows from that
            raise gone from error
        raise
    result.seconds = time.perf_counter() - began
    _count_hooks(context)
    _refuse_gone(context)
    _record(context)


def _watch_all_the_same(context: RunContext, last: Step, error: Exception) -> None:
    """Let the rules look at what is stored where a run that was to watch failed before it did.

    Readings follow from what was known at their times, so a run that comes later, or a backfill, makes the same ones.
    What fails in this is noted beside the first error, which is the one to say.
    """
    result = context.result
    if last.name != "monitor" or (result.steps and result.steps[-1]["name"] == "monitor"):
        return
    try:
        if not context.is_gone and context.home.raw(context.system).version():
            _do(context, last)
    except Exception as second:  # noqa: BLE001  # said beside the first one
        described = _described(second)
        known = isinstance(second, HeadraceError)
        result.warnings.append(f"nor could the system be watched: {_line(described) if known else described['error']}")
        error.add_note(result.warnings[-1])
    for line in result.watched.lines() if result.watched else ():
        error.add_note(line)


def _failed(context: RunContext, error: Exception) -> UsageError | None:
    """Record a failure; returns what is wrong where the system is gone, of which nothing is written any more."""
    try:
        if context.is_gone:
            return _gone(context)
        _record(context)
    except HeadraceError as second:  # the first failure is the one to tell
        error.add_note(f"nor could the run be recorded: {second}")
    return None


def _refuse_gone(context: RunContext) -> None:
    if context.is_gone:
        raise _gone(context)


def _gone(context: RunContext) -> UsageError:
    hint = "run it again where the system is to be"
    return UsageError("was deleted or renamed while a run was under way", where=context.system.name, hint=hint)


def _count_hooks(context: RunContext) -> None:
    context.result.failed_hooks = len(context.calls.failed)
    context.result.warnings += context.calls.failed


def _do(context: RunContext, step: Step) -> None:
    _refuse_gone(context)
    context.request.on_step(step.name)
    began, rows = time.perf_counter(), 0
    try:
        with tracing.span(step.name, headrace__system=context.system.name) as span:
            rows = step.do(context)
            if span is not None:
                span.say(headrace__rows=rows)
    finally:
        seconds = round(time.perf_counter() - began, 4)
        context.result.steps.append({"name": step.name, "seconds": seconds, "rows": rows})


def _record(context: RunContext) -> None:
    write_records(context.system, context.home, [context.result], context.request.now)


def write_records(system: System, home: Home, results: Sequence[Result], now: datetime) -> None:
    """Keep what runs did, with the whole configuration: the last thing that they write."""
    config, rows = system.config(), []
    for result in results:
        status = runs.DONE if result.error is None else runs.FAILED
        row = {"status": status, "error": result.error, "created_at": iso(now), "config": config}
        record, pins = result.as_dict() | row, result.pins.as_dict() if result.pins else {}
        rows.append(
            {
                "run_id": result.run_id,
                "as_of": result.as_of,
                "created_at": now,
                "ended_at": None if result.seconds is None else now + timedelta(seconds=result.seconds),
                "known_at": result.as_of,
                "status": status,
                "error": None if result.error is None else _line(result.error),
                **{name: pins.get(name) for name in ("data_version", "model_version", "config_digest")},
                "predictions": None if result.frame is None else result.frame.height,
                "watched": result.watched is not None,
                "record": record,
            }
        )
    runs.write(home, system.name, rows)


def _line(error: Mapping[str, str | None]) -> str:
    where = "" if error.get("where") is None else f"{error['where']}: "
    return f"{error['error']}: {where}{error['message']}"


def _described(error: Exception) -> dict[str, str | None]:
    """A failure for the record. Of one that is not ours only the kind: its words may hold a secret."""
    if isinstance(error, HeadraceError):
        return error.as_dict()
    return {"error": type(error).__name__, "message": "is no error that headrace knows; see its log"}
