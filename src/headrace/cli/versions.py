"""Commands about model versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.command import Common, Name, Simulated, command, refuse_future, time_of

if TYPE_CHECKING:
    from headrace.registry import Timeline


HEADING = "Models"
_MAKE_A_CHAMPION = ("promoted", "rolled_back")


@command
def models(use: Common, name: Name) -> None:
    """List model versions and their metrics. The champion is marked."""
    _show_models(use, use.system(name).name)


Since = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
]


@command
def promote(
    use: Common,
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    as_of: Since = None,
    simulated: Simulated = False,
) -> None:
    """Make a version the champion."""
    system, registry, now = use.system(name).name, use.open(make=False).registry, datetime.now(UTC)
    since, before = _since(as_of, now, simulated), registry.timeline(system)
    registry.promote(system, version, created_at=now, as_of=since, reason="by hand")
    _show_decision(use, system, before)


@command
def rollback(use: Common, name: Name, as_of: Since = None, simulated: Simulated = False) -> None:
    """Go back to the champion before the present one."""
    system, registry, now = use.system(name).name, use.open(make=False).registry, datetime.now(UTC)
    since, before = _since(as_of, now, simulated), registry.timeline(system)
    registry.rollback(system, created_at=now, as_of=since, reason="by hand")
    _show_decision(use, system, before)


def _since(as_of: str | None, now: datetime, simulated: bool) -> datetime | None:
    return refuse_future(time_of(as_of, now), now, "--as-of", simulated=simulated) if as_of else None


def _show_models(use: Common, system: str) -> None:
    from headrace import console

    home = use.open(make=False)
    console.print_models(system, home, home.registry.versions(system), as_json=use.json)


def _show_decision(use: Common, system: str, before: Timeline) -> None:
    """What was decided, by the newest decision that made a champion, beside what stood before it."""
    from headrace import console
    from headrace.registry.history import in_order, standing

    if not use.json:
        facts = use.open(make=False).registry.timeline(system).facts
        champion = standing(facts).champion
        since = [fact.as_of for fact in in_order(facts) if fact.version == champion and fact.event in _MAKE_A_CHAMPION]
        assert champion is not None
        console.print_decision(system, champion, since[-1], standing(before.facts).champion)
    _show_models(use, system)
