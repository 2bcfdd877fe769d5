"""What features add to a score: it adds up to what was answered, whatever the model and the output."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import FunctionTransformer

from headrace import Boosting, Classifier, Column, Factorisation, Linear, Regressor
from headrace.errors import ExplainError, UsageError
from headrace.features import col, join, target_mean, text
from headrace.features.view import Features
from headrace.models.estimator import Estimator
from headrace.models.explaining import contributions_of, parts_by_word
from headrace.tasks.rows.blend import Blend
from headrace.tasks.rows.explained import RowExplainer
from headrace.tasks.rows.fitting import Rows, fit
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.base import output_class
from headrace.testing import LearnerSuite
from headrace.testing.models import WORDS, listings_of

TYPES = {"size": "float", "count": "integer", "kind": "category", "place": "text"}
FEATURES = Features(
    {
        "size": col("size"),
        "each": col("size") / col("count"),
        "kind": col("kind"),
        "place": target_mean(join(col("place"), col("kind")), prior=2.0),
    }
)
QUICK: dict[str, Any] = {"folds": 2, "repeats": 1}
BOOSTING = Boosting(n_estimators=15, min_child_samples=5)
FOREST = Estimator(class_path="sklearn.ensemble.ExtraTreesClassifier", params={"n_estimators": 8, "max_depth": 4})
XGBOOST = {
    name: Estimator(class_path=f"xgboost.XGB{name}", params={"n_estimators": 12, "n_jobs": 1})
    for name in ("Classifier", "Regressor")
}
MODELS: dict[str, Any] = {
    "linear": Classifier(members=(Linear(),), **QUICK),
    "boosting": Classifier(members=(BOOSTING,), **QUICK),
    "uncalibrated": Classifier(members=(BOOSTING,), calibrate=False, **QUICK),
    "forest": Classifier(members=(FOREST,), **QUICK),
    "xgboost": Classifier(members=(XGBOOST["Classifier"],), **QUICK),
    "number": Regressor(members=(Linear(),), **QUICK),
    "logarithm": Regressor(members=(BOOSTING,), scale="log", **QUICK),
    "number of xgboost": Regressor(members=(XGBOOST["Regressor"],), **QUICK),
}


def frame(classes: int, count: int = 240) -> pl.DataFrame:
    random = np.random.default_rng(1)
    size, kind = random.normal(3, 2, count).round(2), random.choice(["a", "b", "c"], count)
    signal = size - 3 + 1.5 * (kind == "a") + random.normal(0, 1, count)
    target = np.digitize(signal, np.quantile(signal, np.arange(1, classes) / classes)) if classes else signal**2
    data = {
        "size": [None if gone else float(v) for v, gone in zip(size, random.random(count) < 0.1, strict=True)],
        "count": random.integers(0, 4, count),
        "kind": [None if gone else str(v) for v, gone in zip(kind, random.random(count) < 0.1, strict=True)],
        "place": [f"p{v}" for v in random.integers(0, 30, count)],
        "won": target,
    }
    return pl.DataFrame(data)


def fitted(model: Any, classes: int) -> RowModel:
    rows = frame(classes)
    values = rows["won"].unique().sort().to_list() if classes else []
    output = output_class(model.output(values)).of(model, Column("won", "integer" if classes else "float"), values)
    return fit(model, output, FEATURES, Rows(rows, "won", TYPES)).model


@cache
def model(name: str, classes: int) -> RowModel:
    return fitted(MODELS[name], classes)


@cache
def ensemble(classes: int) -> RowModel:
    """All members together, whether or not they were the best."""
    linear, boosting = model("linear", classes), model("boosting", classes)
    names = (*linear.names, *boosting.names)
    return replace(boosting, members=(*linear.members, *boosting.members), names=names, blend=Blend((0.25, 0.75)))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "size": st.none() | st.floats(-1e6, 1e6),
            "count": st.none() | st.integers(-5, 5),
            "kind": st.none() | st.sampled_from("abcd"),
            "place": st.none() | st.sampled_from(("p1", "p2", "elsewhere")),
        }
    ),
    min_size=1,
    max_size=6,
)


def typed(rows: list[dict[str, Any]], of: RowModel) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in of.types} for row in rows], schema=of.schema())


def check_sums(explained: RowModel, rows: list[dict[str, Any]]) -> None:
    items = RowExplainer(explained, 1).explain(typed(rows, explained))
    for item, answer in zip(items, map(explained.answer, rows), strict=True):
        assert item.answer == answer
        total = item.base + sum(part.contribution for part in item.contributions)
        assert total == pytest.approx(item.total, abs=1e-9)
        kind = explained.output.kind
        if kind == "binary":
            assert answer["probability"] == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-6)
        elif kind == "regression":
            value = math.expm1(total) if explained.output.scale == "log" else total
            assert answer["won"] == pytest.approx(value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["linear", "boosting", "uncalibrated", "forest"])
@given(rows=ROWS)
@settings(max_examples=20, deadline=None)
def test_contributions_to_two_classes_sum_to_the_log_odds_of_the_answer(name, rows):
    check_sums(model(name, 2), rows)


@pytest.mark.parametrize("name", ["number", "logarithm"])
@given(rows=ROWS)
@settings(max_examples=20, deadline=None)
def test_contributions_to_a_number_sum_to_the_answer(name, rows):
    check_sums(model(name, 0), rows)


@given(rows=ROWS)
@settings(max_examples=20, deadline=None)
def test_contributions_to_an_ensemble_sum_to_the_answer(rows):
    check_sums(ensemble(2), rows)


@pytest.mark.parametrize("name", ["linear", "boosting", "forest", "ensemble"])
@given(rows=ROWS)
@settings(max_examples=15, deadline=None)
def test_contributions_to_every_class_sum_to_what_softmax_makes_the_answer_of(name, rows):
    explained = ensemble(3) if name == "ensemble" else model(name, 3)
    answers = list(map(explained.answer, rows))
    explainer = RowExplainer(explained, 1)
    totals = [[item.total for item in explainer.explain(typed(rows, explained), label=label)] for label in (0, 1, 2)]
    for row, answer in enumerate(answers):
        odds = np.array([of_class[row] for of_class in totals])
        chances = np.exp(odds) / np.exp(odds).sum()
        assert chances == pytest.approx(list(answer["probabilities"].values()), abs=1e-6)


@pytest.mark.parametrize(("name", "classes"), [("xgboost", 2), ("number of xgboost", 0)])
def test_contributions_of_a_brought_booster_sum_to_the_answer(name, classes):
    check_sums(model(name, classes), frame(classes).head(20).to_dicts())


def test_a_linear_model_says_what_its_training_rows_are_beside_their_mean():
    explained = model("number", 0)
    rows = frame(0)
    items = RowExplainer(explained, 1).explain(rows)
    by_name: dict[str, list[float]] = {}
    for item in items:
        for part in item.contributions:
            if part.kind == "feature":
                by_name.setdefault(part.feature, []).append(part.contribution)
    assert sorted(by_name) == sorted(FEATURES)
    for name in ("size", "each", "kind"):  # of a mean of the target each row of the training is left out
        assert np.mean(by_name[name]) == pytest.approx(0, abs=1e-9)


def test_the_other_of_two_classes_is_the_same_turned_round():
    explained = model("boosting", 2)
    row = typed(frame(2).to_dicts()[:1], explained)
    (second,), (first,) = (RowExplainer(explained, 1).explain(row, label=label) for label in (1, 0))
    assert first.total == pytest.approx(-second.total)
    assert first.value == pytest.approx(1 - second.value)
    assert [part.contribution for part in first.contributions] == pytest.approx(
        [-part.contribution for part in second.contributions]
    )


def test_a_class_that_is_not_there_is_refused():
    explained = model("boosting", 2)
    with pytest.raises(UsageError, match="there is no class 7"):
        RowExplainer(explained, 1).explain(typed(frame(2).to_dicts()[:1], explained), label=7)


def test_a_forest_is_said_to_be_asked_along_orders_and_boosters_tell_exactly():
    rows = frame(2).head(1)
    methods = {
        name: RowExplainer(model(name, 2), 1).explain(rows)[0].method for name in ("forest", "boosting", "xgboost")
    }
    assert methods == {"forest": "permutation", "boosting": "exact", "xgboost": "exact"}


def test_the_smallest_features_are_folded_into_one():
    (item,) = RowExplainer(model("boosting", 2), 1).explain(frame(2).head(1))
    folded = item.top(2)
    kinds = [part.kind for part in folded.contributions]
    assert kinds == ["feature", "feature", "rest", "step"]
    assert folded.contributions[2].feature == "2 others"
    assert folded.base + sum(part.contribution for part in folded.contributions) == pytest.approx(item.total)


def test_the_same_row_gets_the_same_bits_whoever_its_neighbours_are():
    for name in ("forest", "boosting"):
        explainer, rows = RowExplainer(model(name, 2), 1), frame(2)
        together = explainer.explain(rows.head(9))
        assert explainer.explain(rows[4:5])[0] == together[4]


def test_a_model_of_before_typical_rows_were_kept_says_that_it_must_be_trained_again():
    explained = model("forest", 2)
    older = replace(explained, encoder=replace(explained.encoder, typical=()))
    with pytest.raises(ExplainError, match="kept no typical row") as told:
        RowExplainer(older, 1).explain(frame(2).head(1))
    assert told.value.hint == "train again"


def test_typical_rows_are_kept_with_a_model(tmp_path):
    explained = model("forest", 2)
    explained.save(tmp_path)
    loaded = RowModel.load(tmp_path)
    rows = frame(2).head(2)
    assert RowExplainer(loaded, 1).explain(rows) == RowExplainer(explained, 1).explain(rows)
    size, _, kind, _ = loaded.encoder.typical
    assert size == pytest.approx(frame(2)["size"].median())
    assert kind == frame(2)["kind"].drop_nulls().mode().sort()[0]


def by_letters():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    return make_pipeline(FunctionTransformer(lambda rows: rows["name"].fillna("")), CountVectorizer(), Ridge())


def test_words_of_a_text_are_told_by_themselves_and_add_up():
    names = [
        f"{first} {second}" for first in ("red", "green", "blue") for second in ("shirt", "bag", "hat", "sock")
    ] * 5
    prices = [10.0 * ("red" in name) + 5.0 * ("bag" in name) + 1 for name in names]
    rows = pl.DataFrame({"name": names, "won": prices})
    regressor = Regressor(members=(Estimator(model=by_letters),), **QUICK)
    output = output_class("regression").of(regressor, Column("won", "float"), [])
    explained = fit(regressor, output, Features({"name": text("name")}), Rows(rows, "won", {"name": "text"})).model
    explainer, row = RowExplainer(explained, 1), pl.DataFrame({"name": ["red  red bag"]})
    (item,) = explainer.explain(row, words=True)
    (plain,) = explainer.explain(row)
    assert [(part.feature, part.value) for part in item.contributions] == [("name", "red"), ("name", "bag")]
    assert [part.value for part in plain.contributions] == ["red  red bag"]
    assert item.contributions[0].contribution > 2 * item.contributions[1].contribution > 0
    assert item.total == pytest.approx(plain.total) == explained.answer({"name": "red  red bag"})["won"]
    with pytest.raises(UsageError, match="no feature is a text"):
        RowExplainer(model("forest", 2), 1).explain(frame(2).head(1), words=True)


def test_a_class_of_truth_values_is_named_as_json_has_it_or_by_a_digit():
    rows = frame(2).with_columns(pl.col("won").cast(pl.Boolean))
    classifier = MODELS["linear"]
    output = output_class("binary").of(classifier, Column("won", "boolean"), [False, True])
    explainer = RowExplainer(fit(classifier, output, FEATURES, Rows(rows, "won", TYPES)).model, 1)
    for of, label in (("true", True), ("True", True), ("1", True), (True, True), ("false", False), ("0", False)):
        assert explainer.explain(rows.head(1), label=of)[0].label is label
    with pytest.raises(UsageError, match="there is no class 'yes'"):
        explainer.explain(rows.head(1), label="yes")


@pytest.mark.parametrize("learner", [Linear(), Boosting(n_estimators=20, components=3), Factorisation(factors=2)])
@pytest.mark.parametrize("output", ["regression", "binary", "multiclass"])
def test_words_of_ngrams_sum_to_their_features_contribution(learner, output):
    if output not in learner.outputs:
        return
    training = LearnerSuite().training_on_ngrams(output)
    fitted, row = learner.fit(training), training.encoder.of_frame(listings_of(7)[1][4:5])
    whole, parts = contributions_of(fitted, row, output)[0], parts_by_word(fitted, row, output)
    words = sum((number for _, _, number in parts.words), np.zeros(whole.base.size))
    assert {word for _, word, _ in parts.words} <= set(WORDS)
    assert parts.words
    assert np.allclose(parts.parts.sum(axis=0) + words, whole.parts[0].sum(axis=0))
