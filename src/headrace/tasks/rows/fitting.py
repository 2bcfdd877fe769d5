"""From labelled rows to a fitted model: members compared on held-out rows, the best fitted on all and calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import ModelError, NotEnoughDataError, UsageError
from headrace.features.expression import CompileTarget
from headrace.features.served import ServedFeatures
from headrace.features.view import Features
from headrace.models.encoding import TEXTS, Array, Encoder
from headrace.models.tabular import Tabular
from headrace.tasks.rows.blend import Blend
from headrace.tasks.rows.folds import RowFolds, tenths
from headrace.tasks.rows.model import RowModel, constant, refuse_disagreement
from headrace.tasks.rows.notes import Notes
from headrace.tasks.rows.outputs.base import Output
from headrace.tasks.rows.table import FrameTable, RowTable
from headrace.tasks.rows.trials import ENOUGH, Trials, known

if TYPE_CHECKING:
    import polars as pl

GATE_ROWS = 200
"""Rows on which a new model's two forms are compared before it is registered."""
OF_VALUE = 50
"""Held-out rows of one value, from which on the coverage of its intervals says something."""


@dataclass(frozen=True)
class Rows:
    """What a model of rows learns from.

    Attributes:
        frame: Typed rows: the columns that the features read, and the target, which is never missing.
        target: Its column.
        types: Contract type of every column that the features read.
        time: The column of a row's time, if rows have one.
        served: The features that rows were served with, which are learnt from in place of those computed from them.
    """

    frame: pl.DataFrame
    target: str
    types: Mapping[str, str]
    time: str | None = None
    served: ServedFeatures | None = None

    def table(self, features: Features) -> tuple[pl.DataFrame, int]:
        """The features of every row, one column a feature; and of how many rows they are those that were served."""
        computed = features.over(self.frame, CompileTarget(time=self.time))
        return (computed, 0) if self.served is None else self.served.into(computed)

    def read(self, features: Features) -> tuple[RowTable, int]:
        """`table` as learners are fitted on it."""
        frame, served = self.table(features)
        return FrameTable(features, frame), served

    @property
    def some(self) -> pl.DataFrame:
        """Rows with all columns: all of them, or a few where they are more than memory should hold."""
        return self.frame


@dataclass(frozen=True)
class RowFit:
    """A fitted model and how it was measured.

    Attributes:
        model: Fitted on all rows.
        chosen: The members that were chosen, by name.
        actual: The target of every training row as the output's numbers.
        held_out: Per training row the output's numbers from fits and calibrations that did not see it, both of earlier
            rows where rows have a time, in the first repeat; NaN where there are none.
        scores: The output's metrics of held-out rows and the loss of every candidate, each the mean over the repeats.
        baselines: The output's measure of what needs no model, on the same rows, by what it is called in a sentence.
        held_by: How rows were held out: ``forward``, ``groups`` or ``random``.
        served: How many rows were learnt from as they were served; the others were computed.
    """

    model: RowModel
    chosen: str
    actual: Array
    held_out: Array
    scores: dict[str, float]
    baselines: dict[str, float]
    held_by: str
    served: int = 0

    @property
    def output(self) -> Output:
        """What it predicts."""
        return self.model.output

    @property
    def judged(self) -> int:
        """How many rows the scores are of."""
        return int(known(self.held_out).sum())


def fulfilling(model: Tabular, rows: pl.DataFrame) -> pl.Series:
    """Of which rows the model's `learn_from` is true; of all, where there is none."""
    import polars as pl

    if model.learn_from is None:
        return pl.repeat(True, rows.height, eager=True)
    told = rows.select(model.learn_from.compile(CompileTarget()).fill_null(value=False).alias("told"))
    return told["told"]


