"""Commands about the project and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.command import Common, command
from headrace.errors import UsageError

HEADING = "Project"


@command
def init(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    like: Annotated[str | None, typer.Option("--like", metavar="SYSTEM", help="Copy this system.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="FILE", help="Look at its rows.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="C", help="The column to predict.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="C,C", help="Of the event time; rows have none.")
    ] = None,
    keys: Annotated[str | None, typer.Option("--keys", metavar="C,C", help="What tells series or rows apart.")] = None,
) -> None:
    """Make the folder of a new system below systems/. It runs as it is, or is made from a look at a file."""
    from headrace import console
    from headrace.scaffold import Look, make

    look = None
    if data is not None:
        if like is not None or target is None:
            raise UsageError("a look at a file needs the column to predict", where="--data", hint="add --target COLUMN")
        look = Look(data, target, _names(time), _names(keys))
    elif target or time or keys:
        raise UsageError("there is no file to look at", where="--data", hint="add --data FILE")
    files = make(name, like, Path("systems"), look)
    console.print_made(files, name, as_json=use.json)


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


@command
def doctor(use: Common) -> None:
    """Show what is installed, reachable or misconfigured."""
    from headrace import console
    from headrace.doctor import examine

    findings = examine(use.open(make=False))
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
    """Check the tables against what was written to them."""
    from headrace import console
    from headrace.flow.verify import verify as look

    home = use.open(make=False)
    system = name if name is None or name in home.store.systems() else use.system(name).name
    done = look(home, system, deep=deep, repair=repair)
    if repair and name is not None and not done["ok"]:
        from headrace.flow.remake import remake

        remake(use.system(name), home)
        done = look(home, system, deep=deep)
    console.print_verified(done, as_json=use.json)
    if not done["ok"]:
        raise typer.Exit(1)
