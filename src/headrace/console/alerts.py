"""Warnings and alarms, and what they led to."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headrace.console.output import print_json
from headrace.console.table import TableStyle, print_table, terminal

if TYPE_CHECKING:
    from headrace.loop.why import ChainLink
    from headrace.policy.alerts import Alert


def print_alerts(system: str, alerts: Sequence[Alert], *, as_json: bool) -> None:
    """A line for each alert."""
    if as_json:
        print_json([alert.as_dict() for alert in alerts])
        return
    if not alerts:
        sys.stdout.write(f"{system}: nothing was raised\n")
        return
    import polars as pl

    rows = [
        {
            "raised_at": alert.raised_at,
            "severity": alert.severity,
            "rule": alert.rule,
            "scope": alert.where,
            "value": alert.value,
            "threshold": alert.threshold,
            "closed_at": alert.closed_at,
            "actions": ", ".join(str(action.get("action")) for action in alert.actions),
            "id": alert.id,
        }
        for alert in alerts
    ]
    utc = pl.Datetime("us", "UTC")
    frame = pl.DataFrame(rows, schema_overrides={"closed_at": utc, "value": pl.Float64, "threshold": pl.Float64})
    kept = ("raised_at", "severity", "rule", "value", "closed_at")
    first = ("raised_at", "severity", "rule", "scope", "value", "threshold", "closed_at", "actions", "id")
    count = sum(alert.is_open for alert in alerts)
    print_table(frame, TableStyle(f"{system}: alerts, newest first; {count} open", first, ("rule", "scope"), kept))
    newest = {alert.rule: alert for alert in reversed(alerts) if alert.is_open and alert.evidence.get("says")}
    for alert in newest.values():
        terminal().print(f"{alert.rule}: {alert.evidence['says']} ({alert.raised_at:%Y-%m-%d})", soft_wrap=True)


def print_unwatched(reasons: Mapping[str, str]) -> None:
    """A line for each rule that could not tell anything: that it raised nothing says nothing."""
    for rule, reason in reasons.items():
        terminal().print(f"not known  {rule}: {reason}", soft_wrap=True)


def print_untold(lines: Sequence[str]) -> None:
    """A line for each channel whose messages nobody got."""
    for line in lines:
        terminal().print(f"not told  {line}", soft_wrap=True)


def print_chain(system: str, links: Sequence[ChainLink], limit: int, *, as_json: bool) -> None:
    """A line for each thing that happened; the newest ones where there are more than `limit`."""
    shown = links[-limit:]
    if as_json:
        print_json({"system": system, "events": [link.as_dict() for link in shown]})
        return
    if len(shown) < len(links):
        sys.stdout.write(f"{len(links) - len(shown):,} earlier ones: --limit\n")
    console = terminal()
    for link in shown:
        console.print(f"{link.time:%Y-%m-%d %H:%M}  {link.text}", soft_wrap=True)
    if not links:
        sys.stdout.write(f"{system}: nothing was trained, and nothing raised\n")