def fit(model: Tabular, output: Output, features: Features, rows: Rows, *, instead: bool = False) -> RowFit:
    """Choose, fit and calibrate.

    Args:
        model: The declaration.
        output: What is predicted.
        features: What is read.
        rows: What is learnt from.
        instead: Whether the best baseline is served in the place of all members.

    Raises:
        UsageError: The model declares no baseline that could be served instead.
        NotEnoughDataError: There are too few rows, or one class only.
        DeclarationError: A learner's settings do not fit the rows.
        ModelError: The row form of the new model disagrees with its table form.
    """
    if instead and not model.baselines:
        hint = "declare what may be served: model=...(baselines=(Rules(...),))"
        raise UsageError("there is no baseline that could be served", where="model.baselines", hint=hint)
    actual = output.actual(rows.frame[rows.target])
    _refuse_unknown(rows, output, actual)
    output.refuse(actual)
    table, served = rows.read(features)
    folds = _folds(model, output, rows, actual)
    trials = Trials(model, output, features, table, output.learnt(actual), folds, instead)
    if folds.times is not None and trials.held.sum() < ENOUGH:
        trials = replace(trials, folds=replace(folds, times=None))
    if model.groups is not None and trials.held.sum() < ENOUGH:
        message = f"{trials.held.sum()} rows can be held out by {model.groups!r}: the others' learners see one class"
        raise NotEnoughDataError(message, where="model.groups", hint=f"at least {ENOUGH}, or leave model.groups out")
    repeats = trials.judged(trials.chosen)
    judged = known(repeats[0])
    constants = output.constants(actual)
    fitted = _model(trials, rows, {name: tuple(value.tolist()) for name, (_, value) in constants.items()})
    refuse_disagreement(fitted, rows.some.head(GATE_ROWS))
    metrics = _mean([output.metrics(actual[judged], numbers[judged]) for numbers in repeats]) | output.summary(actual)
    metrics |= _least_coverage(trials, actual, repeats[0])
    metrics |= {f"{output.measure}_{name}": loss for name, loss in trials.losses.items()}
    numbers = {called: constant(value, judged.sum()) for called, value in constants.values()}
    baselines = {called: output.metrics(actual[judged], value)[output.measure] for called, value in numbers.items()}
    for name, every in trials.baselines.items():
        figures = [output.metrics(actual[judged], output.bare(scores[judged])) for scores in every]
        baselines[f"the {name}"] = _mean(figures)[output.measure]
    return RowFit(fitted, trials.chosen, actual, repeats[0], metrics, baselines, trials.folds.kind, served)


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over the repeats."""
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}


def _least_coverage(trials: Trials, actual: Array, held_out: Array) -> dict[str, float]:
    """``coverage_least``: the least coverage of a value that intervals are by, of those that have rows enough."""
    judged = known(held_out)
    keys = trials.keys(judged)
    if keys is None:
        return {}
    names, places = np.array(["" if key is None else key for key in keys]), np.flatnonzero(judged)
    groups = (places[names == name] for name in np.unique(names))
    shares = [
        trials.output.metrics(actual[rows], held_out[rows])["coverage"] for rows in groups if rows.size >= OF_VALUE
    ]
    return {"coverage_least": min(shares)} if shares else {}


def _model(trials: Trials, rows: Rows, constants: Mapping[str, Sequence[float]]) -> RowModel:
    """The learners that were chosen and the baselines, fitted on all rows, and calibrated on what they held out."""
    model, blend = trials.model, trials.blend
    beside = range(len(model.members), len(blend.weights))
    places = tuple(dict.fromkeys((*blend.used, *beside)))
    encoder, learners = trials.fitted_on_all(places)
    by_place, names, count = dict(zip(places, learners, strict=True)), trials.named(places), len(blend.used)
    return RowModel(
        output=trials.calibrated,
        types=rows.types,
        time=rows.time,
        features=trials.features,
        encoder=encoder,
        members=learners[:count],
        names=names[:count],
        blend=Blend(tuple(blend.weights[place] for place in blend.used), blend.offset),
        baselines={name: by_place[place] for name, place in zip(model.baseline_names, beside, strict=True)},
        notes=Notes.fit(model.notes, encoder, trials.table.select(_watched(model, encoder))),
        constants=constants,
    )


def _watched(model: Tabular, encoder: Encoder) -> list[str]:
    """The features of which notes must know all values: of texts they need none."""
    roles = zip(encoder.names, encoder.roles, strict=True)
    return [name for name, role in roles if name in model.notes and role not in TEXTS]


def _refuse_unknown(rows: Rows, output: Output, actual: Array) -> None:
    """Refuse targets that are none of the declared ones: they came before the contract was as it is."""
    unknown = rows.frame.filter(np.isnan(actual))[rows.target]
    if not unknown.is_empty():
        values = ", ".join(map(str, unknown.unique().sort().head(5)))
        message = f"{len(unknown)} rows have a target that is none of {', '.join(map(str, output.classes))}: {values}"
        hint = "declare it among the values, or ingest these rows again with another, or without one"
        raise ModelError(message, where=rows.target, hint=hint)


def _folds(model: Tabular, output: Output, rows: Rows, actual: Array) -> RowFolds:
    time = None if rows.time is None else rows.frame[rows.time]
    group = None if model.groups is None else rows.frame[model.groups]
    strata = actual.astype(np.intp) if output.classes else tenths(output.learnt(actual))
    folds = RowFolds.of(model.folds, actual.size, time, group, strata)
    folds = replace(folds, once=actual.size > model.max_rows)
    folds.refuse(str(model.groups))
    return folds
