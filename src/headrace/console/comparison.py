"""Two versions of a model side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.console.output import print_json
from headrace.console.reports import print_next
from headrace.console.table import TableStyle, cell, print_table, terminal

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.pipelines.comparison import Comparison
    from headrace.system import System

_FIRST = ("log_loss", "wape", "rmsse", "accuracy", "brier", "auc", "rmse", "mape", "coverage")
_SEEN = "training may have seen the truth of these: they decide nothing"


def print_comparison(system: System, home: Home, done: Comparison, *, as_json: bool) -> None:
    """The verdict, the metrics of both, and how far their answers lie apart."""
    if as_json:
        print_json(done.as_dict())
        return
    console = terminal()
    console.print(f"{done.system}: {done.line()}", soft_wrap=True)
    _metrics(done)
    for number, cost in done.costs.items():
        console.print(f"version {number}: {costs(cost)}", soft_wrap=True)
    answers = done.answers
    flips = f", {answers['flips']:,} with another label" if "flips" in answers else ""
    console.print(f"\n{answers['differ']:,} of {done.pairs:,} answers differ{flips}", soft_wrap=True)
    for number in done.request.versions if done.replayed is not None else ():
        values = {name: metric[number] for name, metric in (done.replayed or {}).items()}
        failed = f", {values['failed']:,} of these in vain" if values["failed"] else ""
        console.print(f"version {number}: {values['answered']:,} answered, {values['again']:,} replayed{failed}")
    if done.pairs:
        spread = done.answers["difference"]
        console.print("difference: " + ", ".join(f"{name} {_number(value)}" for name, value in spread.items()))
    if answers["largest"]:
        _largest(system, done)
        print_next(f"headrace trace {answers['largest'][0]['id']}", home)


def costs(cost: Mapping[str, float]) -> str:
    """What a version costs, in a sentence; what was not measured is left out."""
    said = {
        "train_cpu_s": "{:,.3g} CPU s to train",
        "predict_us": "{:,.0f} us a prediction",
        "bytes": "{:,.0f} bytes",
    }
    return ", ".join(form.format(cost[name]) for name, form in said.items() if name in cost)


def print_evidence(system: str, home: Home, evidence: Mapping[str, Any]) -> None:
    """What a promotion rests on; where nothing was in common, what would tell."""
    terminal().print(f"evidence: {evidence['line']}", soft_wrap=True)
    if not evidence.get("pairs"):
        first, second = evidence["versions"]
        print_next(f"headrace compare {system} {first} {second} --replay", home)


def _largest(system: System, comparison: Comparison) -> None:
    """The answers that lie furthest apart, a column a version."""
    import polars as pl

    from headrace.tasks import task_of

    labels = {version: f"version {version}" for version in comparison.request.versions}
    task = task_of(system)
    identity = task.identity
    rows = [
        {
            **{name: answer[name] for name in identity},
            **{called: cell(task.text_of(answer, f"_{version}")) for version, called in labels.items()},
            "difference": answer["difference"],
            "id": answer["id"],
        }
        for answer in comparison.answers["largest"]
    ]
    first = (*identity, *labels.values(), "difference", "id")
    look = TableStyle("largest differences", first, kept=(*identity, *labels.values(), "difference"))
    print_table(pl.DataFrame(rows, infer_schema_length=None), look)


def _metrics(comparison: Comparison) -> None:
    import polars as pl

    for metrics, title in (
        (comparison.metrics, f"{comparison.rows:,} pairs whose truth came after both were trained"),
        (comparison.seen.get("metrics", {}), f"{comparison.seen['rows']:,} other pairs: {_SEEN}"),
    ):
        rows: list[Mapping[str, Any]] = [{"": f"version {n}", **values} for n, values in metrics.items() if values]
        if rows and metrics is comparison.metrics:
            rows += [
                _of(comparison.differences, "value", "difference"),
                _of(comparison.differences, "error", "standard error"),
            ]
            rows += [
                {"": name, **{m: v for m, v in values.items() if m != "n"}}
                for name, values in comparison.baselines.items()
            ]
        if rows:
            frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={})
            print_table(frame, TableStyle(title, ("", *_FIRST), kept=("",)))


def _of(differences: Mapping[str, Mapping[str, float | None]], part: str, name: str) -> dict[str, Any]:
    return {"": name, **{metric: values[part] for metric, values in differences.items()}}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
