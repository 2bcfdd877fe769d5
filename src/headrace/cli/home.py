"""Commands about a home as a whole, and systems as a whole in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.command import Common, command
from headrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl
_UNITS = ("B", "kB", "MB", "GB", "TB")

Stored = Annotated[str, typer.Argument(metavar="SYSTEM", help="As the home knows it.")]
OneStored = Annotated[str | None, typer.Argument(metavar="SYSTEM", help="One system. Default: all.")]


@command
def list_(
    use: Common,
    folder: Annotated[Path, typer.Option("--systems", metavar="DIR", help="Where they are declared.")] = Path(
        "systems"
    ),
) -> None:
    """List systems, with champion and last run."""
    _print(use, use.workspace.list(folder), "systems", ("system", "champion", "last_run", "status", "rows"))


@command
def disk(use: Common, name: OneStored = None) -> None:
    """Show what takes room, by system and kind."""
    frame = use.workspace.disk(name)
    _print(use, frame, f"{_size(frame)} in {use.workspace.path}", ("system", "kind", "name", "bytes"))


@command
def prune(
    use: Common,
    name: OneStored = None,
    older_than: Annotated[str, typer.Option("--older-than", metavar="D", help="Nothing younger goes.")] = "90d",
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=0, help="So many of the newest stay.")] = 100,
    predictions: Annotated[bool, typer.Option("--predictions", help="Old forecasts go too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run/--yes", help="Only show what would go, or delete it.")] = True,
) -> None:
    """Delete old records that nothing kept needs.

    Facts stay, and every kept prediction can be traced and replayed afterwards.
    """
    frame = use.workspace.prune(older_than, system=name, runs=runs, predictions=predictions, dry=dry_run)
    title = f"{'would go' if dry_run else 'gone'}: what is older than {older_than}"
    _print(use, frame, title, ("system", "kind", "rows", "files", "bytes"))
    if dry_run and frame.height and not use.json:
        sys.stdout.write("to delete it, add --yes\n")


@command
def delete(use: Common, name: Stored, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete all that is stored of a system.

    Tables, models, logged predictions, online state, reports. Its folder and its topics in Kafka stay.
    """
    from headrace import console

    held = use.workspace.holdings(name)
    if not yes:
        if use.json or not sys.stdin.isatty():
            raise UsageError("what is deleted is gone for good", where=name, hint="say that you mean it: --yes")
        summary = ", ".join(f"{len(v) if isinstance(v, list) else v:,} {k}" for k, v in held.items() if k != "system")
        typer.confirm(f"Delete {name} ({summary}) from {use.workspace.path}?", abort=True, err=True)
    removal = use.workspace.delete(name)
    console.print_tree({**removal, "kafka": f"its topics, such as {name}.events, were not touched"}, as_json=use.json)


@command
def rename(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="OLD", help="As the home knows it.")],
    to: Annotated[str, typer.Argument(metavar="NEW", help="Lower-case letters, digits and _.")],
) -> None:
    """Rename what is stored of a system.

    Predictions keep their ids, and are traced and replayed as before. Topics in Kafka keep the old name.
    """
    from headrace import console

    renaming = use.workspace.rename(name, to)
    message = f'declare it as name="{to}" in its system.py; topics in Kafka, such as {name}.events, keep their names'
    console.print_tree({**renaming, "next": message}, as_json=use.json)


def _size(frame: pl.DataFrame) -> str:
    held, power = float(frame["bytes"].sum()) if frame.height else 0.0, 0
    while held >= 1000 and power < len(_UNITS) - 1:
        held, power = held / 1000, power + 1
    return f"{held:,.1f} {_UNITS[power]}"


def _print(use: Common, frame: pl.DataFrame, title: str, first: tuple[str, ...]) -> None:
    """All rows; as JSON a list of them."""
    from headrace import console
    from headrace.console.table import TableStyle, print_table

    if use.json:
        console.print_json(frame.to_dicts())
    elif frame.is_empty():
        sys.stdout.write(f"{title}: nothing\n")
    else:
        print_table(frame, TableStyle(title, first, kept=first[:2]))
