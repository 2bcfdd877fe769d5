"""Commands that search for better settings, and decide about what was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from headrace.cli.command import AsOf, Common, ExecutorName, Name, Simulated, SourceUri, command

_INTERRUPTED = 128 + 2
"""Exit status that a shell gives a command which ends by Ctrl-C: 128 and SIGINT."""


@dataclass(frozen=True)
class Budget:
    """How much is searched, and where; over what is declared."""

    trials: Annotated[int | None, typer.Option("--trials", metavar="N", min=1, help="So many are completed.")] = None
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="S", help="No trial begins later; seconds, or 10m.")
    ] = None
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes. Default: one a core.")
    ] = None
    executor: ExecutorName = None


@command
def tune(
    use: Common,
    name: Name,
    budget: Budget,
    source: SourceUri = None,
    as_of: AsOf = None,
    simulated: Simulated = False,
) -> None:
    """Search for better settings, in parallel. The best is a configuration that training uses if it wins."""
    from headrace import console

    system = use.bound(name)
    if source is not None:
        system.ingest(as_of, source=source, simulated=simulated)
    search = system.tune(as_of, simulated=simulated, **asdict(budget))
    if use.json:
        console.print_json(search.as_dict())
    else:
        console.print_search(system.workspace.reading, search.result, use.settings)
    if search.result.interrupted:
        raise typer.Exit(_INTERRUPTED)


@command
def configurations(
    use: Common,
    name: Name,
    withdraw: Annotated[
        int | None, typer.Option("--withdraw", metavar="V", help="Take one back: training does not use it any more.")
    ] = None,
) -> None:
    """List what tuning found. The configuration in use is marked; --withdraw takes one back."""
    from headrace import console

    system = use.bound(name)
    if withdraw is not None:
        system.withdraw(withdraw)
    console.print_configurations(
        system.name, system.configurations, system.configuration_in_use(), as_json=use.json, home=use.workspace.reading
    )
