"""The classifier of rows: chosen by cross-validation, calibrated, and the same in its two forms."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Boosting, Classifier, Column, Linear
from headrace.config import override
from headrace.errors import ArtefactError, ConfigError, HeadraceError, ModelError, NotEnoughDataError
from headrace.features import col, join, target_mean
from headrace.features.view import Features
from headrace.models.estimator import Estimator
from headrace.tasks.rows.fitting import RowFit, Rows
from headrace.tasks.rows.fitting import fit as fit_rows
from headrace.tasks.rows.folds import RowFolds
from headrace.tasks.rows.model import RowModel, refuse_disagreement
from headrace.tasks.rows.outputs.base import output_class
from headrace.tasks.rows.outputs.binary import Binary, Platt
from headrace.tasks.rows.predictor import RowPredictor

TYPES = {"size": "float", "count": "integer", "kind": "category", "place": "text", "new": "boolean"}
FEATURES = Features(
    {
        "size": col("size"),
        "each": col("size") / col("count"),
        "kind": col("kind"),
        "new": col("new"),
        "place": target_mean(col("place"), prior=2.0, towards=target_mean(join(col("kind"), col("new")), prior=3.0)),
    }
)
LOGISTIC = Estimator(class_path="sklearn.linear_model.LogisticRegression")
FOREST = Estimator(class_path="sklearn.ensemble.RandomForestClassifier", params={"n_estimators": 8})
MEMBERS: dict[str, Any] = {
    "linear": (Linear(),),
    "boosting": (Boosting(n_estimators=12, min_child_samples=5),),
    "logistic": (LOGISTIC,),
    "forest": (FOREST,),
    "all": (Linear(), Boosting(n_estimators=12, min_child_samples=5), LOGISTIC),
}


def frame(count: int = 240, seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    size, kind = random.normal(3, 2, count).round(2), random.choice(["a", "b", "c"], count)
    chance = 1 / (1 + np.exp(-(size - 3 + 1.5 * (kind == "a"))))
    data = {
        "size": [None if gone else float(v) for v, gone in zip(size, random.random(count) < 0.1, strict=True)],
        "count": random.integers(0, 4, count),  # zero makes a ratio infinite
        "kind": [None if gone else str(v) for v, gone in zip(kind, random.random(count) < 0.1, strict=True)],
        "place": [f"p{v}" for v in random.integers(0, 30, count)],
        "new": random.random(count) < 0.5,
        "won": (random.random(count) < chance).astype(int),
    }
    return pl.DataFrame(data, schema_overrides={"won": pl.Int64})


def fit(model: Classifier, rows: pl.DataFrame) -> RowFit:
    return fit_on(model, rows, FEATURES, TYPES)


def fit_on(model: Classifier, rows: pl.DataFrame, features: Features, types: dict[str, str]) -> RowFit:
    values = rows["won"].unique().sort().to_list()
    output = output_class(model.output(values)).of(model, Column("won", "integer"), values)
    return fit_rows(model, output, features, Rows(rows, "won", types))


@cache
def fitted(name: str) -> RowFit:
    return fit(Classifier(members=MEMBERS[name], folds=3, repeats=1), frame())


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


ROW = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        "kind": st.none() | st.sampled_from("abcd") | st.text(max_size=3),
        "place": st.none() | st.sampled_from(["p1", "p2", "nowhere", "\x1f", "\x00", ""]),
        "new": st.none() | st.booleans(),
    }
)


@pytest.mark.parametrize("name", MEMBERS)
@settings(max_examples=20)
@given(rows=st.lists(ROW, min_size=1, max_size=20))
def test_property_a_row_is_as_in_a_table(name: str, rows: list[dict[str, Any]]) -> None:
    model = fitted(name).model
    table = model.numbers(pl.DataFrame(rows, schema=model.schema(), orient="row")).tolist()
    assert [model.answer(row)["probability"] for row in rows] == table
    assert [each["probability"] for each in model.answers(columns(rows))] == table
    assert [
        each["probability"] for each in model.answers(columns(rows * 30))
    ] == table * 30  # enough of them to be asked as a matrix
    assert all(0 < p < 1 for p in table)


@pytest.mark.parametrize("name", MEMBERS)
def test_no_rows_and_few_are_answered(name: str) -> None:
    model, rows = fitted(name).model, frame(40, seed=3).drop("won").to_dicts()
    nothing = {column: [] for column in rows[0]}
    assert model.answer_columns(nothing) == {"won": [], "probability": []}
    assert model.answers(nothing) == []
    for count in (1, 2, 19, 20, 40):
        assert model.answers(columns(rows[:count])) == [model.answer(row) for row in rows[:count]]


@pytest.mark.parametrize("name", MEMBERS)
def test_saving_and_loading_changes_no_bit(name: str, tmp_path: Path) -> None:
    model = fitted(name).model
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    model.save(tmp_path / "one")
    again = RowModel.load(tmp_path / "one")
    again.save(tmp_path / "two")
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    for path in files:
        same = (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
        assert same or (name == "forest" and path.parts[0] == "member_0")  # a pickle tells copies from the same object
    rows = frame(300, seed=9)
    assert again.numbers(rows).tolist() == model.numbers(rows).tolist()
    predictor = RowPredictor.load(tmp_path / "one")
    row = rows.row(0, named=True)
    assert predictor.answers(columns([row] * 40)) == [predictor.answer(row)] * 40
    assert [each["probability"] for each in predictor.predict(rows)] == model.numbers(rows).tolist()


def test_the_same_rows_give_the_same_model(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        model = fit(Classifier(members=MEMBERS["all"][:2], folds=3, repeats=1), frame()).model
        model.save(tmp_path / name)
    for each in sorted(path.name for path in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / each).read_bytes() == (tmp_path / "two" / each).read_bytes()


@pytest.mark.parametrize("file", ["model.json", "member_0"])
@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_a_damaged_artefact_is_refused(name: str, file: str, tmp_path: Path) -> None:
    fitted(name).model.save(tmp_path)
    file = f"{file}/object.pickle" if (tmp_path / file).is_dir() else file
    whole = (tmp_path / file).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"[]", b'{"kind": "classifier", "format": 1}', b"\xff\x00" * 50):
        (tmp_path / file).write_bytes(damaged)
        with pytest.raises(ArtefactError):
            RowModel.load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ArtefactError):
        RowModel.load(tmp_path)


@pytest.mark.parametrize("key", ["encoder", "features", "members", "output", "constants", "kind", "format"])
@pytest.mark.parametrize("value", [None, 5, "text", ["text"], {"a": 1}, 99])
def test_a_nonsensical_manifest_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    fitted("linear").model.save(tmp_path)
    manifest = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(HeadraceError):
        RowModel.load(tmp_path).answer(frame(1).row(0, named=True))


def test_the_best_candidate_is_chosen() -> None:
    found = fitted("all")
    losses = {name.removeprefix("log_loss_"): v for name, v in found.scores.items() if name.startswith("log_loss_")}
    assert set(losses) == {"0_linear", "1_boosting", "2_estimator", "all", "blend"}
    assert losses[found.chosen] == min(losses.values())
    assert len(found.model.members) == (3 if found.chosen == "all" else 1)
    useless = Boosting(n_estimators=1, learning_rate=1e-6, min_child_samples=200)
    assert fit(Classifier(members=(useless, Linear()), folds=3, repeats=1), frame()).chosen == "1_linear"


def calibration(fitted: RowFit) -> Platt:
    assert isinstance(fitted.output, Binary)
    return fitted.output.calibration


def test_probabilities_are_calibrated() -> None:
    rows = frame(600)
    strained = Classifier(
        members=(Boosting(n_estimators=150, num_leaves=20, min_child_samples=3, learning_rate=0.3),), folds=3, repeats=1
    )
    raw = fit(strained.model_copy(update={"calibrate": False}), rows)
    good = fit(strained, rows)
    assert calibration(raw)(0.9) == pytest.approx(0.9)
    assert 0 < calibration(good).slope < 0.9  # it was too sure of itself
    assert good.scores["log_loss"] < raw.scores["log_loss"]
    assert abs(good.held_out.mean() - rows["won"].mean()) < 0.01
    assert good.scores["auc"] == pytest.approx(raw.scores["auc"])


@pytest.mark.parametrize("sure", [1e-6, 0.01, 0.3, 0.4999])
def test_any_probabilities_can_be_calibrated(sure: float) -> None:
    """Against a general minimiser, also from far away."""
    from scipy.optimize import minimize

    random = np.random.default_rng(2)
    target = (random.random(500) < 0.4).astype(float)
    raw = np.where(random.random(500) < 0.3, 1 - target, target) * (1 - 2 * sure) + sure
    found = Platt.fit(raw, target)
    odds = np.log(raw / (1 - raw))

    def loss(weights: np.ndarray) -> float:
        z = weights[0] * odds + weights[1]
        return float((np.logaddexp(0, z) - target * z).sum() + ((weights[0] - 1) ** 2 + weights[1] ** 2) / 2)

    assert loss(np.array([found.slope, found.shift])) <= minimize(loss, [1.0, 0.0]).fun + 1e-6
    assert found.slope > 0


def test_no_row_sees_its_own_target() -> None:
    """A key of its own per row, and nothing else to learn: then nothing can be learnt."""
    random = np.random.default_rng(0)
    rows = pl.DataFrame({"place": [str(n) for n in range(400)], "won": random.integers(0, 2, 400)})
    features = Features({"place": target_mean(col("place"))})
    found = fit_on(
        Classifier(members=(Linear(), Boosting(n_estimators=20)), folds=4, repeats=1), rows, features, {"place": "text"}
    )
    assert found.scores["log_loss"] > 0.68
    assert found.scores["auc"] < 0.6


def stratified(target: np.ndarray, seed: int) -> list[np.ndarray]:
    folds = RowFolds.of(5, target.size, None, None, target.astype(np.intp))
    return [fold.held for fold in folds.each(seed)]


@pytest.mark.parametrize("positive", [2, 7, 50])
def test_folds_are_stratified(positive: int) -> None:
    target = np.array([1.0] * positive + [0.0] * (101 - positive))
    folds = stratified(target, seed=3)
    assert sorted(np.concatenate(folds).tolist()) == list(range(101))
    for fold in folds:
        assert abs(target[fold].sum() - positive / 5) < 1
        assert abs(fold.size - 101 / 5) < 1
    other = stratified(target, seed=4)
    assert any(a.tolist() != b.tolist() for a, b in zip(folds, other, strict=True))
    assert [a.tolist() for a in stratified(target, seed=3)] == [a.tolist() for a in folds]


def test_forms_that_disagree_are_refused_by_name() -> None:
    model = fitted("linear").model
    model.__dict__["row"] = _lying(model.row)
    try:
        with pytest.raises(ModelError, match=r"features\.each"):
            refuse_disagreement(model, frame(30))
    finally:
        del model.__dict__["row"]


def _lying(function: Any) -> Any:
    def call(row: Any) -> tuple[Any, ...]:
        first, _, *rest = function.call(row)
        return (first, 7.0, *rest)

    return replace(function, call=call)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (pl.lit(1), NotEnoughDataError),
        ((pl.int_range(pl.len()) == 0).cast(int), NotEnoughDataError),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(change: pl.Expr, error: type[HeadraceError]) -> None:
    with pytest.raises(error, match="won"):
        fit(Classifier(folds=2, repeats=1), frame(60).with_columns(change.alias("won")))
    with pytest.raises(NotEnoughDataError):
        fit(Classifier(folds=2, repeats=1), frame(19))


def test_two_rows_of_a_class_are_enough() -> None:
    rows = frame(60).with_columns((pl.int_range(pl.len()) < 2).cast(pl.Int64).alias("won"))
    found = fit(Classifier(members=(Linear(), Boosting(n_estimators=5)), repeats=1), rows)
    assert 0 < found.scores["log_loss"] < 0.4


@pytest.mark.parametrize(
    ("entry", "where", "what"),
    [
        ({}, "members[0]", "an entry says its kind: one of linear, boosting, factorisation, "),
        (
            {"kind": "lasso"},
            "members[0]",
            "there is no kind 'lasso': one of linear, boosting, factorisation, ",
        ),
        ({"kind": "linear", "strength": 0.3}, "members[0].strength", "there is no such field"),
        ({"kind": "boosting", "num_leaves": 1}, "members[0].num_leaves", "greater than or equal to 2"),
    ],
)
def test_a_member_in_configuration_says_its_kind(entry: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        override(Classifier(), {"members": [entry]})
    assert refused.value.where == where
    assert what in refused.value.message
    assert override(Classifier(), {"members": [{"kind": "linear"}]}).members == (Linear(),)


def test_texts_are_targets_too() -> None:
    rows = frame(100).with_columns(pl.when(pl.col("won") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("won"))
    model = fit(Classifier(members=(Linear(),), folds=2, repeats=1, threshold=0.4), rows).model
    assert model.output.classes == ("no", "yes")
    assert [each["won"] for each in model.output.answers(np.array([0.39, 0.4]))] == ["no", "yes"]
