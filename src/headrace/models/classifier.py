"""Classifier: two classes from the features of a row, chosen by cross-validation, with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from headrace import metrics
from headrace.errors import DeclarationError, ModelError, NotEnoughDataError
from headrace.features.expression import Table
from headrace.features.view import Features
from headrace.models.base import Model
from headrace.models.boosting import Boosting
from headrace.models.encoding import Array, Encoder
from headrace.models.estimator import Estimator
from headrace.models.linear import Linear, logistic
from headrace.models.onnx import Onnx
from headrace.models.rowmodel import Calibration, RowModel, Scorer

if TYPE_CHECKING:
    import polars as pl

Indices = NDArray[np.intp]
GATE_ROWS = 200
"""Rows on which a new model's two forms are compared before it is registered."""
_LEAST, _OF_EACH = 20, 2
_STILL = 1e-10
"""A smaller step of the calibration's weights is none."""


def _member(value: object) -> object:
    """A member from its JSON form, as configuration gives it."""
    if isinstance(value, Mapping):
        kinds = {"path": Estimator, "strength": Linear, "sha256": Onnx}
        kind = next((kind for field, kind in kinds.items() if field in value), Boosting)
        return kind(**value)
    return value


Member = Annotated[Linear | Boosting | Estimator | Onnx, BeforeValidator(_member)]


@dataclass(frozen=True)
class Rows:
    """What a classifier learns from.

    Attributes:
        frame: Typed rows: the columns that the features read, and the target, which is never missing.
        target: Its column.
        types: Contract type of every column that the features read.
        time: The column of a row's time, if rows have one.
    """

    frame: pl.DataFrame
    target: str
    types: Mapping[str, str]
    time: str | None = None


@dataclass(frozen=True)
class ClassifierFit:
    """A fitted model and how it was measured.

    Attributes:
        model: Fitted on all rows.
        chosen: The members that were chosen, by name.
        held_out: Per training row the calibrated probability from fits that did not see it.
        scores: Of `held_out`: ``accuracy log_loss brier auc``; the `share` of the second class among the training
            rows; and the log loss of every candidate.
    """

    model: RowModel
    chosen: str
    held_out: Array
    scores: dict[str, float]


