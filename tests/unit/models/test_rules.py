"""Rules with back-off: a learner like others, and a baseline that is measured, kept, and served where it is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace import Column, Linear, Regressor, Rules
from headrace.errors import ArtefactError, DeclarationError
from headrace.features import Features, col, ngrams, target_mean
from headrace.models.rules import FittedRules
from headrace.tasks.rows.fitting import RowFit, Rows, fit
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.regression import Regression

TYPES = {"shop": "category", "kind": "category", "condition": "integer", "x": "float"}
FEATURES = Features({name: col(name) for name in TYPES})
RULES = Rules(levels=("shop", "kind"), by=("condition",), least=3)


def frame(count: int = 300, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    shop, kind, condition = (random.integers(0, n, count) for n in (2, 9, 3))
    price = np.exp(1 + shop + np.sin(7 * kind * (1 + shop)) + 0.8 * (condition == 1) + 0.1 * random.normal(size=count))
    return pl.DataFrame(
        {
            "shop": [f"s{n}" for n in shop],
            "kind": [None if n == 8 else f"k{n}" for n in kind],
            "condition": condition,
            "x": random.normal(size=count),
            "price": price,
        }
    )


def fitted(rows: pl.DataFrame) -> RowFit:
    model = Regressor(members=(Linear(),), baselines=(RULES,), folds=3, repeats=1, scale="log")
    return fit(
        model, Regression.of(model, Column("price", "float", minimum=0), ()), FEATURES, Rows(rows, "price", TYPES)
    )


def member(rows: pl.DataFrame) -> RowModel:
    model = Regressor(members=(RULES,), folds=3, repeats=1)
    return fit(model, Regression.of(model, Column("price", "float"), ()), FEATURES, Rows(rows, "price", TYPES)).model


def test_the_smallest_group_with_enough_rows_counts() -> None:
    groups = [("a", "k", 1, 10.0)] * 3 + [("a", "k", 2, 20.0)] * 2 + [("a", "m", 1, 30.0)] + [("b", "n", 3, 40.0)] * 20
    rows = pl.DataFrame(groups, schema=["shop", "kind", "condition", "price"], orient="row").with_columns(x=0.0)
    model = member(rows)

    def priced(shop: str | None, kind: str | None, condition: int | None) -> float:
        return float(model.answer({"shop": shop, "kind": kind, "condition": condition, "x": None})["price"])

    assert priced("a", "k", 1) == 10, "three rows of these very values"
    assert priced("a", "k", 2) == 10, "two are too few: all of a and k"
    assert priced("a", "m", 1) == 10, "one is: those of a in this condition"
    assert priced("a", "never", 9) == 15, "all of a"
    assert priced("c", "never", 3) == 40, "all of this condition"
    assert priced(None, None, None) == 40, "all"


def test_rules_are_measured_beside_the_model_and_kept_with_it(tmp_path: Path) -> None:
    rows = frame()
    result = fitted(rows.with_columns(price=pl.col("x").exp()))
    assert result.chosen == "0_linear"
    assert set(result.baselines) == {"the mean of logarithms", "the median", "the rules"}
    result.model.save(tmp_path)
    new = frame(40, seed=5)
    beside = RowModel.load(tmp_path).beside(new)
    assert list(beside) == ["mean_of_training", "median_of_training", "rules"]
    assert np.isnan(beside["rules"][:, 1:]).all(), "a baseline has no interval"
    assert np.array_equal(beside["rules"], result.model.beside(new)["rules"], equal_nan=True)


def test_rules_that_are_better_than_the_model_are_served(tmp_path: Path) -> None:
    result = fitted(frame())
    assert result.chosen == "rules"
    model = result.model
    assert (model.names, model.weights) == (("rules",), (1.0,))
    assert result.baselines["the rules"] == pytest.approx(result.scores["rmsle"])
    model.save(tmp_path)
    new = frame(60, seed=5).drop("price")
    answers = RowModel.load(tmp_path).output.answers(model.numbers(new))
    assert [model.answer(row) for row in new.iter_rows(named=True)] == answers
    assert model.answers(new.to_dict(as_series=False)) == answers


def test_what_is_no_group_is_refused() -> None:
    with pytest.raises(DeclarationError, match="'nothing' is no feature"):
        Rules(levels=("nothing",)).check("regression", FEATURES)
    with pytest.raises(DeclarationError, match="rows are not grouped by 'mean'"):
        Rules(levels=("mean",)).check("regression", Features({"mean": target_mean(col("shop"))}))
    with pytest.raises(DeclarationError, match="rows are not grouped by 'grams'"):
        Rules(levels=("grams",)).check("regression", Features({"grams": ngrams("shop")}))
    RULES.check("regression", Features({**FEATURES, "grams": ngrams("shop")}))
    with pytest.raises(DeclarationError, match="no binary output"):
        RULES.check("binary", FEATURES)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text('{"names": ["shop"], "parts": [[0]]}')
    with pytest.raises(ArtefactError, match="cannot be read"):
        FittedRules.load(path)
