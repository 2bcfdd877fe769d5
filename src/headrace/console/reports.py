"""What commands did, in tables and sentences."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json
from headrace.console.table import SHOWN, Look, cell, print_table, terminal
from headrace.lineage import iso

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.flow.backfill import Backfilled
    from headrace.flow.evaluate import Evaluation
    from headrace.flow.run import Result
    from headrace.home import Home
    from headrace.registry import ModelVersion
    from headrace.system import System

_FROM_STORE = "no source is named (--source file:PATH): what is stored was taken"
METRICS = ("wape", "mape", "rmse", "coverage")
_SCORES = (*METRICS, "accuracy", "log_loss", "brier", "auc")
_HELD_BACK = ("mape", "wape", "rmsse", "coverage", "accuracy", "log_loss", "auc")


def print_started(where: Mapping[str, str], systems: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """That a door is open: where it is, and what answers behind it."""
    if as_json:
        print_json({**where, "systems": systems})
    else:
        width = max(map(len, (*where, "system")))
        lines = [f"{name:<{width}}  {text}" for name, text in where.items()]
        for each in systems:
            says = each["says"] or f"version {each['version']}"
            lines.append(f"{'system':<{width}}  {each['name']}, {says}")
        sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()  # the command goes on, perhaps for months


def print_runs(system: str, home: Home, found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Runs, how they ended, and why."""
    if as_json:
        print_json({"system": system, "runs": found})
        return
    import polars as pl

    failed = any(run["error"] for run in found)
    shown = ("as_of", "status", *(("error",) if failed else ()), "predictions", "created_at", "ended_at", "run_id")
    if not found:
        sys.stdout.write(f"{system} has no such run in {home.path}: headrace run {system}\n")
        return
    frame = pl.DataFrame([{name: run[name] for name in shown} for run in found], infer_schema_length=None)
    first = ("as_of", "status", "error", "predictions", "ended_at", "run_id")
    print_table(frame, Look(f"{system}: runs, newest first", first, kept=("as_of", "status", "error")))


def print_models(system: str, home: Home, versions: Sequence[ModelVersion], *, as_json: bool) -> None:
    """Model versions with their state and scores."""
    shown = [name for name in _SCORES if not versions or any(name in v.metrics for v in versions)]
    rows = [
        {
            "version": v.version,
            "state": v.state,
            "as_of": v.as_of,
            **{name: v.metrics.get(name) for name in shown},
            "digest": v.digest[:8],
            "reason": v.reason,
        }
        for v in versions
    ]
    if as_json:
        champion = next((v.version for v in versions if v.state == "champion"), None)
        full = [row | {"metrics": dict(v.metrics), "pins": dict(v.pins)} for row, v in zip(rows, versions, strict=True)]
        print_json({"system": system, "champion": champion, "versions": full})
        return
    import polars as pl

    if not rows:
        sys.stdout.write(f"{system} has no model in {home.path}: headrace run {system}\n")
        return
    first = ("version", "state", *shown[:2], "reason", "as_of", *shown[2:])
    look = Look(f"{system}: model versions", first, kept=("version", "state", "reason"))
    print_table(pl.DataFrame(rows, infer_schema_length=None), look)


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
    for each in done["tables"]:
        rows = "rows unknown" if each["rows"] is None else f"{each['rows']:,} rows"
        put_back = f", {len(each['restored'])} commits put back" if each["restored"] else ""
        state = "ok" if each["ok"] else "damaged"
        name = "/".join(part for part in (each["system"], each["name"]) if part)
        sys.stdout.write(f"{state:>8}  {name}: {rows}{put_back}\n")
        for problem in each["problems"]:
            sys.stdout.write(f"{'':>10}{problem}\n")
        if "hint" in each:
            sys.stdout.write(f"{'':>10}hint: {each['hint']}\n")
    if not done["tables"]:
        sys.stdout.write("nothing is stored\n")


def print_decision(system: str, version: int, since: datetime, before: int | None) -> None:
    """Who is the champion now, from when on, and who was."""
    if version == before:
        sys.stdout.write(f"{system}: version {version} was the champion already, from {iso(since)} on\n")
        return
    was = f", in place of version {before}" if before is not None else ""
    sys.stdout.write(f"{system}: now version {version}, from {iso(since)} on{was}\n")


