"""Policies over the past, side by side: what they did, how wrong forecasts were under each, and what they took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json
from headrace.console.table import TableStyle, counted, print_table, terminal
from headrace.flow.simulated import errors_over_time, frame_of

if TYPE_CHECKING:
    from headrace.flow.simulated import Simulated

_SHOWN_TIMES = 40
_SHOWN_ALERTS = 20


def print_simulations(tried: Sequence[Simulated], *, as_json: bool, several: bool) -> None:
    """One table of all policies, errors over time, and of the first one its alerts and trainings.

    Args:
        tried: What was simulated.
        as_json: One document, or a list where policies were compared; those that stand beside one are in it.
        several: Whether policies were compared.
    """
    if as_json:
        documents = [one.as_dict() for one in tried]
        print_json(documents if several else documents[0] | {"beside": documents[1:]})
        return
    console, first = terminal(), tried[0]
    span = f"{first.range.start:%Y-%m-%d %H:%M} to {first.range.end:%Y-%m-%d %H:%M}"
    console.print(f"{first.system}: {counted(first.done.runs, 'run')} from {span}, on what was known then")
    for failure in first.done.failed[:1]:
        count = counted(len(first.done.failed), "run")
        console.print(f"{count} failed, the first as of {failure['as_of']}: {failure['message']}", soft_wrap=True)
    _policies(tried)
    _over_time(tried)
    for one in tried if several else tried[:1]:
        _alerts(one, several)
        _actions(one, several)
        _trainings(one, several)
    for one in tried:
        if one.home is not None:
            console.print(f"kept     {one.home}", soft_wrap=True)


def _policies(tried: Sequence[Simulated]) -> None:
    frame = frame_of(tried).rename({"retrainings": "trained", "retunings": "tuned", "cpu_seconds": "CPU s"})
    metric = tried[0].metric
    # Eighty columns hold those up to the alarms, whatever policies are called: what one costs is what it is chosen by.
    first = ("policy", metric, "CPU s", "baseline", "trained", "tuned", "alarms", "right", "caught")
    print_table(
        frame,
        TableStyle(
            "policies, trained and tuned after the first time", first, ("policy",), ("policy",), rows=frame.height
        ),
    )


def _over_time(tried: Sequence[Simulated]) -> None:
    metric = tried[0].metric
    frame = errors_over_time(tried, metric)
    if frame.height > 1:
        print_table(frame, TableStyle(f"{metric} by the time of the truth", ("time",), rows=_SHOWN_TIMES))


def _alerts(one: Simulated, several: bool) -> None:
    import polars as pl

    if not one.outcome.alerts:
        return
    rows: list[dict[str, Any]] = [
        {
            "at": alert.raised_at,
            "severity": alert.severity,
            "rule": alert.rule,
            "scope": alert.where or "the system",
            "value": alert.value,
            "threshold": alert.threshold,
            "closed": alert.closed_at,
        }
        for alert in one.outcome.alerts
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    suffix = f" of {one.policy}" if several else ""
    look = TableStyle(
        f"alerts{suffix}", ("at", "severity", "rule", "scope", "value", "threshold"), ("scope",), rows=_SHOWN_ALERTS
    )
    print_table(frame, look)


def _actions(one: Simulated, several: bool) -> None:
    import polars as pl

    rules = {alert.id: alert.rule for alert in one.outcome.alerts}
    rows = [
        {
            "as of": action["as_of"],
            "action": action["action"],
            "outcome": action["outcome"],
            "version": action["version"],
            "because": ", ".join(dict.fromkeys(rules.get(alert, alert) for alert in action["alerts"])),
            "CPU s": action["cpu_seconds"],
        }
        for action in one.outcome.acted
    ]
    if rows:
        suffix = f" of {one.policy}" if several else ""
        look = TableStyle(f"actions of alarms{suffix}", tuple(rows[0]), ("because",), rows=_SHOWN_ALERTS)
        print_table(pl.DataFrame(rows, infer_schema_length=None), look)
        for action in one.outcome.acted[:_SHOWN_ALERTS]:
            terminal().print(f"{action['as_of']}  {action['action']} {action['outcome']}: {action['reason']}")


def _trainings(one: Simulated, several: bool) -> None:
    import polars as pl

    suffix = f" of {one.policy}" if several else ""
    names = ("at", "version", "promoted", "because")
    rows = [{name: training[name] for name in names} for training in one.outcome.trainings]
    if len(rows) > 1:
        print_table(pl.DataFrame(rows, infer_schema_length=None), TableStyle(f"trainings{suffix}", names, ("because",)))
