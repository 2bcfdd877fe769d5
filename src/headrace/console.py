"""What people see: tables and progress on stderr or stdout, JSON for programs."""

from __future__ import annotations

import json as jsonlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, UsageError
from headrace.lineage import iso

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from headrace.flow.backfill import Backfilled
    from headrace.flow.evaluate import Evaluation
    from headrace.flow.run import Result
    from headrace.home import Home
    from headrace.registry import ModelVersion
    from headrace.system import System

_DOING = {
    "ingest": "read the source",
    "validate": "validate and store",
    "features": "features",
    "train": "train when due",
    "predict": "predict",
    "monitor": "monitor",
}
_FORMATS = ("table", "json", "csv", "parquet")
_SHOWN = 12
"""Rows of a table that are shown when it is longer."""


def failed(error: HeadraceError, *, as_json: bool) -> None:
    """An error on stderr, and as the JSON document where one was asked for."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    if as_json:
        print_json(error.as_dict())


def print_json(data: Any) -> None:
    """One JSON document on stdout: times in ISO 8601, NaN and infinities as null."""
    sys.stdout.write(jsonlib.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, datetime):
        return iso(data)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if data is None or isinstance(data, str | int | float | bool) else str(data)


@contextmanager
def progress(system: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; call it with what is being done, how much of it is done, and of how much."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[system]}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, system=system)
        yield lambda what, done, of: bar.update(task, description=_DOING.get(what, what), completed=done, total=of)


def format_of(form: str | None, out: Path | None, *, as_json: bool) -> str:
    """The format of rows: what was asked for, else what the file's ending says, else JSON or a table.

    On stdout `--json` goes over `--format`: what is there is one JSON document.

    Raises:
        UsageError: An unknown format.
    """
    if form not in (None, *_FORMATS):
        raise UsageError(f"no format {form!r}", where="--format", hint=", ".join(_FORMATS))
    if out is None:
        return "json" if as_json else form or "table"
    ending = out.suffix.removeprefix(".")
    return form or (ending if ending in _FORMATS else "json" if as_json else "table")


def print_frame(frame: pl.DataFrame, *, form: str, out: Path | None) -> None:
    """Rows as a table, JSON, CSV or Parquet; to a file, or to stdout.

    Raises:
        UsageError: Parquet to a terminal, or a table to a file.
    """
    if form == "parquet":
        if out is None:
            raise UsageError("Parquet goes to a file", where="--format", hint="add --out FILE")
        frame.write_parquet(out)
    elif form == "csv":
        text = frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")
        _write(text, out)
    elif form == "json":
        _write(jsonlib.dumps(_plain(frame.to_dicts()), ensure_ascii=False, allow_nan=False) + "\n", out)
    elif out is not None:
        raise UsageError("a table goes to the terminal", where="--out", hint="add --format csv, json or parquet")
    else:
        _table(frame, f"{frame.height:,} rows")


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _table(frame: pl.DataFrame, title: str) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    shown = frame.select(frame.columns[:9])
    for name in shown.columns:
        table.add_column(
            name,
            justify="right" if shown.schema[name].is_numeric() else "left",
            no_wrap=name not in ("reason", "error"),
        )
    for row in shown.head(_SHOWN).iter_rows():
        table.add_row(*(_cell(value) for value in row))
    console = _console()
    console.print(table)
    if frame.height > _SHOWN:
        console.print(f"... {frame.height - _SHOWN:,} more; --format csv or json shows all")


def _console() -> Console:
    """Stdout; into a file or a pipe, tables are as wide as they need to be."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return str(value)


