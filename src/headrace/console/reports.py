"""What commands did, in tables and sentences."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json, print_tree
from headrace.console.table import SHOWN, TableStyle, cell, print_table, terminal
from headrace.lineage import iso
from headrace.policy.acting import of_each

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.flow.backfill import Backfilled
    from headrace.flow.result import Result
    from headrace.home import Home
    from headrace.registry import ModelVersion, Trained
    from headrace.system import System
    from headrace.tasks.evaluation import Evaluation
    from headrace.tasks.sections import Block

_FROM_STORE = "no source is named (--source file:PATH): what is stored was taken"
METRICS = ("wape", "mape", "rmse", "coverage")
_SCORES = (*METRICS, "accuracy", "log_loss", "brier", "auc")
_HELD_BACK = ("rmsle", "rmse", "mape", "wape", "rmsse", "coverage", "coverage_least", "accuracy", "log_loss", "auc")


def print_started(where: Mapping[str, str], systems: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """That a door is open: where it is, and what answers behind it."""
    if as_json:
        print_json({**where, "systems": systems})
    else:
        width = max(map(len, (*where, "system")))
        lines = [f"{name:<{width}}  {text}" for name, text in where.items()]
        for system in systems:
            says = system["says"] or f"version {system['version']}"
            lines.append(f"{'system':<{width}}  {system['name']}, {says}")
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()  # the command goes on, perhaps for months


def print_runs(system: str, home: Home, runs: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Runs, how they ended, and why."""
    if as_json:
        print_json({"system": system, "runs": runs})
        return
    import polars as pl

    failed = any(run["error"] for run in runs)
    shown = ("as_of", "status", *(("error",) if failed else ()), "predictions", "created_at", "ended_at", "run_id")
    if not runs:
        sys.stdout.write(f"{system} has no such run in {home.path}: headrace run {system}\n")
        return
    frame = pl.DataFrame([{name: run[name] for name in shown} for run in runs], infer_schema_length=None)
    first = ("as_of", "status", "error", "predictions", "ended_at", "run_id")
    print_table(frame, TableStyle(f"{system}: runs, newest first", first, kept=("as_of", "status", "error")))


_COSTS = {"train_cpu_s": "CPU s", "predict_us": "us each", "bytes": "bytes"}
"""What a version cost to train, and costs to ask, and the size of its files."""


