"""Commands that run steps of a system: once, for many times, or to see how good it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.cli.command import (
    AsOf,
    Common,
    End,
    Every,
    Name,
    Simulated,
    SourceUri,
    Start,
    command,
    duration_of,
    refuse_future,
    stretch_of,
    time_of,
)
from headrace.errors import UsageError

HEADING = "Run"


def _steps(use: Common, name: str, source: str | None, times: tuple[str | None, bool], steps: tuple[str, ...]) -> None:
    """Do some steps; `times` are `--as-of` and `--simulated`."""
    from headrace import console
    from headrace.flow.run import Request, run

    now = datetime.now(UTC)
    as_of, simulated = times
    moment = refuse_future(time_of(as_of, now), now, "--as-of", simulated=simulated)
    retrain = "train" in steps and "predict" not in steps
    system, home = use.system(name), use.open()
    with console.progress(system.name) as on_progress:

        def on_step(step: str) -> None:
            on_progress(step, steps.index(step), len(steps))

        result = run(system, home, Request(moment, now, source, steps, retrain, on_step))
    if use.json:
        console.print_json(result.as_dict())
    else:
        console.run_report(system, home, result)


@command
def run(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Ingest, train when due, predict and monitor."""
    _steps(use, name, source, (as_of, simulated), ("ingest", "validate", "features", "train", "predict", "monitor"))


@command
def ingest(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Read the source, validate, store what is new."""
    _steps(use, name, source, (as_of, simulated), ("ingest", "validate"))


def _ingested(source: str | None) -> tuple[str, ...]:
    """The steps before one that reads the store only: a source that is named is ingested first."""
    return () if source is None else ("ingest", "validate")


@command
def train(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Train a version now, champion if it wins. It must beat the present one; --source is ingested first."""
    _steps(use, name, source, (as_of, simulated), (*_ingested(source), "train"))


@command
def predict(
    use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False
) -> None:
    """Predict every series or waiting row. A row waits that has no target; --source is ingested first."""
    _steps(use, name, source, (as_of, simulated), (*_ingested(source), "features", "predict"))


@command
def monitor(
    use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False
) -> None:
    """Compare predictions with the truth. Of what has matured; --source is ingested first."""
    _steps(use, name, source, (as_of, simulated), (*_ingested(source), "monitor"))


@command
def backfill(
    use: Common,
    name: Name,
    start: Start,
    end: End,
    every: Every,
    source: SourceUri = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes. Default: one a core.")] = 0,
    simulated: Simulated = False,
) -> None:
    """Do all runs between two times, as if live. In parallel, equal row for row."""
    from headrace import console
    from headrace.flow.backfill import Request, backfill

    system, home = use.system(name), use.open()
    stretch, now = stretch_of(start, end, every, system.dates), datetime.now(UTC)
    refuse_future(stretch.times()[-1], now, "--end", simulated=simulated)
    with console.progress(system.name) as on_progress:
        request = Request(stretch, now, source, workers or home.workers, on_progress)
        done = backfill(system, home, request)
    if use.json:
        console.print_json(done.as_dict())
    else:
        console.backfill_report(system, home, done)
    if done.failed:
        raise typer.Exit(1)


@command
def evaluate(
    use: Common,
    name: Name,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="The first origin.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="No origin is later than this.")] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="D", help="From one origin to the next.")] = None,
    retrain: Annotated[
        str | None, typer.Option("--retrain", metavar="D", help="Train anew this often. Default: once, at the start.")
    ] = None,
    source: SourceUri = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Rows with a target, for a system that scores rows.")
    ] = None,
) -> None:
    """Backtest, or score held-out rows. From rolling origins, or of the champion; stores nothing."""
    from headrace import console

    system, home = use.system(name), use.open(make=False)  # it stores nothing
    if not system.forecasts:
        from headrace.flow.holdout import holdout

        if data is None or start or end or every or retrain:
            raise UsageError(f"{system.name} scores rows", where="evaluate", hint="give it rows: --data FILE")
        found = holdout(system, home, data, datetime.now(UTC))
        console.print_tree(found, as_json=use.json)
        return
    from headrace.flow.evaluate import Request, evaluate

    if data is not None or start is None or end is None or every is None:
        raise UsageError(f"{system.name} forecasts", where="evaluate", hint="give --start, --end and --every")
    stretch, again = stretch_of(start, end, every, system.dates), duration_of(retrain, "--retrain") if retrain else None
    with console.progress(system.name) as on_progress:
        done = evaluate(system, home, Request(stretch, datetime.now(UTC), again, source, on_progress))
    if use.json:
        console.print_json(done.as_dict())
    else:
        console.evaluation_report(done)