class Classifier(Model):
    """A classifier of two classes over the features of a row.

    Every member alone, and all together as the mean of their probabilities, are compared by repeated stratified
    cross-validation on log loss; the best is fitted on all rows. Probabilities are calibrated on the held-out ones.

    Attributes:
        members: What is tried.
        folds: Parts of the cross-validation.
        repeats: How often it is repeated with other parts.
        calibrate: Whether probabilities are calibrated (Platt's scaling).
        threshold: From this probability on the second class is predicted.
        seed: Of the parts and the members.
    """

    members: tuple[Member, ...] = Field(default=(Linear(), Boosting()), min_length=1)
    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=3, ge=1)
    calibrate: bool = True
    threshold: float = Field(default=0.5, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    def check(self, *, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that forecasts."""
        if horizon is not None:
            raise DeclarationError(
                "a Classifier scores rows, it does not forecast", where="model", hint="use Forecaster()"
            )

    def fit(self, features: Features, rows: Rows) -> ClassifierFit:
        """Choose, fit and calibrate.

        Raises:
            NotEnoughDataError: There are too few rows, or one class only.
            DeclarationError: The target has more than two values.
            ModelError: The row form of the new model disagrees with its table form.
        """
        classes, target = _classes(rows)
        table = features.over(rows.frame, Table(time=rows.time))
        trials = _Trials(self, features, table, target)
        losses = {name: metrics.log_loss(target, raw) for name, raw in trials.candidates().items()}
        chosen = min(losses, key=lambda name: losses[name])
        raw = trials.candidates()[chosen]
        calibration = _platt(raw, target) if self.calibrate else Calibration()
        held_out = np.array([calibration(p) for p in raw.tolist()])
        encoder = Encoder.fit(features, table, target)
        matrix = encoder.training_matrix(table, target)
        used = [m for m, name in zip(self.members, self.names, strict=True) if chosen in (name, _ALL)]
        fitted = tuple((m.kind, m.fit(encoder, matrix, target, self.seed)) for m in used)
        model = RowModel(
            rows.target, classes, rows.types, rows.time, features, encoder, fitted, calibration, self.threshold
        )
        refuse_disagreement(model, rows.frame.head(GATE_ROWS))
        scores = metrics.of_probabilities(target, held_out, self.threshold)
        scores["share"] = float(target.mean())
        scores |= {f"log_loss_{name}": loss for name, loss in losses.items()}
        return ClassifierFit(model, chosen, held_out, scores)

    @property
    def names(self) -> list[str]:
        """Of the members, each its own."""
        return [f"{place}_{member.kind}" for place, member in enumerate(self.members)]


_ALL = "all"


@dataclass(frozen=True)
class _Trials:
    """Held-out probabilities of every member."""

    model: Classifier
    features: Features
    table: pl.DataFrame
    target: Array

    def candidates(self) -> dict[str, Array]:
        """By name of the candidate: shape (rows,), the mean over the repeats."""
        made: dict[str, Array] | None = self.__dict__.get("_made")
        if made is None:
            parts = [self._once(self.model.seed + repeat) for repeat in range(self.model.repeats)]
            mean = np.mean(parts, axis=0)
            made = dict(zip(self.model.names, mean, strict=True))
            if len(made) > 1:
                made[_ALL] = mean.mean(axis=0)
            object.__setattr__(self, "_made", made)
        return made

    def _once(self, seed: int) -> Array:
        out = np.full((len(self.model.members), self.target.size), np.nan)
        for held in stratified(self.target, self.model.folds, seed):
            kept = np.ones(self.target.size, dtype=bool)
            kept[held] = False
            table, target = self.table.filter(kept), self.target[kept]
            encoder = Encoder.fit(self.features, table, target)
            matrix = encoder.training_matrix(table, target)
            asked = encoder.matrix(self.table[held])
            for place, member in enumerate(self.model.members):
                scorer: Scorer = member.fit(encoder, matrix, target, seed)
                out[place, held] = scorer.scores(asked)
        return out


def stratified(target: Array, folds: int, seed: int) -> Iterator[Indices]:
    """The places of the rows of each fold; every fold has the same share of either class, up to one row."""
    random = np.random.default_rng(seed)
    fold = np.empty(target.size, dtype=np.intp)
    dealt = 0
    for value in (0.0, 1.0):
        of_class = random.permutation(np.flatnonzero(target == value))
        fold[of_class] = (np.arange(of_class.size) + dealt) % folds
        dealt += of_class.size
    for each in range(folds):
        yield np.flatnonzero(fold == each)


def refuse_disagreement(model: RowModel, rows: pl.DataFrame) -> None:
    """Compare the row form with the table form, feature by feature and in the answer.

    Raises:
        ModelError: They differ in a bit; names the feature. Such a model must not be served.
    """
    table = model.features.over(rows, Table(time=model.time))
    answers = model.probabilities(rows).tolist()
    for place, row in enumerate(rows.iter_rows(named=True)):
        pairs = zip(model.row.names, model.row.call(row), table.row(place), strict=True)
        for name, ours, theirs in pairs:
            if not _same(ours, theirs):
                raise ModelError(f"gives {ours!r} for a row and {theirs!r} in a table", where=f"features.{name}")
        answer = model.probability(row)
        if answer != answers[place]:
            raise ModelError(f"a row gives {answer!r}, a table {answers[place]!r}", where="model")


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


def _classes(rows: Rows) -> tuple[tuple[Any, Any], Array]:
    found = rows.frame[rows.target].unique().sort().to_list()
    if len(found) > 2:
        raise DeclarationError(f"has {len(found)} values, a Classifier tells two apart", where=rows.target)
    if len(found) < 2 or rows.frame.height < _LEAST:
        counted = f"{rows.frame.height} rows with {len(found)} different targets are too few"
        raise NotEnoughDataError(counted, where=rows.target, hint=f"at least {_LEAST} rows, with both classes")
    target = (rows.frame[rows.target] == found[1]).cast(float).to_numpy()
    rarest = int(min(target.sum(), target.size - target.sum()))
    if rarest < _OF_EACH:  # then some part of the cross-validation would learn from one class only
        raise NotEnoughDataError(
            f"one class has {rarest} row", where=rows.target, hint=f"at least {_OF_EACH} rows of each class"
        )
    return (found[0], found[1]), target


def _platt(probabilities: Array, target: Array) -> Calibration:
    """Newton's method on the log loss of logistic(slope * log odds + shift), from the identity.

    Far from the optimum a whole step can go beyond it and never come back, so a step is halved until it is downhill. A
    touch of ridge towards the identity keeps it finite where classes are separated.
    """
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    design = np.column_stack([np.log(p / (1 - p)), np.ones(p.size)])
    identity = np.array([1.0, 0.0])

    def loss(weights: Array) -> float:
        odds = design @ weights
        return float((np.logaddexp(0, odds) - target * odds).sum() + ((weights - identity) ** 2).sum() / 2)

    weights = identity.copy()
    for _ in range(50):
        said = np.array([logistic(z) for z in (design @ weights).tolist()])
        gradient = design.T @ (said - target) + weights - identity
        hessian = (design * (said * (1 - said))[:, None]).T @ design + np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        now = loss(weights)
        while loss(weights - step) > now and float(np.abs(step).max()) > _STILL:
            step = step / 2
        weights = weights - step
        if float(np.abs(step).max()) <= _STILL:
            break
    return Calibration(float(weights[0]), float(weights[1]))
