"""How good a model of rows is where: by what it predicts, by category, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import HeadraceError
from headrace.features.expression import CompileTarget
from headrace.tasks.importance import Importance
from headrace.tasks.rows.explained import RowExplainer
from headrace.tasks.rows.fitting import RowFit, Rows
from headrace.tasks.rows.outputs.base import Array
from headrace.tasks.rows.trials import known
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable, Section

if TYPE_CHECKING:
    import polars as pl

    from headrace.system import System
    from headrace.tasks.rows.model import RowModel

BANDS = 5
"""Parts of the rows by what is predicted, about as many rows in each."""
_LEVELS = 6
"""Of a column the values with most rows."""
_COLUMNS = 4
_LEAST = 10
"""Fewer rows than this are no part of their own."""
_EXPLAINED = 100
"""Rows whose contributions are averaged."""
_SHUFFLED = 200
"""Rows among which the values of a feature are shuffled."""
_SHARES = ("accuracy", "coverage", "wape", "share")


def sections(system: System, fitted: RowFit, rows: Rows) -> list[Section]:
    """The sections of a card, from what the training held out.

    Args:
        system: The declaration.
        fitted: The fit.
        rows: What it was fitted on, in order.
    """
    judged = np.flatnonzero(known(fitted.held_out))
    numbers = fitted.held_out[judged]
    parts = _Parts(fitted, fitted.actual[judged], numbers, _predicted(fitted, numbers))
    held = rows.frame[judged]
    return [
        ReportHeading("How good it is"),
        ReportSentence(
            f"On {judged.size:,} rows that were held out from the fits ({fitted.held_by}), after calibration.",
            note=True,
        ),
        _overall(fitted, parts),
        *_bands(fitted, parts),
        *_categories(system, parts, held),
    ]


class _Parts:
    """Held-out rows, of which some are looked at."""

    def __init__(self, fitted: RowFit, actual: Array, numbers: Array, predicted: Array) -> None:
        self.output, self.actual, self.numbers, self.predicted = fitted.output, actual, numbers, predicted
        named = self.output.metrics(actual, numbers)
        names = [name for name in self.output.compared if name in named and np.isfinite(named[name])]
        self.names = [name for name in names if name in names[:3] or name == "coverage"]

    def of(self, rows: Any) -> dict[str, float | None]:
        """The metrics of some rows; None where one says nothing."""
        found = self.output.metrics(self.actual[rows], self.numbers[rows])
        return {name: _finite(found.get(name)) for name in self.names}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _predicted(fitted: RowFit, numbers: Array) -> Array:
    """What the rows are ordered by: the predicted number, or how likely the answer is."""
    columns = fitted.output.columns(numbers)
    values = columns[fitted.output.number]
    if values and isinstance(values[0], Mapping):  # of several classes: that of the likeliest
        return np.array([max(each.values()) for each in values], dtype=float)
    return np.array(values, dtype=float)


def _overall(fitted: RowFit, parts: _Parts) -> Section:
    metrics = fitted.output.metrics(parts.actual, parts.numbers)
    rows = [(name, _finite(value)) for name, value in metrics.items() if _finite(value) is not None]
    return ReportTable("", ("metric", "value"), rows)


def _bands(fitted: RowFit, parts: _Parts) -> list[Section]:
    """Errors by what is predicted; of what is a chance or a number also beside what came true."""
    order = np.argsort(parts.predicted, kind="stable")
    bands = [part for part in np.array_split(order, min(BANDS, max(order.size // _LEAST, 1))) if part.size]
    rows: list[tuple[Any, ...]] = []
    means, truths = list[float](), list[float | None]()
    for band in bands:
        predicted, truth = parts.predicted[band], _truth(fitted, parts, band)
        means.append(float(predicted.mean()))
        truths.append(truth)
        name = f"{predicted.min():.4g} to {predicted.max():.4g}"
        rows.append((name, band.size, means[-1], truth, *parts.of(band).values()))
    what = _called(fitted)
    header = ("predicted", "rows", "mean predicted", "mean true", *parts.names)
    found: list[Section] = [ReportTable(f"By {what}, as predicted", header, rows, shares=_SHARES)]
    if len(set(means)) > 1:
        title, same = "Calibration: mean of each part, predicted and true", ("as predicted", means, "truth")
        found.append(ReportCurve(title, means, [("what came true", truths, "ours"), same]))
    return found


def _called(fitted: RowFit) -> str:
    """What the rows are ordered by, in words."""
    classes = fitted.output.classes
    if len(classes) == 2:
        return f"the chance of {classes[1]}"
    return "the chance of its answer" if classes else fitted.output.target


def _truth(fitted: RowFit, parts: _Parts, rows: Any) -> float | None:
    """What came true of rows, on the scale of what they are ordered by."""
    output, actual = fitted.output, parts.actual[rows]
    if not output.classes:
        return _finite(actual.mean())
    if len(output.classes) == 2:
        return _finite(actual.mean())
    answered = [output.classes.index(value) for value in output.columns(parts.numbers[rows])[output.target]]
    return float((np.array(answered) == actual).mean())


def _categories(system: System, parts: _Parts, rows: pl.DataFrame) -> list[Section]:
    """Errors by the values of categories that have most rows."""
    found: list[Section] = []
    for column in system.contract.columns:
        if column.name not in rows.columns or column.name in (*system.keys, system.target):
            continue
        values = rows[column.name]
        if column.type not in ("category", "boolean") or not 1 < values.n_unique() <= rows.height // 2:
            continue
        counts = values.value_counts(sort=True, name=":n").sort(":n", column.name, descending=[True, False])
        lines = []
        for value, count in counts.head(_LEVELS).rows():
            if count >= _LEAST:
                places = values.eq_missing(value).arg_true().to_list()
                lines.append(("(missing)" if value is None else str(value), count, *parts.of(places).values()))
        if len(lines) > 1:
            header = (column.name, "rows", *parts.names)
            found.append(ReportTable(f"By {column.name}", header, lines, shares=_SHARES))
    return found[:_COLUMNS]


def importance(fitted: RowFit, rows: pl.DataFrame) -> Importance:
    """How much each feature matters, from contributions to the score of some rows, evenly taken.

    Args:
        fitted: The fit.
        rows: With all columns that it reads.
    """
    sample = rows.gather_every(max(rows.height // _EXPLAINED, 1)).head(_EXPLAINED)
    try:
        explanations = RowExplainer(fitted.model, 0).explain(sample)
    except HeadraceError as error:  # one that cannot tell keeps its card
        return Importance(reason=error.message)
    sums: dict[str, float] = {}
    for explanation in explanations:
        for part in explanation.contributions:
            if part.kind != "step":
                sums[part.feature] = sums.get(part.feature, 0.0) + abs(part.contribution) / len(explanations)
    scale = explanations[0].scale if explanations else ""
    return Importance.of(sums, len(explanations), scale, _gains(fitted.model), _permuted(fitted, rows))


def _permuted(fitted: RowFit, rows: pl.DataFrame) -> dict[str, float] | None:
    """By how much the loss grows where a feature's values are shuffled among some rows; None without a truth."""
    model, output = fitted.model, fitted.output
    known_rows = rows.drop_nulls(output.target) if output.target in rows.columns else rows.clear()
    sample = known_rows.gather_every(max(known_rows.height // _SHUFFLED, 1)).head(_SHUFFLED)
    if not sample.height:
        return None
    learnt = output.learnt(output.actual(sample[output.target]))
    values = model.features.over(sample, CompileTarget(time=model.time))
    before = output.loss(learnt, model.of_encoded(model.encoder.of_frame(values)))
    random, growth = np.random.default_rng(0), dict[str, float]()
    for name in model.encoder.names:
        shuffled = values.with_columns(values[name].gather(random.permutation(sample.height)))
        after = output.loss(learnt, model.of_encoded(model.encoder.of_frame(shuffled)))
        growth[name] = float(after - before)
    return growth


def _gains(model: RowModel) -> dict[str, float] | None:
    """The share of each feature in the gain of the members' splits, by the members' weights; None without trees."""
    names = model.encoder.names
    total, any_tree = np.zeros(len(names)), False
    for weight, (_, member) in zip(model.weights, model.members, strict=True):
        gains = member.gains(len(names))
        if gains is not None and gains.sum() > 0:
            total, any_tree = total + weight * gains / gains.sum(), True
    return dict(zip(names, total.tolist(), strict=True)) if any_tree else None
