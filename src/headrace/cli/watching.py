"""Commands that show what is watched: alerts, and why they led to what they led to."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headrace.cli.command import AsOf, Common, Name, command


@command
def alerts(
    use: Common,
    name: Name,
    as_of: AsOf = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
) -> None:
    """Show warnings and alarms, newest first. By the rules of monitoring; see the guide."""
    from headrace import console

    system = use.bound(name)
    console.print_alerts(system.name, system.alerts(as_of=as_of, open=only_open), as_json=use.json)
    if not use.json:
        console.print_unwatched(system.unwatched(as_of=as_of))
        console.print_untold(system.untold())


@command
def drift(use: Common, name: Name, as_of: AsOf = None) -> None:
    """Show distributions now beside those of the training. Of features, target and predictions.

    Without --as-of those of the newest run, or of what a door answered last.
    """
    from headrace import console

    console.print_drift(use.bound(name).drift(as_of=as_of), as_json=use.json)


@command
def why(
    use: Common,
    name: Name,
    as_of: AsOf = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many of the newest.")] = 20,
) -> None:
    """Tell what led to what: alerts, trainings, decisions. Oldest first."""
    from headrace import console

    system = use.bound(name)
    console.print_chain(system.name, system.why(as_of=as_of), limit, as_json=use.json)


@command
def notify(
    use: Common,
    name: Name,
    trial: Annotated[bool, typer.Option("--trial", help="Send a trial message to every channel instead.")] = False,
) -> None:
    """Send the messages about alerts that wait. Runs send them too; exit status 1 where some wait on."""
    from headrace import console

    deliveries = use.bound(name).notify(trial=trial)
    if use.json:
        console.print_json(deliveries)
    else:
        for d in deliveries:
            waits = f", {d['waiting']} waiting: {d['reason']}" if d["waiting"] else ""
            lost = f", {d['given_up']} given up: {d['reason']}" if d["given_up"] else ""
            sys.stdout.write(f"{d['channel']}: {d['sent']} sent{waits}{lost}\n")
        sys.stdout.write("" if deliveries else "nothing waits\n")
    if any(delivery["waiting"] for delivery in deliveries):
        raise typer.Exit(1)
