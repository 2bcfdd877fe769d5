"""Commands about model versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.command import Common, Name, Simulated, command
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.api.bound import BoundSystem
    from headrace.api.results import Decision


@command
def models(
    use: Common,
    name: Name,
    version: Annotated[
        int | None, typer.Argument(metavar="V", help="With --importance; default: the champion.")
    ] = None,
    importance: Annotated[bool, typer.Option("--importance", help="How much each feature matters to it.")] = False,
) -> None:
    """List model versions and their metrics. The champion is marked."""
    from headrace import console

    system = use.bound(name)
    if importance:
        console.print_importance(system.name, system.importance(version), as_json=use.json)
    elif version is not None:
        raise UsageError("one version has a card", where="V", hint=f"headrace card {name} {version}, or --importance")
    else:
        _print_models(use, system)


@command
def card(
    use: Common,
    name: Name,
    version: Annotated[int | None, typer.Argument(metavar="V", help="Which; default: the champion.")] = None,
    form: Annotated[str | None, typer.Option("--format", metavar="F", help="markdown or html; else by --out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")] = None,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Add its error by how much it learns from; kept once made.")
    ] = False,
) -> None:
    """Show the card of a version. What it is for, made from, and how good it is where."""
    from headrace import console

    system = use.bound(name)
    if learning_curve:
        system.learning_curve(version)
    console.print_card(system.card(version), form=form, out=out, as_json=use.json)


@command
def compare(
    use: Common,
    name: Name,
    first: Annotated[int, typer.Argument(metavar="V", help="One version.")],
    second: Annotated[int, typer.Argument(metavar="W", help="The other.")],
    replay: Annotated[bool, typer.Option("--replay", help="Put logged requests to both, as of their time.")] = False,
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="No request is earlier.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="All are before it.")] = None,
    largest: Annotated[
        int, typer.Option("--largest", metavar="N", min=0, help="So many of the largest differences.")
    ] = 10,
) -> None:
    """Compare two versions on the same requests. On what both answered, or --replay."""
    from headrace import console

    system = use.bound(name)
    comparison = system.compare(first, second, replay=replay, since=since, until=until, largest=largest)
    console.print_comparison(system.declaration, use.workspace.reading, comparison, as_json=use.json)


@command
def skew(
    use: Common,
    name: Name,
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="No prediction is earlier.")] = None,
) -> None:
    """Compare features as served and as trained. Of predictions logged with them."""
    from headrace import console

    result = use.bound(name).skew(since=since)
    console.print_skew(use.workspace.reading, result, as_json=use.json)
    if result.differing:
        raise typer.Exit(1)


Since = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="From when on. Default: from the newest run on."),
]


By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who decides. Default: you.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")]


@command
def promote(
    use: Common,
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    as_of: Since = None,
    simulated: Simulated = False,
    by: By = None,
    reason: Reason = None,
) -> None:
    """Make a version the champion. Approves one that waits; tells how it stands to the present one."""
    system = use.bound(name)
    decision = system.promote(version, as_of=as_of, simulated=simulated, by=by, reason=reason)
    _print_decision(use, system, decision, asked_for=True)


@command
def reject(
    use: Common,
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    by: By = None,
    reason: Reason = None,
) -> None:
    """Reject a version that waits for approval. The champion goes on."""
    system = use.bound(name)
    before = next((each for each in system.models.versions if each.version == version), None)
    rejected = system.reject(version, by=by, reason=reason)
    if not use.json:
        said = f"is rejected by {rejected.decided_by}"
        if before == rejected:
            said = f"was rejected by {rejected.decided_by} already, at {rejected.decided_at:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{system.name}: version {version} {said}; the champion goes on")
    _print_models(use, system)


@command
def rollback(use: Common, name: Name, as_of: Since = None, simulated: Simulated = False) -> None:
    """Go back to the champion before the present one."""
    system = use.bound(name)
    _print_decision(use, system, system.rollback(as_of=as_of, simulated=simulated), asked_for=False)


def _print_models(use: Common, system: BoundSystem, more: Mapping[str, Any] | None = None) -> None:
    from headrace import console

    models = system.models
    console.print_models(
        system.name, use.workspace.reading, models.versions, models.beside, as_json=use.json, more=more
    )


def _print_decision(use: Common, system: BoundSystem, decision: Decision, *, asked_for: bool) -> None:
    """What was decided, on what it rests where that is `told`, and what there is now."""
    from headrace import console

    if not use.json:
        console.print_decision(system.name, decision.champion, decision.since, decision.before)
        if decision.evidence is not None:
            console.print_evidence(system.name, use.workspace.reading, decision.evidence)
    _print_models(use, system, {"evidence": decision.evidence} if asked_for else None)