def print_made(files: Sequence[Path], system: str, *, as_json: bool) -> None:
    """The files of a new system."""
    if as_json:
        print_json({"system": system, "files": [str(file) for file in files], "next": f"headrace run {system}"})
        return
    lines = [f"made     {file}" for file in files]
    sys.stdout.write("\n".join([*lines, f"next     headrace run {system}"]) + "\n")


def run_report(system: System, home: Home, result: Result) -> None:
    """What a run did: steps, validation, forecasts beside the baseline's, and where things are."""
    console = terminal()
    if result.validation is not None and result.validation.remarkable:
        console.print(result.validation.as_table(f"{system.name}: validation"))
    if result.from_store:
        console.print(_FROM_STORE)
    for text in result.warnings:
        console.print(f"warning  {text}", soft_wrap=True)
    for step in result.steps:
        console.print(f"{step['name']:>10}  {step['rows']:>9,} rows  {step['seconds']:7.2f} s")
    _counted(result.rows)
    if result.trained is not None:
        version = result.trained.version
        scores = ", ".join(f"{n} {version.metrics[n]:.3g}" for n in _HELD_BACK if version.metrics.get(n))
        outcome = "champion" if result.trained.promoted else "not promoted"
        held = f"; held back: {scores}" if scores else ""
        console.print(f"\nmodel version {version.version}: {outcome} ({result.trained.reason}){held}")
    if result.predicted is not None:
        _forecasts(system, result)
        for what, rows in (
            ("too young for the model:", result.predicted.young),
            ("no forecast for", result.predicted.skipped),
        ):
            for row in rows[:SHOWN]:
                name = ", ".join(str(row[k]) for k in system.keys) or system.name
                console.print(what, name, "-", row["reason"])
    if result.monitored is not None:
        _errors(system, result)
    console.print(f"\ntables   {home.store.uri}/{system.name}\nreports  {home.reports(system.name)}", soft_wrap=True)
    if result.scored is not None:
        _rows(system, result)
    at = _at(home)
    if result.frame is not None:
        first = result.frame["id"][0] if result.frame.height else "ID"
        console.print(f"next     headrace predictions {system.name}{at}; headrace trace {first}{at}", soft_wrap=True)
    elif result.monitored is not None:
        console.print(f"next     headrace report {system.name}{at}", soft_wrap=True)


def _counted(rows: Mapping[str, int]) -> None:
    """What became of every row that was read."""
    if rows:
        parts = " + ".join(f"{count:,} {name}" for name, count in rows.items() if name != "read")
        terminal().print(f"{rows['read']:,} rows read = {parts}", soft_wrap=True)


def print_next(command: str, home: Home) -> None:
    """A command that goes on from here."""
    sys.stdout.write(f"next     {command}{_at(home)}\n")


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
    _counted(done.rows)
    for each in done.failed[:SHOWN]:
        console.print(f"failed as of {each['as_of']}: {each['message']}")
    if len(done.failed) > SHOWN:
        console.print(f"... and {len(done.failed) - SHOWN:,} more failed")
    at = _at(home)
    console.print(f"next     headrace monitor {system.name}{at}; headrace report {system.name}{at}", soft_wrap=True)


def evaluation_report(done: Evaluation) -> None:
    """How good the forecasts were: over all, beside the baselines, by series and by step ahead."""
    import polars as pl

    data, keys = done.as_dict(), done.system.keys
    rows = [{"forecast": done.system.name, "n": data["matured"], **data["metrics"]}]
    for name, found in data["baselines"].items():
        own = {metric: value for metric, value in found.items() if not metric.startswith("model_")}
        rows.append({"forecast": name, **own})
        if found["n"] != data["matured"]:  # on the pairs of a baseline: said where these are not all
            on_its = {metric: found[f"model_{metric}"] for metric in own if f"model_{metric}" in found}
            rows.append({"forecast": f"{name}_model", "n": found["n"], **on_its})
    title = f"{data['matured']:,} of {data['rows']:,} predictions from {done.origins:,} origins, "
    title += f"{len(done.trainings)} trainings, {done.seconds:,.1f} s"
    first = ("forecast", "n", *METRICS)
    print_table(pl.DataFrame(rows, infer_schema_length=None), Look(title, first, kept=("forecast",)))
    most = "wape" if data["metrics"]["wape"] is not None else "rmsse"
    naive, shown = [f"{name}_{most}" for name in data["baselines"]], dict.fromkeys(("n", *METRICS, most))
    if keys:
        by_series = done.table(*keys).sort(most, descending=True, nulls_last=True).select(*keys, *shown, *naive)
        print_table(by_series, Look("by series, worst first", (*keys, most, *naive), kept=keys))
    by_step = done.table("ahead").select("ahead", *shown, *naive)
    print_table(by_step, Look("by step ahead", ("ahead", most, *naive), kept=("ahead",)))
    _without_wape(data["matured"], data["metrics"]["wape"])


