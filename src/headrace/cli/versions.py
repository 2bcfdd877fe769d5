"""Commands about model versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.cli.command import Common, Name, command, time_of


@command
def models(use: Common, name: Name) -> None:
    """List model versions, their metrics and the champion."""
    _show_models(use, use.system(name).name)


Since = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
]


@command
def promote(
    use: Common, name: Name, version: Annotated[int, typer.Argument(metavar="VERSION")], as_of: Since = None
) -> None:
    """Make a version the champion."""
    system, now = use.system(name).name, datetime.now(UTC)
    since = time_of(as_of, now) if as_of else None
    use.open().registry.promote(system, version, created_at=now, as_of=since, reason="by hand")
    _show_models(use, system)


@command
def rollback(use: Common, name: Name, as_of: Since = None) -> None:
    """Go back to the champion before the present one."""
    system, now = use.system(name).name, datetime.now(UTC)
    since = time_of(as_of, now) if as_of else None
    use.open().registry.rollback(system, created_at=now, as_of=since, reason="by hand")
    _show_models(use, system)


def _show_models(use: Common, system: str) -> None:
    from headrace import console

    console.print_models(system, use.open().registry.versions(system), as_json=use.json)
