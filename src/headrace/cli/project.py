"""Commands about the project and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.command import Common, command
from headrace.errors import UsageError


@command
def init(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    like: Annotated[str | None, typer.Option("--like", metavar="SYSTEM", help="Copy this system.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="FILE", help="Look at its rows.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="C", help="The column to predict. Default: as it looks.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="C,C", help="Of the event time. Default: as it looks.")
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="C,C", help="What tells series or rows apart.")] = None,
) -> None:
    """Make the folder of a new system below systems/. It runs as it is, or is made from a look at a file."""
    from headrace import console
    from headrace.scaffold import Look, declaration_of, make

    declaration = None
    if data is not None:
        if like is not None:
            raise UsageError("a system is copied or made from a file", where="--data", hint="leave out one of the two")
        declaration = declaration_of(name, Look(data, target, _names(time), _names(keys)))
    elif target or time or keys:
        raise UsageError("there is no file to look at", where="--data", hint="add --data FILE")
    files = make(name, like, Path("systems"), declaration)
    console.print_made(files, name, declaration.observations if declaration else (), as_json=use.json)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


@command
def doctor(
    use: Common,
    bootstrap: Annotated[
        str | None, typer.Option("--bootstrap", metavar="H:P", help="Look at streams on this Kafka cluster.")
    ] = None,
) -> None:
    """Show what is installed, reachable, misconfigured."""
    from headrace import console
    from headrace.doctor import examine

    findings = examine(use.open(make=False), bootstrap)
    console.print_findings(findings, as_json=use.json)
    if any(f["status"] == "failed" for f in findings):
        raise typer.Exit(1)


@command
def verify(
    use: Common,
    name: Annotated[
        str | None, typer.Argument(metavar="SYSTEM", help="One system. Default: all that are stored.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every file, and compare its digest.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Put lost or changed commits back first.")] = False,
) -> None:
    """Check tables against what was written to them."""
    from headrace import console

    system = name if name is None or name in use.workspace.systems() else use.system(name).name
    checks = use.workspace.verify(system, deep=deep, repair=repair)
    if repair and name is not None and not checks["ok"]:
        checks = use.bound(name).remake(deep=deep)
    console.print_verified(checks, as_json=use.json)
    if not checks["ok"]:
        raise typer.Exit(1)