def _without_wape(matured: int, wape: float | None) -> None:
    """Why there is none: a forecast of nothing but zeros would have the best one."""
    if matured and wape is None:
        terminal().print(
            "no wape and mape, because most values are zero: see rmsse beside the baselines', bias and coverage"
        )


def _rows(system: System, result: Result) -> None:
    """How many rows were predicted, and what."""
    frame = result.scored
    assert frame is not None
    counts = frame[system.target].value_counts(sort=True).iter_rows()
    told = ", ".join(f"{count:,} x {value}" for value, count in counts) or "no row waits for a prediction"
    console = terminal()
    console.print(f"\n{system.name}: {frame.height:,} rows without {system.target}, {result.stored:,} new: {told}")
    console.print(f"serve    headrace serve {system.name}")


def _errors(system: System, result: Result) -> None:
    """The metrics of what has matured, beside the baselines' where there are some."""
    import polars as pl

    assert result.monitored is not None
    found, rests = dict(result.monitored.overall), result.monitored.completeness
    made = rests.get("expected", rests.get("predictions", 0))
    if not found:
        terminal().print("\nno truth is known yet of what was predicted")
        return
    prefixes = dict.fromkeys(name.rpartition("_")[0] for name in found if name.startswith("naive_"))
    ours = {n: v for n, v in found.items() if not n.startswith("naive_")}
    rows = [{"forecast": system.name, "n": rests["matured"], **ours}]
    for prefix in prefixes:
        if prefix.endswith("_model"):  # on the pairs of a baseline: said where these are not all
            if found.get(f"{prefix.removesuffix('_model')}_n") == rests["matured"]:
                continue
            found[f"{prefix}_n"] = found.get(f"{prefix.removesuffix('_model')}_n")
        rows.append({"forecast": prefix, **{n: found.get(f"{prefix}_{n}") for n in rows[0] if n != "forecast"}})
    title = f"errors of {rests['matured']:,} of {made:,} predictions, {cell(rests['since'])} to {cell(rests['until'])}"
    first = ("forecast", "n", *_SCORES)
    terminal().print()
    print_table(pl.DataFrame(rows, infer_schema_length=None), Look(title, first, kept=("forecast",)))
    if "wape" in ours:
        _without_wape(rests["matured"], ours["wape"])


def _forecasts(system: System, result: Result) -> None:
    """The horizon's sum per series beside each baseline's, the largest series first."""
    import polars as pl

    assert result.predicted is not None
    frame = result.predicted.frame
    baselines = [c for c in frame.columns if c.startswith("baseline_")]
    nearest = pl.col("ahead") == 1
    table = (
        frame.group_by(system.keys, maintain_order=True)
        .agg(
            pl.col(system.event_time).filter(nearest).first().alias("next"),
            *(pl.col(c).filter(nearest).first() for c in ("value", "lower", "upper")),
            pl.col("value").sum().alias("horizon sum"),
            *(pl.when(pl.col(c).count() > 0).then(pl.col(c).sum()) for c in baselines),
        )
        .sort("horizon sum", descending=True, maintain_order=True)
    )
    title = f"{system.name}: {frame.height:,} forecasts of {system.target}, {result.predicted.stored:,} new"
    first = (*system.keys, "next", "value", "lower", "upper", "horizon sum", *baselines)
    terminal().print(f"\nthe newest value known is of {cell(result.predicted.origin)}: forecasts begin after it")
    print_table(table, Look(title, first, kept=(*system.keys, "next", "value")))
