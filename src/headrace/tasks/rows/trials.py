"""What members and baselines say of rows that were held out from them, and which of them, or of their blends, is best.

A blend's weights are fitted on the held-out scores of other parts than the one that it is judged on, of earlier parts
where rows have a time: its loss is not of its own making.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from headrace.errors import ModelError
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner
from headrace.models.encoding import Array, Encoder
from headrace.models.tabular import Tabular
from headrace.tasks.rows.blend import Blend
from headrace.tasks.rows.folds import FORWARD, RowFolds
from headrace.tasks.rows.outputs.base import Output, key_of
from headrace.tasks.rows.table import Asked, RowTable
from headrace.watching import tell_held_out

ALL, BLEND = "all", "blend"
"""Names of candidates beside the members: their plain mean, and their scores by learnt weights."""
ENOUGH = 20
"""Fewer held-out rows than this say nothing. Of later ones: then random parts are held out, of whole groups still."""
_BLOCKS = 20
"""Into how many parts rows are dealt to see how far a difference of two losses is noise."""


def known(numbers: Array) -> Any:
    """Of which rows there are numbers: shape (rows,)."""
    return ~np.isnan(numbers if numbers.ndim == 1 else numbers[:, 0])


def placed(numbers: Array, rows: Any) -> Array:
    """Numbers of some rows among all, NaN elsewhere."""
    everywhere = np.full((rows.size, *numbers.shape[1:]), np.nan)
    everywhere[rows] = numbers
    return everywhere


@dataclass(frozen=True)
class Trials:
    """Held-out scores of every learner of a model.

    Attributes:
        model: The declaration.
        output: What is predicted.
        features: What is read.
        table: Their values.
        learnt: The target on the output's scale: shape (rows,).
        folds: How rows are held out.
        instead: Whether the best baseline is served in the place of all members, however good those are.
    """

    model: Tabular
    output: Output
    features: Features
    table: RowTable
    learnt: Array
    folds: RowFolds
    instead: bool = False

    @cached_property
    def _learners(self) -> tuple[Learner, ...]:
        return (*self.model.members, *self.model.baselines)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*self.model.names, *self.model.baseline_names)

    @cached_property
    def _parts(self) -> list[Array]:
        """Of every repeat the scores of every learner: shape (learners, rows), or (learners, rows, width)."""
        return [self._once(self.model.seed + repeat) for repeat in range(1 if self.folds.once else self.model.repeats)]

    @cached_property
    def candidates(self) -> dict[str, Array]:
        """By name of the candidate its scores in every repeat: shape (repeats, rows), or (repeats, rows, width).

        NaN where no part held a row. Repeats are never averaged: many fits together are better than the one that is
        served. The members, their mean and their blend; `baselines` are apart.
        """
        count = len(self.model.members)
        parts = np.stack([part[:count] for part in self._parts])
        scores = {name: parts[:, place] for place, name in enumerate(self.model.names)}
        if count > 1:
            scores[ALL] = parts.mean(axis=1)
            if self.output.width == 1 or self.output.classes:
                scores[BLEND] = np.stack([self._stacked(part, self.model.seed + k) for k, part in enumerate(parts)])
        return scores

    @cached_property
    def baselines(self) -> dict[str, Array]:
        """By name of the baseline its scores, as those of `candidates`."""
        parts = np.stack([part[len(self.model.members) :] for part in self._parts])
        return {name: parts[:, place] for place, name in enumerate(self.model.baseline_names)}

    @cached_property
    def held(self) -> Any:
        """Which rows some part held, in every repeat: shape (rows,)."""
        return np.all([known(scores) for scores in next(iter(self.candidates.values()))], axis=0)

    @cached_property
    def losses(self) -> dict[str, float]:
        """The loss of every candidate and baseline, by name: the mean over the repeats."""
        every = {**self.candidates, **self.baselines}
        return {name: self._loss(scores, self.held) for name, scores in every.items()}

    @cached_property
    def chosen(self) -> str:
        """The candidate with the least loss; a blend, or a baseline in its place, only if better by more than noise."""
        simple = [name for name in self.candidates if name != BLEND]
        best = min(simple, key=lambda name: self.losses[name])
        if BLEND in self.candidates and self._clearly(BLEND, best):
            best = BLEND
        baseline = min(self.baselines, key=lambda name: self.losses[name], default=None)
        if self.instead and baseline is not None:
            return baseline
        return baseline if baseline is not None and self._clearly(baseline, best) else best

    @cached_property
    def blend(self) -> Blend:
        """How the scores of the learners that were chosen become one: a weight for every learner of the model."""
        count, learners, chosen = len(self.model.members), len(self._learners), self.chosen
        if chosen == BLEND:
            scores = np.concatenate([part[:count, self.held] for part in self._parts], axis=1)
            fitted = self._fitted(np.tile(self.learnt[self.held], len(self._parts)), scores)
            return Blend((*fitted.weights, *(0.0,) * (learners - count)), fitted.offset)
        if chosen == ALL:
            return Blend((*Blend.mean(count).weights, *(0.0,) * (learners - count)))
        return Blend(tuple(float(name == chosen) for name in self._names))

    def _fitted(self, learnt: Array, scores: Array) -> Blend:
        """The blend of some rows' scores; the plain mean where they say too little."""
        if learnt.size < ENOUGH or not np.isfinite(scores).all():
            return Blend.mean(len(scores))
        return (Blend.of_classes if self.output.classes else Blend.of_numbers)(learnt, scores)

    def _stacked(self, scores: Array, seed: int) -> Array:
        """Every part's scores by the weights that the others, or those before it, would have given."""
        held, before = known(scores[0]), np.zeros(self.learnt.size, dtype=bool)
        stacked = np.full(scores.shape[1:], np.nan)
        for places in self.folds.judged(seed):
            rows = np.zeros(held.size, dtype=bool)
            rows[places] = True
            rows &= held
            others = before if self.folds.kind == FORWARD else held & ~rows
            stacked[rows] = self._fitted(self.learnt[others], scores[:, others]).of(scores[:, rows])
            before = before | rows
        return stacked

    def _loss(self, scores: Array, rows: Any) -> float:
        return float(np.mean([self.output.loss(self.learnt[rows], once[rows]) for once in scores]))

    def _clearly(self, name: str, other: str) -> bool:
        """Whether a candidate's loss is less than another's by more than the standard error of their difference."""
        if not self.losses[name] < self.losses[other]:
            return False
        every, places = {**self.candidates, **self.baselines}, np.flatnonzero(self.held)
        blocks = [places[block::_BLOCKS] for block in range(_BLOCKS)]
        gaps = [self._loss(every[other], block) - self._loss(every[name], block) for block in blocks]
        return float(np.mean(gaps)) > float(np.std(gaps, ddof=1)) / math.sqrt(_BLOCKS)

    @property
    def calibrated(self) -> Output:
        """The output, calibrated on what the chosen one held out, once."""
        return self._calibrated({**self.candidates, **self.baselines}[self.chosen][0], self.held)

    def _calibrated(self, scores: Array, rows: Any) -> Output:
        return self.output.calibrated_by(self.learnt[rows], scores[rows], self.keys(rows), self.model)

    def keys(self, rows: Any) -> list[str | None] | None:
        """By what the output is calibrated, of some rows."""
        if (keyed := self.output.keyed) is None:
            return None
        return list(map(key_of, self.table.select([keyed])[keyed].gather(np.flatnonzero(rows))))

    def judged(self, name: str) -> list[Array]:
        """The output's numbers of a candidate by which it is judged, of every repeat: see `RowFit.held_out`."""
        return [self._judged(scores) for scores in {**self.candidates, **self.baselines}[name]]

    def _judged(self, scores: Array) -> Array:
        held, learnt, output = self.held, self.learnt, self.output
        if self.folds.kind == FORWARD and (later := self._calibrated_before(scores)) is not None:
            return later
        numbers = output.held_out(learnt[held], scores[held], self.keys(held), self.model)
        return placed(numbers, held)

    def _calibrated_before(self, scores: Array) -> Array | None:
        """Numbers of every part but the first, calibrated on those before it, as a model is on what is past when it is
        used; None where that leaves too little."""
        before, numbers = np.zeros(self.learnt.size, dtype=bool), None
        for places in self.folds.judged(self.model.seed):
            rows = np.zeros(before.size, dtype=bool)
            rows[places] = True
            rows &= self.held
            if before.sum() >= ENOUGH and rows.any():
                calibrated = self._calibrated(scores, before)
                part = calibrated.numbers_by(scores[rows], self.keys(rows))
                numbers = placed(part, rows) if numbers is None else numbers
                numbers[rows] = part
            before |= rows
        return None if numbers is None or known(numbers).sum() < ENOUGH else numbers

    def _once(self, seed: int) -> Array:
        width = () if self.output.width == 1 else (self.output.width,)
        scores = np.full((len(self._learners), self.learnt.size, *width), np.nan)
        for number, fold in enumerate(self.folds.each(seed), (seed - self.model.seed) * self.folds.count):
            if fold.kept.size and self.output.learnable(self.learnt[fold.kept]):
                learnt = self.table.fitted(self._learners, self._task, fold.kept, seed)
                for place, said in enumerate(self.table.scores(learnt, fold.held)):
                    scores[place, fold.held] = self._finite(said, place)
                tell_held_out(number, partial(self._loss_of, fold.held, scores))
        return scores

    def _loss_of(self, held: Any, scores: Array) -> float:
        """Of the mean of all members, on rows that were held out."""
        return self.output.loss(self.learnt[held], scores[: len(self.model.members), held].mean(axis=0))

    def _finite(self, scores: Array, place: int) -> Array:
        """The scores of held-out rows; of numbers all are finite, so that all members are judged by the same rows.

        Raises:
            ModelError: Some are not; names the member.
        """
        odd = 0 if self.output.classes else int((~np.isfinite(scores)).sum())
        if odd:
            count = len(self.model.members)
            where = f"model.members[{place}]" if place < count else f"model.baselines[{place - count}]"
            message = f"{self._names[place]} gives no finite number for {odd} of {len(scores)} held-out rows"
            raise ModelError(message, where=where, hint="fill missing values in the member")
        return scores

    def fitted_on_all(self, places: tuple[int, ...]) -> tuple[Encoder, tuple[tuple[str, Fitted], ...]]:
        """The encoder and the learners at some places, fitted on all rows."""
        learners = [self._learners[place] for place in places]
        learnt = self.table.fitted(learners, self._task, np.arange(self.learnt.size), self.model.seed)
        kinds = (learner.kind for learner in learners)
        return learnt.encoder, tuple(zip(kinds, learnt.learners, strict=True))

    def named(self, places: tuple[int, ...]) -> tuple[str, ...]:
        """What the learners at some places are called."""
        return tuple(self._names[place] for place in places)

    @property
    def _task(self) -> Asked:
        output = self.output
        return Asked(self.learnt, self.model.asks(output.classes), len(output.classes))
