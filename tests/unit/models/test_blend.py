"""Blends of members: weights learnt on held-out scores, judged on what did not fit them, dropped where they are 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Classifier, Column, Estimator, Linear, Regressor
from headrace.features import Features, col
from headrace.metrics import rmse
from headrace.tasks.rows.blend import Blend
from headrace.tasks.rows.explained import RowExplainer
from headrace.tasks.rows.fitting import RowFit, Rows, fit
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.base import output_class

TYPES = {"x": "float", "z": "float", "kind": "category"}
FEATURES = Features({name: col(name) for name in TYPES})
CONSTANT = Estimator(class_path="sklearn.dummy.DummyRegressor")
NEIGHBOURS = "sklearn.neighbors.KNeighborsRegressor"


def frame(count: int = 400, seed: int = 0) -> pl.DataFrame:
    """A line that a tree sees in steps, and steps that a line does not see."""
    random = np.random.default_rng(seed)
    x, z = random.normal(size=count), random.uniform(-1, 1, size=count)
    y = 10 + 2 * x + 3 * np.sign(z) * (np.abs(z) > 0.5) + 0.5 * random.normal(size=count)
    kind = random.choice(["a", "b"], count)
    return pl.DataFrame({"x": x, "z": z, "kind": kind, "y": y, "won": (y > 10).astype(int)})


def fitted(members: tuple[Any, ...], rows: pl.DataFrame | None = None, target: str = "y") -> RowFit:
    kind = Regressor if target == "y" else Classifier
    model = kind(members=members, folds=4, repeats=1)
    values = () if target == "y" else (0, 1)
    column = Column(target, "float" if target == "y" else "integer")
    output = output_class(model.output(values)).of(model, column, values)
    return fit(model, output, FEATURES, Rows(frame() if rows is None else rows, target, TYPES))


def test_weights_of_numbers_are_those_that_made_them_and_never_below_nought() -> None:
    random = np.random.default_rng(0)
    scores = 5 + random.normal(size=(3, 500))
    blend = Blend.of_numbers(5 + 0.7 * (scores[0] - 5) + 0.5 * (scores[2] - 5), scores)
    assert blend.weights == pytest.approx((0.7, 0, 0.5), abs=0.03)
    assert blend.weights[1] == 0
    assert blend.used == (0, 2)
    assert Blend.of_numbers(-scores[0], scores[:1]).weights == (1.0,), "worse than none: the mean"


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_classes_are_a_mixture_with_the_least_log_loss(classes: int) -> None:
    random = np.random.default_rng(1)
    parts = random.dirichlet(np.ones(classes), size=(3, 4000))
    mixed = 0.7 * parts[0] + 0.3 * parts[1]
    truth = (random.random((4000, 1)) > mixed.cumsum(axis=1)).sum(axis=1).astype(float)
    blend = Blend.of_classes(truth, parts[..., 1] if classes == 2 else parts)
    assert blend.weights == pytest.approx((0.7, 0.3, 0), abs=0.06)
    assert sum(blend.weights) == pytest.approx(1)
    assert blend.offset == 0
    assert all(weight == 0 or weight >= 0.01 for weight in blend.weights)


def test_members_that_each_see_a_part_are_blended_and_a_useless_one_is_dropped(tmp_path: Path) -> None:
    result = fitted((Linear(), CONSTANT, Boosting(n_estimators=30, learning_rate=0.05)))
    assert result.chosen == "blend"
    assert result.scores["rmse_blend"] < min(result.scores[f"rmse_{name}"] for name in ("0_linear", "all"))
    model = result.model
    assert model.names == ("0_linear", "2_boosting")
    assert all(weight > 0 for weight in model.weights)
    (tmp_path / "again").mkdir()
    model.save(tmp_path)
    loaded = RowModel.load(tmp_path)
    assert (loaded.names, loaded.blend) == (model.names, model.blend)
    rows = frame(50, seed=2)
    again = fitted((Linear(), CONSTANT, Boosting(n_estimators=30, learning_rate=0.05))).model
    again.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.json").read_bytes() == (tmp_path / "model.json").read_bytes()
    table = loaded.output.answers(loaded.numbers(rows))
    assert [loaded.answer(row) for row in rows.iter_rows(named=True)] == table


def test_what_a_blend_is_said_to_lose_is_what_it_loses_on_other_rows() -> None:
    # Many members of noise: weights fitted on the rows that they are judged on would flatter the blend.
    members = (Linear(), *(Estimator(class_path=NEIGHBOURS, params={"n_neighbors": k}) for k in range(1, 9)))
    result = fitted(members, frame(80))
    new = frame(4000, seed=9)
    result_new = rmse(new["y"].to_numpy(), fitted(members, frame(80)).model.numbers(new)[:, 0])
    assert result.scores["rmse"] == pytest.approx(result_new, rel=0.2)


def test_a_blend_that_is_no_clear_gain_is_not_taken() -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=300)
    rows = pl.DataFrame({"x": x, "z": x, "kind": ["a"] * 300, "y": x + random.normal(size=300)})
    result = fitted((Linear(), Linear(C=2.0)), rows)
    assert result.chosen != "blend"


@pytest.mark.parametrize("target", ["y", "won"])
def test_contributions_follow_the_weights(target: str) -> None:
    result = fitted((Linear(), Boosting(n_estimators=30, learning_rate=0.05)), target=target)
    model = result.model
    rows = frame(20, seed=4)
    for told, answer in zip(
        RowExplainer(model, 1).explain(rows), model.output.answers(model.numbers(rows)), strict=True
    ):
        value = answer["y"] if target == "y" else answer["probability"]
        total = told.total if target == "y" else 1 / (1 + np.exp(-told.total))
        assert total == pytest.approx(value)


def test_repeats_are_told_as_fits_of_their_own_and_not_as_their_mean() -> None:
    # The mean of several fits is better than the one fit that is served.
    rows, losses = frame(60), []
    for settings in ({"seed": 0}, {"seed": 1}, {"seed": 2}, {"repeats": 3}):
        model = Regressor(members=(Linear(),), folds=4, **{"repeats": 1, **settings})
        output = output_class("regression").of(model, Column("y", "float"), ())
        losses.append(fit(model, output, FEATURES, Rows(rows, "y", TYPES)).scores["rmse_0_linear"])
    assert losses[3] == pytest.approx(np.mean(losses[:3]))
