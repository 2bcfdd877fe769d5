"""Commands about the project and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.command import Common, command

HEADING = "Project"


@command
def init(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    like: Annotated[str | None, typer.Option("--like", metavar="SYSTEM", help="Copy this system.")] = None,
) -> None:
    """Make the folder of a new system below systems/."""
    from headrace import console
    from headrace.scaffold import make

    files = make(name, like, Path("systems"))
    console.print_made(files, name, as_json=use.json)


@command
def doctor(use: Common) -> None:
    """Show what is installed, reachable or misconfigured."""
    from headrace import console
    from headrace.doctor import examine

    findings = examine(use.open(make=False))
    console.print_findings(findings, as_json=use.json)
    if any(f["status"] == "failed" for f in findings):
        raise typer.Exit(1)
