"""Commands that run steps of a system: once, for many times, or to see how good it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.command import AsOf, Common, End, Every, ExecutorName, Name, Simulated, SourceUri, Start, command

if TYPE_CHECKING:
    from headrace.api.bound import BoundSystem
    from headrace.api.results import Run


def _print_run(use: Common, system: BoundSystem, run: Run) -> None:
    from headrace import console

    if use.json:
        console.print_json(run.as_dict())
    else:
        console.run_report(system.declaration, system.workspace.home, run.result)


@command
def run(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Ingest, train when due, predict and monitor."""
    system = use.bound(name)
    _print_run(use, system, system.run(as_of, source=source, simulated=simulated))


@command
def ingest(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Read the source, validate, store what is new."""
    system = use.bound(name)
    _print_run(use, system, system.ingest(as_of, source=source, simulated=simulated))


@command
def train(use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False) -> None:
    """Train a version now, champion if it wins. It must beat the present one; --source is ingested first."""
    system = use.bound(name)
    _print_run(use, system, system.train(as_of, source=source, simulated=simulated))


@command
def predict(
    use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False
) -> None:
    """Predict every series or waiting row. A row waits that has no target; --source is ingested first."""
    system = use.bound(name)
    _print_run(use, system, system.predict(as_of, source=source, simulated=simulated))


@command
def monitor(
    use: Common, name: Name, source: SourceUri = None, as_of: AsOf = None, simulated: Simulated = False
) -> None:
    """Compare predictions with the truth. Of what has matured; --source is ingested first."""
    system = use.bound(name)
    _print_run(use, system, system.monitor(as_of, source=source, simulated=simulated))


@dataclass(frozen=True)
class Parallel:
    """How many runs are done side by side, and where."""

    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. Default: one a core.")
    ] = None
    executor: ExecutorName = None


@command
def backfill(
    use: Common,
    name: Name,
    start: Start,
    end: End,
    every: Every,
    parallel: Parallel,
    source: SourceUri = None,
    simulated: Simulated = False,
) -> None:
    """Do all runs between two times, as if live. In parallel, equal row for row."""
    from headrace import console

    system = use.bound(name)
    result = system.backfill(start, end, every, source=source, simulated=simulated, **asdict(parallel))
    if use.json:
        console.print_json(result.as_dict())
    else:
        console.backfill_report(system.declaration, system.workspace.home, result.result)
    if result.failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Tried:
    """Which policies are tried, and beside what."""

    compare: Annotated[
        list[Path] | None,
        typer.Option("--compare", metavar="A.yaml B.yaml", help="Policies, as config.yaml is, instead of the own."),
    ] = None
    beside: Annotated[
        str, typer.Option("--beside", metavar="LIST", help="Calendars to hold against it: never,1d,7d.")
    ] = ""
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Keep the simulated home there.")] = None


@command
def simulate(
    use: Common,
    name: Name,
    start: Start,
    end: End,
    every: Every,
    tried: Tried,
    source: SourceUri = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. Default: one a core.")
    ] = None,
) -> None:
    """Try the policy over the past. Runs, trainings and alerts, in a home that is thrown away."""
    from headrace import console

    files = tried.compare or ()
    result = use.bound(name).simulate(
        start, end, every, compare=files, beside=tried.beside, keep=tried.keep, source=source, workers=workers
    )
    console.print_simulations(result, as_json=use.json, several=bool(files))


@command
def evaluate(
    use: Common,
    name: Name,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="The first origin.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="No origin is later than this.")] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="D", help="From one origin to the next.")] = None,
    retrain: Annotated[
        str | None, typer.Option("--retrain", metavar="D", help="Train anew this often. Default: once.")
    ] = None,
    source: SourceUri = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE", help="Rows with a target, for a system that scores rows.")
    ] = None,
) -> None:
    """Backtest, or score held-out rows. From rolling origins, or of the champion; stores nothing."""
    from headrace import console

    evaluation = use.bound(name).evaluate(start, end, every, retrain=retrain, source=source, data=data)
    console.evaluation_report(evaluation.evaluation, as_json=use.json)


@command
def plan(use: Common, name: Name) -> None:
    """Show the steps of a run. With the tables that each reads and writes."""
    from headrace import console
    from headrace.console.table import TableStyle, print_table

    steps = use.bound(name).plan()
    if use.json:
        console.print_json(steps.as_dict())
    else:
        print_table(steps.frame(), TableStyle(f"{steps.system}: the steps of a run"))
