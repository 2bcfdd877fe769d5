"""What a search found, and the configurations of a system, in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json
from headrace.console.reports import print_next
from headrace.console.table import TableStyle, cell, print_table, terminal

if TYPE_CHECKING:
    from headrace.flow.tune import SearchResult
    from headrace.home import Home
    from headrace.registry.configurations import Configuration
    from headrace.tasks.objective import UnseenComparison

_TWICE = 2
"""Of so many standard errors a difference is more than noise."""


def print_search(home: Home, done: SearchResult, settings: Sequence[str] = ()) -> None:
    """The trials, the best values beside the present ones, the comparison on unseen data, and what follows.

    Args:
        home: Where the configuration is.
        done: The search.
        settings: What the command set: the configuration belongs to the declaration with that.
    """
    console = terminal()
    counts = {"pruned": done.count("pruned"), "failed": done.count("failed")}
    others = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
    ended = " when it was interrupted" if done.interrupted else ""
    console.print(
        f"{done.system}: {done.count('complete'):,} trials{others}{ended}, {done.seconds:,.1f} s", soft_wrap=True
    )
    if done.reaped:
        console.print(f"{done.reaped:,} trials of processes that are gone were given up")
    if done.best is None:
        return
    present = "" if done.searched is None else f", present {done.searched:.5g}"
    console.print(f"{_called(done.measure)} on {done.seen}: best {done.best.loss:.5g}{present}", soft_wrap=True)
    if done.left_out is not None:
        console.print(f"no trial has the present values: {done.left_out}", soft_wrap=True)
    _values(done.present, done.best.values)
    if done.unseen is not None:
        console.print(_unseen(done.unseen), soft_wrap=True)
    _outcome(home, done, settings)


def print_configurations(
    system: str, found: Sequence[Configuration], current: Configuration | None, *, as_json: bool, home: Home
) -> None:
    """All configurations, the one in use marked."""
    rows = [_row(configuration, current) for configuration in found]
    if as_json:
        print_json({"system": system, "current": None if current is None else current.version, "configurations": rows})
        return
    import polars as pl

    if not rows:
        terminal().print(f"{system} was never tuned in {home.path}: headrace tune {system}", soft_wrap=True)
        return
    shown = [
        {
            "version": row["version"],
            "state": row["state"],
            "as_of": row["as_of"],
            "unseen": row["unseen"].get("tuned"),
            "before": row["unseen"].get("present"),
            "values": ", ".join(f"{path.rpartition('.')[2]} {cell(value)}" for path, value in row["overrides"].items()),
            "digest": row["digest"],
        }
        for row in rows
    ]
    frame = pl.DataFrame(shown, infer_schema_length=None)
    first = ("version", "state", "unseen", "before", "values", "as_of", "digest")
    style = TableStyle(f"{system}: configurations", first, folding=("values",), kept=("version", "state"))
    print_table(frame, style)


def _row(configuration: Configuration, current: Configuration | None) -> dict[str, Any]:
    record = configuration.record
    state = "withdrawn" if configuration.withdrawn else "stored" if configuration.won else "lost"
    return {
        "version": configuration.version,
        "state": "in use" if current is not None and current.version == configuration.version else state,
        "as_of": configuration.as_of,
        "created_at": configuration.created_at,
        "digest": configuration.digest,
        "declared": configuration.declared,
        "overrides": dict(configuration.overrides),
        "unseen": record.get("unseen") or {},
        "best": record.get("best"),
        "trials": record.get("trials"),
        "study": record.get("study"),
        "data_version": record.get("data_version"),
    }


def _values(present: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Each searched path with the value that it has and the best one."""
    widest = max(map(len, best), default=0)
    for path, value in best.items():
        before = f"{cell(present[path])} -> " if path in present and present[path] != value else ""
        terminal().print(f"  {path.ljust(widest)}  {before}{cell(value)}", soft_wrap=True)


def _unseen(unseen: UnseenComparison) -> str:
    head = f"on {unseen.count:,} {unseen.unit} that no trial saw: {unseen.tuned:.5g}, present {unseen.present:.5g}"
    if unseen.error is None:
        return head
    noise = "" if abs(unseen.difference) > _TWICE * unseen.error else ": within noise"
    return f"{head}, difference {unseen.difference:+.2g} (standard error {unseen.error:.2g}{noise})"


def _outcome(home: Home, done: SearchResult, settings: Sequence[str]) -> None:
    configuration, name = done.configuration, done.system
    kept = [setting for setting in settings if not setting.startswith("tuning.")]
    options = "".join(f" --set {shlex.quote(setting)}" for setting in kept)
    if configuration is None:
        terminal().print("the present values are the best: nothing changes", soft_wrap=True)
    elif configuration.won and not configuration.withdrawn:
        beside = ", with the same --set" if kept else ""
        message = f"configuration {configuration.version} is used by train and run from now on{beside}"
        terminal().print(message, soft_wrap=True)
        print_next(f"headrace train {name}{options}", home)
        print_next(f"headrace configurations {name} --withdraw {configuration.version}", home, "to undo it")
    else:
        state = "was withdrawn" if configuration.withdrawn else "is not better there"
        message = f"configuration {configuration.version} is stored, and not used: it {state}"
        terminal().print(message, soft_wrap=True)


def _called(measure: str) -> str:
    from headrace.tasks.verdict import called

    return called(measure)