def print_tree(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Nested data, indented; or as JSON."""
    if as_json:
        print_json(data)
        return

    def show(value: Mapping[str, Any], indent: int) -> None:
        for key, item in value.items():
            if isinstance(item, Mapping):
                sys.stdout.write(f"{'  ' * indent}{key}\n")
                show(item, indent + 1)
            else:
                text = jsonlib.dumps(_plain(item)) if isinstance(item, list) else _plain(item)
                sys.stdout.write(f"{'  ' * indent}{key}: {text}\n")

    show({k: v for k, v in data.items() if k != "run"}, 0)


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


def print_runs(system: str, found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Runs, how they ended, and why."""
    if as_json:
        print_json({"system": system, "runs": found})
        return
    import polars as pl

    shown = ("as_of", "created_at", "ended_at", "status", "predictions", "error", "run_id")
    _table(pl.DataFrame([{name: run[name] for name in shown} for run in found], infer_schema_length=None), "runs")


def print_models(system: str, versions: Sequence[ModelVersion], *, as_json: bool) -> None:
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
        sys.stdout.write(f"{system} has no model yet: headrace train {system}\n")
        return
    _table(pl.DataFrame(rows, infer_schema_length=None), f"{system}: model versions")


def print_findings(findings: Sequence[Mapping[str, str]], *, as_json: bool) -> None:
    """What `doctor` found."""
    if as_json:
        print_json({"healthy": all(f["status"] != "failed" for f in findings), "findings": findings})
        return
    for f in findings:
        sys.stdout.write(f"{f['status']:>8}  {f['what']}: {f['said']}\n")


def run_report(system: System, home: Home, result: Result) -> None:
    """What a run did: steps, validation, forecasts beside the baseline's, and where things are."""
    console = _console()
    if result.validation is not None and (result.validation.bad.height or result.validation.pending):
        console.print(result.validation.as_table(f"{system.name}: validation"))
    for step in result.steps:
        console.print(f"{step['name']:>10}  {step['rows']:>9,} rows  {step['seconds']:7.2f} s")
    if result.trained is not None:
        version = result.trained.version
        scores = ", ".join(f"{n} {version.metrics[n]:.3g}" for n in _HELD_BACK if version.metrics.get(n))
        outcome = "champion" if result.trained.promoted else "not promoted"
        console.print(f"\nmodel version {version.version}: {outcome} ({result.trained.reason}); held back: {scores}")
    if result.predicted is not None:
        _forecasts(system, result)
    for row in (result.predicted.skipped if result.predicted else [])[:_SHOWN]:
        name = ", ".join(str(row[k]) for k in system.keys) or system.name
        console.print("no forecast for", name, "-", row["reason"])
    console.print(f"\ntables   {home.store.uri}/{system.name}\nreports  {home.reports(system.name)}")
    if result.scored is not None:
        _rows(system, result)
    if result.frame is not None:
        first = result.frame["id"][0] if result.frame.height else "ID"
        at = "" if home.path == Path(".headrace").absolute() else f" --home {home.settings.home}"
        console.print(f"next     headrace predictions {system.name}{at}; headrace trace {first}{at}", soft_wrap=True)


def backfill_report(system: System, done: Backfilled) -> None:
    """What a backfill did, and how to go on."""
    console = _console()
    console.print(
        f"{done.runs:,} runs ({done.repeated:,} were there), {done.predictions:,} predictions ({done.stored:,} new), "
        f"{len(done.trained)} trainings, {done.scored:,} new scores in {done.seconds:,.1f} s"
    )
    for each in done.failed[:_SHOWN]:
        console.print(f"failed as of {each['as_of']}: {each['message']}")
    if len(done.failed) > _SHOWN:
        console.print(f"... and {len(done.failed) - _SHOWN:,} more failed")
    console.print(f"next     headrace monitor {system.name}; headrace report {system.name}")


def evaluation_report(done: Evaluation) -> None:
    """How good the forecasts were: over all, beside the baselines, by series and by step ahead."""
    import polars as pl

    data = done.as_dict()
    forecasts = {done.system.name: data["metrics"], **data["baselines"]}
    rows = [{"forecast": name, **found} for name, found in forecasts.items()]
    title = f"{data['matured']:,} of {data['rows']:,} predictions from {done.origins:,} origins, "
    title += f"{len(done.trainings)} trainings, {done.seconds:,.1f} s"
    _table(pl.DataFrame(rows, infer_schema_length=None), title)
    naive = [f"{name}_wape" for name in data["baselines"]]
    _table(done.table(*done.system.keys).select(*done.system.keys, "n", *METRICS, *naive), "by series, worst first")
    _table(done.table("ahead").select("ahead", "n", *METRICS, *naive), "by step ahead")


METRICS = ("wape", "mape", "rmse", "coverage")
_SCORES = (*METRICS, "accuracy", "log_loss", "brier", "auc")
_HELD_BACK = ("mape", "wape", "coverage", "accuracy", "log_loss", "auc")


def _rows(system: System, result: Result) -> None:
    """How many rows were predicted, and what."""
    frame = result.scored
    assert frame is not None
    counts = frame[system.target].value_counts(sort=True).iter_rows()
    told = ", ".join(f"{count:,} x {value}" for value, count in counts) or "no row waits for a prediction"
    console = _console()
    console.print(f"\n{system.name}: {frame.height:,} rows without {system.target}, {result.stored:,} new: {told}")
    console.print(f"serve    headrace serve {system.name}")


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
            *(pl.col(c).sum() for c in baselines),
        )
        .sort("horizon sum", descending=True, maintain_order=True)
    )
    _table(
        table,
        f"{system.name}: {frame.height:,} forecasts of {system.target}, {result.predicted.stored:,} new",
    )
