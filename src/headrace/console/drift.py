"""Distributions now beside those of the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json
from headrace.console.table import TableStyle, counted, print_table, terminal
from headrace.legible import LONGEST, legible

if TYPE_CHECKING:
    from headrace.loop.drift import Drift, VariableDrift

_SHOWN = 30
_NAMED = 3
_COLUMNS = ("variable", "statistic", "value", "threshold", "drifted", "importance")
_ROLES = {"feature": "", "target": " (target)", "prediction": " (predicted)"}


def print_drift(drift: Drift, *, as_json: bool) -> None:
    """What was compared, the verdict, and every variable: those that drifted first."""
    import polars as pl

    if as_json:
        print_json(drift.as_dict())
        return
    console = terminal()
    details = f"{counted(drift.rows, 'row')} since {drift.since:%Y-%m-%d %H:%M} UTC"
    learnt = f"{counted(drift.reference_rows, 'row')} that version {drift.version} learnt from"
    console.print(f"{drift.system}, as of {drift.as_of:%Y-%m-%d %H:%M} UTC: {details}, beside {learnt}", soft_wrap=True)
    console.print(_verdict(drift), soft_wrap=True)
    if drift.variables:
        rows = [_row(item) for item in drift.variables]
        frame = pl.DataFrame(rows, infer_schema_length=None)
        print_table(frame, TableStyle("", _COLUMNS, (), kept=_COLUMNS[:5], rows=_SHOWN))
    for item in drift.variables:
        if item.drifted and (line := _line(item)):
            console.print(line, soft_wrap=True)
    _print_performance(drift)
    for segment in drift.segments:
        names = ", ".join(one.name for one in segment.variables[:_NAMED])
        further = len(segment.variables) - _NAMED
        more = f" and {further} more" if further > 0 else ""
        value = legible(str(segment.value), LONGEST)
        console.print(
            f"{segment.column} {value} ({counted(segment.rows, 'row')}): {names}{more} drifted", soft_wrap=True
        )


def _print_performance(drift: Drift) -> None:
    """What is to be expected of the predictions, beside what it was on held-out rows, and what became known."""
    import polars as pl

    performance = drift.performance
    if performance is None:
        return
    if performance.reason is not None:
        terminal().print(f"performance cannot be estimated: {performance.reason}", soft_wrap=True)
        return
    if not performance.rows:
        return
    rows = [
        {
            "metric": item.name,
            "estimated": _figure(item.estimated),
            "held out": _figure(item.held_out),
            "by chance": f"± {_figure(item.deviation)}",
            "realised": _figure(item.realised),
        }
        for item in performance.metrics
    ]
    told = f"of {performance.matured:,} the truth is known" if performance.matured else "no truth is known"
    line = f"performance, by the probabilities of {counted(performance.rows, 'prediction')}; {told}"
    terminal().print(line, soft_wrap=True)
    print_table(pl.DataFrame(rows), TableStyle("", tuple(rows[0]), (), kept=tuple(rows[0])))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _verdict(drift: Drift) -> str:
    if drift.reason is not None:
        return f"no verdict: {drift.reason}"
    count = sum(item.drifted for item in drift.variables)
    if not count and not drift.segments:
        return "nothing drifted"
    features = f", {drift.share:.0%} of what the model looks at" if drift.share else ""
    sentence = f"{count} of {len(drift.variables)} drifted{features}"
    return sentence if drift.drifted else f"{sentence}; none of them matters to the model"


def _row(item: VariableDrift) -> dict[str, Any]:
    first = item.foremost
    importance = {"importance": "-" if item.importance is None else f"{item.importance:.1%}"}
    return {
        "variable": f"{item.name}{_ROLES[item.role]}",
        "statistic": first.statistic,
        "value": float(f"{first.value:.3g}"),
        "threshold": float(f"{first.threshold:.3g}"),
        "drifted": "yes" if item.drifted else "",
        **importance,
    }


def _line(item: VariableDrift) -> str:
    """What can be said of a variable in words."""
    before, now = item.reference, item.current
    parts = list[str]()
    if abs(now["missing"] - before["missing"]) >= 0.01:
        parts.append(f"{now['missing']:.0%} missing, in the training {before['missing']:.0%}")
    if before.get("mean") is not None and now.get("mean") is not None:
        means = (now["mean"], before["mean"])
        unit = f" {now['unit']}" if "unit" in now else ""
        texts = [f"{mean:.2f}" if unit else f"{mean:.4g}" for mean in means]
        parts.append(f"mean {texts[0]}{unit}, in the training {texts[1]}")
    new = now.get("new") or {}
    if new:
        parts.append("new: " + ", ".join(f"{value[:40]} ({count:,})" for value, count in list(new.items())[:_NAMED]))
    return f"{item.name}: {'; '.join(parts)}" if parts else ""
