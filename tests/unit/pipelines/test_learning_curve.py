"""Learning curves: the same unseen data for every share, what the figures mean in words, and fair shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace import Column, Contract, Regressor, System
from headrace.errors import NotEnoughDataError
from headrace.features import col
from headrace.tasks.card import ModelCard
from headrace.tasks.learning_curve import learning_curve
from headrace.tasks.objective import Objective, UnseenLosses
from headrace.tasks.rows.folds import RowFolds
from headrace.tasks.rows.objective import _nested


class Squares(Objective):
    """Errors fall as its `errors` say; each fit is its share."""

    measure, folds, seen, learnt = "rmse", 1, "800 rows", "rows"

    def __init__(self, errors: dict[float, float], noise: float) -> None:
        self.errors, self.noise = errors, noise

    def loss(self, system: System, report: Any) -> float:
        raise AssertionError

    def size(self, share: float = 1.0) -> int:
        return round(800 * share)

    def unseen(self, system: System, share: float = 1.0) -> float:
        if share not in self.errors:
            raise NotEnoughDataError("too few")
        return share

    def judged(self, parts: Sequence[float]) -> UnseenLosses:
        random = np.random.default_rng(1)
        each = {share: self.errors[share] + self.noise * random.normal(size=200) for share in parts}
        blocks = (np.arange(200) % 20).astype(np.intp)
        return UnseenLosses.of(lambda kept: [each[s][kept].mean() for s in parts], blocks, "rmse", "rows")


@pytest.mark.parametrize(
    ("errors", "noise", "said"),
    [
        ({0.125: 8.0, 0.25: 7.0, 0.5: 6.0, 1.0: 5.0}, 0.1, "1 less, with a standard error of 0.0"),
        ({0.125: 8.0, 0.25: 7.0, 0.5: 6.0, 1.0: 5.0}, 0.1, "More rows would help."),
        ({0.5: 6.0, 1.0: 5.99}, 5.0, "so it may be noise. More rows of the same kind would hardly help."),
        ({0.5: 5.0, 1.0: 6.0}, 0.1, "More rows made it worse"),
        ({1.0: 6.0}, 0.1, "Fewer than all 800 rows are too few to learn from"),
    ],
)
def test_what_a_curve_means_in_words(errors: dict[float, float], noise: float, said: str) -> None:
    told = list[tuple[str, int, int]]()
    curve = learning_curve(house(Regressor()), Squares(errors, noise), lambda *stage: told.append(stage))
    assert said in curve.sentence
    assert [point.share for point in curve.points] == list(errors)
    assert curve.too_few == tuple(share for share in (0.125, 0.25, 0.5) if share not in errors)
    assert told[-1] == ("learn from all of the rows", 3, 4)
    card = ModelCard("a", "b", ()).with_curve(curve)
    assert curve.sentence.split(":")[0] in card.markdown()
    assert ("<svg" in card.html()) == (len(errors) > 1)
    assert card.as_dict()["learning_curve"]["helps"] == curve.helps


def test_all_of_it_must_be_enough() -> None:
    with pytest.raises(NotEnoughDataError):
        learning_curve(house(Regressor()), Squares({0.5: 1.0}, 0.1), lambda *_: None)


def test_an_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(size=50)
    losses = UnseenLosses.of(lambda kept: [values[kept].mean()], np.arange(50), "mae", "rows")
    assert losses.error(0) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


@given(some.integers(1, 60), some.sampled_from(["classes", "groups", "neither"]), some.integers(0, 5))
def test_a_beginning_of_the_order_is_a_fair_share(count: int, kind: str, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, count).astype(np.intp)
    groups, strata = (labels if kind == "groups" else None), (labels if kind == "classes" else None)
    order = _nested(RowFolds(5, count, None, groups, strata), np.arange(count), seed)
    assert sorted(order) == list(range(count))
    assert (order == _nested(RowFolds(5, count, None, groups, strata), np.arange(count), seed)).all()
    if kind == "groups":  # one group after the other
        assert (np.diff(labels[order]) != 0).sum() == np.unique(labels).size - 1
    if kind == "classes":
        half = np.bincount(labels[order[: count // 2]], minlength=3)
        assert (np.abs(half - np.bincount(labels, minlength=3) / 2) <= 1.5).all()


def house(model: object) -> System:
    columns = (
        Column("id", "integer"),
        Column("y", "float", nullable=True),
        Column("size", "float"),
    )
    return System(
        name="house",
        contract=Contract(columns=columns),
        keys=("id",),
        target="y",
        features={"size": col("size")},
        model=model,
    )