def print_models(
    system: str,
    home: Home,
    versions: Sequence[ModelVersion],
    comparisons: Mapping[int, Mapping[str, Any]],
    *,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Model versions with their state and scores, and how they stand beside the champion where monitoring said so.

    Args:
        system: The system's name.
        home: Where they are.
        versions: The versions.
        comparisons: What monitoring said of a version beside the champion, by number.
        as_json: One document.
        more: What the document tells besides.
    """
    shown = [name for name in _SCORES if not versions or any(name in v.metrics for v in versions)]
    rows = [
        {
            "version": v.version,
            "state": v.state,
            "as_of": v.as_of,
            **{name: v.metrics.get(name) for name in shown},
            "digest": v.digest[:8],
            "reason": v.reason,
            **({"decision": v.decision, "by": v.decided_by} if any(v.decided_by for v in versions) else {}),
            **{called: v.cost.get(name) for name, called in _COSTS.items()},
            **({"beside": comparisons[v.version]["line"] if v.version in comparisons else None} if comparisons else {}),
        }
        for v in versions
    ]
    if as_json:
        champion = next((v.version for v in versions if v.state == "champion"), None)
        full = [_without_costs(row) | _whole(v, comparisons) for row, v in zip(rows, versions, strict=True)]
        print_json({"system": system, "champion": champion, **(more or {}), "versions": full})
        return
    import polars as pl

    if not rows:
        sys.stdout.write(f"{system} has no model in {home.path}: headrace run {system}\n")
        return
    first = (
        "version",
        "state",
        *shown[:2],
        "reason",
        "decision",
        "by",
        "beside",
        *_COSTS.values(),
        "as_of",
        *shown[2:],
    )
    folding, kept = ("reason", "decision", "beside"), ("version", "state", "reason", "decision")
    look = TableStyle(f"{system}: model versions", first, folding, kept)
    print_table(pl.DataFrame(rows, infer_schema_length=None), look)
    if versions[-1].because is not None:
        sys.stdout.write(f"version {versions[-1].version} was trained because {versions[-1].because}\n")
    for v in versions:
        if v.state == "pending":
            commands = f"headrace promote {system} {v.version}, or headrace reject {system} {v.version}"
            sys.stdout.write(f"version {v.version} waits for approval: {commands}\n")


def _without_costs(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _COSTS.values()}


def _whole(version: ModelVersion, shadows: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """What only the document tells of a version."""
    document: dict[str, Any] = {"metrics": dict(version.metrics), "pins": dict(version.pins)}
    document["cost"] = dict(version.cost)
    if version.version in shadows:
        document["beside"] = shadows[version.version]
    if version.evidence is not None:
        document["evidence"] = version.evidence
    if version.because is not None:
        document["because"] = version.because
    if version.decided_by is not None:
        document |= {"decided_by": version.decided_by, "decided_at": version.decided_at}
    return document


def print_findings(findings: Sequence[Mapping[str, str]], *, as_json: bool) -> None:
    """What `doctor` found."""
    if as_json:
        print_json({"healthy": all(f["status"] != "failed" for f in findings), "findings": findings})
        return
    for f in findings:
        sys.stdout.write(f"{f['status']:>8}  {f['what']}: {f['said']}\n")


def print_verified(done: Mapping[str, Any], *, as_json: bool) -> None:
    """What `verify` found: a line a table, and each problem."""
    if as_json:
        print_json(done)
        return
    for table in done["tables"]:
        rows = "rows unknown" if table["rows"] is None else f"{table['rows']:,} rows"
        put_back = f", {len(table['restored'])} commits put back" if table["restored"] else ""
        state = "ok" if table["ok"] else "damaged"
        name = "/".join(part for part in (table["system"], table["name"]) if part)
        sys.stdout.write(f"{state:>8}  {name}: {rows}{put_back}\n")
        for problem in table["problems"]:
            sys.stdout.write(f"{'':>10}{problem}\n")
        if "hint" in table:
            sys.stdout.write(f"{'':>10}hint: {table['hint']}\n")
    if not done["tables"]:
        sys.stdout.write("nothing is stored\n")


def print_report(done: Mapping[str, Any], *, as_json: bool) -> None:
    """Where a report was written, its figures, and a line for each warning."""
    warnings = [] if as_json else done.get("warnings", [])
    print_tree({name: value for name, value in done.items() if as_json or name != "warnings"}, as_json=as_json)
    for text in warnings:
        terminal().print(f"warning  {text}", soft_wrap=True)


def print_decision(system: str, version: int, since: datetime, before: int | None) -> None:
    """Who is the champion now, from when on, and who was."""
    if version == before:
        sys.stdout.write(f"{system}: version {version} was the champion already, from {iso(since)} on\n")
        return
    was = f", in place of version {before}" if before is not None else ""
    sys.stdout.write(f"{system}: now version {version}, from {iso(since)} on{was}\n")


def print_made(files: Sequence[Path], system: str, findings: Sequence[tuple[str, str, str]], *, as_json: bool) -> None:
    """The files of a new system, and what was seen in the file that it was made from: what, its value, and why."""
    if as_json:
        rows = [{"what": subject, "value": value, "why": reason} for subject, value, reason in findings]
        summary = {"system": system, "files": [str(file) for file in files], "next": f"headrace run {system}"}
        print_json(summary | ({"findings": rows} if rows else {}))
        return
    width = max((len(subject) for subject, _, _ in findings), default=8)
    lines = [f"{subject:{width}} {value}" + (f"  ({reason})" if reason else "") for subject, value, reason in findings]
    room, indent = terminal().width, " " * (width + 1)
    lines = [part for line in lines for part in wrap(line, room, subsequent_indent=indent, break_on_hyphens=False)]
    lines += [f"{'made':{width}} {file}" for file in files]
    sys.stdout.write("\n".join([*lines, f"{'next':{width}} headrace run {system}"]) + "\n")


def _held_back(metrics: Mapping[str, float | None]) -> Iterator[str]:
    """Metrics of a training in a few words, the one that has a standard error with it."""
    for name in _HELD_BACK:
        if (value := metrics.get(name)) is not None and value:
            error = metrics.get(f"{name}_se")
            yield f"{name} {value:.3g}" + (f" ± {error:.1g}" if error else "")


def run_report(system: System, home: Home, result: Result) -> None:
    """What a run did: steps, validation, forecasts beside the baseline's, and where things are."""
    from headrace.tasks import task_of

    console = terminal()
    if result.validation is not None and result.validation.remarkable:
        console.print(result.validation.as_table(f"{system.name}: validation"))
    if result.from_store:
        console.print(_FROM_STORE)
    for text in result.warnings:
        console.print(f"warning  {text}", soft_wrap=True)
    for step in result.steps:
        unit = "model" if step["name"] == "train" else "rows"  # what a training makes is a version, of none or one
        console.print(f"{step['name']:>10}  {step['rows']:>9,} {unit:<5}  {step['seconds']:7.2f} s")
    _counted(result.rows, result.raw)
    if result.trained is not None:
        _trained(system, result, result.trained)
    acted = [fact.line for fact in of_each(result.acted)]
    for line in [*acted, *([] if result.watched is None else result.watched.lines())]:
        console.print(line, soft_wrap=True)
    if result.waits is not None:
        console.print(f"\ntraining is due: {result.waits}")
    summary = None if result.predicted is None else task_of(system).summary(result.predicted)
    if summary is not None:
        _blocks(summary.blocks)
    if result.monitored is not None:
        _errors(system, result)
        _beside(result)
    console.print(f"\ntables   {home.store.uri}/{system.name}\nreports  {home.reports(system.name)}", soft_wrap=True)
    for word, text in ({} if summary is None else summary.commands).items():
        console.print(f"{word:<8} {text}{_at(home)}", soft_wrap=True)
    _go_on(system, home, result)


def _trained(system: System, result: Result, trained: Trained) -> None:
    """What was trained, why, and what became of it."""
    console = terminal()
    version = trained.version
    scores = ", ".join(_held_back(version.metrics))
    waits = "pending approval" if trained.held else "not promoted"
    outcome = "champion" if trained.promoted else waits
    held = f"; held back: {scores}" if scores else ""
    if system.time is not None and version.params.get("held_by") == "random":
        held += " (of random rows: too few are later than others)"
    if result.because is not None:
        console.print(f"\ntrained because {result.because}")
    console.print(f"model version {version.version}: {outcome} ({trained.reason}){held}")
    if "config_version" in version.pins:
        replaced = version.pins.get("config_replaced")
        but = f", but for what --set replaced: {', '.join(replaced)}" if replaced else ""
        console.print(f"configuration {version.pins['config_version']}, found by tuning, was used{but}", soft_wrap=True)
    if (learnt := trained.learnt_from) is not None:
        message = f"{learnt['served']:,} rows as they were served, {learnt['recomputed']:,} recomputed"
        console.print(f"learnt from {message}")
    if trained.sampled is not None:
        learners, rows = ", ".join(trained.sampled["learners"]), trained.sampled["rows"]
        console.print(f"{learners}: learnt from {rows:,} of {version.pins['rows']:,} rows (model.max_rows)")
    if trained.apart:
        console.print(f"learnt without {trained.apart:,} rows that learn_from sets apart")


def _go_on(system: System, home: Home, result: Result) -> None:
    """What can be looked at next."""
    console, shown_home = terminal(), _at(home)
    if result.frame is not None and result.frame.height:
        first = result.frame["id"][0]
        console.print(
            f"next     headrace predictions {system.name}{shown_home}; headrace trace {first}{shown_home}",
            soft_wrap=True,
        )
    elif result.monitored is not None:
        console.print(f"next     headrace report {system.name}{shown_home}", soft_wrap=True)


def _blocks(blocks: Sequence[Block]) -> None:
    """Lines and tables of a task."""
    for block in blocks:
        if isinstance(block, str):
            terminal().print(block, soft_wrap=True)
        else:
            print_table(block.frame, TableStyle(block.title, tuple(block.first), kept=tuple(block.kept)))


def _counted(rows: Mapping[str, int], raw: int | None) -> None:
    """What became of every row that was read, and of how many raw rows a function of the source's made them."""
    if raw is not None:
        terminal().print(f"{raw:,} raw rows, prepared", soft_wrap=True)
    if rows:
        parts = " + ".join(f"{count:,} {name}" for name, count in rows.items() if name != "read")
        terminal().print(f"{rows['read']:,} rows read = {parts}", soft_wrap=True)


def print_next(command: str, home: Home, why: str = "") -> None:
    """A command that goes on from here, and in a comment behind all its options what for."""
    sys.stdout.write(f"next     {command}{_at(home)}{f'  # {why}' if why else ''}\n")


def _at(home: Home) -> str:
    """The option that names this home again, where it needs naming."""
    return "" if home.path == Path(".headrace").absolute() else f" --home {home.settings.home}"


def backfill_report(system: System, home: Home, done: Backfilled) -> None:
    """What a backfill did, and how to go on."""
    console = terminal()
    if done.from_store:
        console.print(_FROM_STORE)
    console.print(
        f"{done.runs:,} runs ({done.repeated:,} were there), {done.predictions:,} predictions ({done.stored:,} new), "
        f"{len(done.trained)} trainings, {done.scored:,} new scores in {done.seconds:,.1f} s"
    )
    _counted(done.rows, done.raw)
    actions = {(each["as_of"], each["action"], each["outcome"]): each for each in done.actions}  # alarms share one
    for action in list(actions.values())[-SHOWN:]:
        console.print(f"{action['as_of']}  {action['action']} {action['outcome']}: {action['reason']}", soft_wrap=True)
    for failure in done.failed[:SHOWN]:
        console.print(f"failed as of {failure['as_of']}: {failure['message']}")
    if len(done.failed) > SHOWN:
        console.print(f"... and {len(done.failed) - SHOWN:,} more failed")
    shown_home = _at(home)
    console.print(
        f"next     headrace monitor {system.name}{shown_home}; headrace report {system.name}{shown_home}",
        soft_wrap=True,
    )


def evaluation_report(evaluation: Evaluation, *, as_json: bool) -> None:
    """How good predictions were: the one document, or what the task shows of it."""
    blocks = [] if as_json else evaluation.blocks()
    if blocks:
        _blocks(blocks)
    else:
        print_tree(evaluation.as_dict(), as_json=as_json)


def _without_wape(matured: int, wape: float | None) -> None:
    """Why there is none: a forecast of nothing but zeros would have the best one."""
    if matured and wape is None:
        terminal().print(
            "no wape and mape, because most values are zero: see rmsse beside the baselines', bias and coverage"
        )


def _errors(system: System, result: Result) -> None:
    """The metrics of what has matured, beside the baselines' where there are some."""
    import polars as pl

    assert result.monitored is not None
    metrics, rests = dict(result.monitored.overall), result.monitored.completeness
    expected = rests.get("expected", rests.get("predictions", 0))
    if not metrics:
        terminal().print("\nno truth is known yet of what was predicted")
        _known_before(system, rests)
        return
    prefixes = dict.fromkeys(name.rpartition("_")[0] for name in metrics if name.startswith("naive_"))
    model_metrics = {n: v for n, v in metrics.items() if not n.startswith("naive_")}
    rows = [{"forecast": system.name, "n": rests["matured"], **model_metrics}]
    for prefix in prefixes:
        if prefix.endswith("_model"):  # on the pairs of a baseline: said where these are not all
            if metrics.get(f"{prefix.removesuffix('_model')}_n") == rests["matured"]:
                continue
            metrics[f"{prefix}_n"] = metrics.get(f"{prefix.removesuffix('_model')}_n")
        rows.append({"forecast": prefix, **{n: metrics.get(f"{prefix}_{n}") for n in rows[0] if n != "forecast"}})
    title = (
        f"errors of {rests['matured']:,} of {expected:,} predictions, {cell(rests['since'])} to {cell(rests['until'])}"
    )
    first = ("forecast", "n", *_SCORES)
    terminal().print()
    print_table(pl.DataFrame(rows, infer_schema_length=None), TableStyle(title, first, kept=("forecast",)))
    if "wape" in model_metrics:
        _without_wape(rests["matured"], model_metrics["wape"])
    _known_before(system, rests)


def _known_before(system: System, rests: Mapping[str, Any]) -> None:
    """Which truths do not count, and what to do where they should."""
    if not (count := rests.get("known_before")):
        return
    reason = f"{count:,} predictions have a {system.target} that was known before they were made: they prove nothing"
    if system.time is not None and system.source.known_at is None and not system.source.lag:
        reason += f"; if it comes later than {system.time}, declare source.lag or source.known_at"
    terminal().print(reason, soft_wrap=True)


def _beside(result: Result) -> None:
    """How versions stand that scored beside the champion."""
    for version in result.beside:
        terminal().print(f"beside   {version.line()}", soft_wrap=True)
