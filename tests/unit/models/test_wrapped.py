"""What a system may say as its model: an object of a notebook is wrapped, and a mistake is refused at once."""

from typing import Literal

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from headrace import Classifier, Column, Contract, Estimator, Forecaster, Function, Linear, Regressor, System
from headrace.config import override
from headrace.errors import ConfigError, DeclarationError
from headrace.features import col, seasonal_features, text
from headrace.models.base import MODEL_KINDS, Model

COLUMNS = (
    Column("k", "category"),
    Column("time", "time", zone="UTC"),
    Column("size", "float"),
    Column("title", "text"),
    Column("won", "boolean", nullable=True),
)


def rows(model, target="won", **features):
    features = features or {"k": col("k")}
    return System(
        name="w", contract=Contract(columns=COLUMNS), keys=("k",), target=target, features=features, model=model
    )


def series(model, **more):
    more = {"features": seasonal_features("size", step="1h", seasons=("24h",))} | more
    settings = {"time": "time", "step": "1h", "horizon": "6h", "target": "size", "keys": ("k",)}
    return System(name="w", contract=Contract(columns=COLUMNS), model=model, **settings, **more)


def test_a_classifier_or_pipeline_is_a_classifier_of_one_member():
    for model in (LogisticRegression(), make_pipeline(LogisticRegression()), LogisticRegression):
        wrapped = rows(model).model
        assert isinstance(wrapped, Classifier)
        assert wrapped.members == (Estimator(model=model),)
    assert isinstance(rows(Classifier(members=(Linear(),))).model, Classifier)


def test_a_regressor_learns_behind_the_features_of_series():
    wrapped = series(Ridge(alpha=0.1)).model
    assert isinstance(wrapped, Forecaster)
    assert wrapped.learner.model.alpha == 0.1


class Empty(Model):
    """A model without fit."""


class Module(type("Module", (), {"__module__": "torch.nn.modules.module"})):
    """As a module of PyTorch looks, without PyTorch."""

    def __call__(self, rows):
        return rows


WHERE = "model.members[0].uri"


@pytest.mark.parametrize(
    ("declare", "where", "what"),
    [
        (lambda: rows(Empty()), "model", "Empty has no fit"),
        (lambda: series(Empty()), "model", "Empty has no fit"),
        (lambda: rows(Forecaster()), "model", "horizon"),
        (lambda: series(Classifier()), "model", "does not forecast"),
        (lambda: series(LogisticRegression()), "model.learner", "numbers are wanted"),
        (lambda: rows(lambda frame: 0.5), "model", "takes arguments, so it makes no model"),
        (lambda: rows(Linear()), "model", "neither a classifier nor a regressor"),
        (lambda: rows(Classifier(members=(Estimator(model=Ridge()),))), "model.members[0]", "classes are wanted"),
        (
            lambda: rows(Classifier(members=(Estimator(class_path="sklearn.svm.SVD"),))),
            "model.members[0].class_path",
            "no sklearn.svm.SVD",
        ),
        (lambda: rows(LogisticRegression(), title=text("title")), "features.title", "free text"),
        (lambda: rows("models:/risk/3"), "model", "'models:/risk/3' is no model"),
        (lambda: rows([Linear()]), "model", "is no model"),
        (lambda: series("AutoTheta"), "model", "'AutoTheta' is no model"),
        (lambda: rows(Module()), "model", "neither a classifier nor a regressor"),
        (lambda: rows(Classifier(members=(Function(function=Module()),))), "model.members[0].reads", "reads a matrix"),
        (lambda: rows({"kind": "classifier", "members": [{"kind": "mlflow", "uri": "nowhere"}]}), WHERE, "no folder"),
        (lambda: series(Forecaster(), features={}), "features", "none for the model"),
    ],
)
def test_a_mistake_is_refused_when_the_system_is_loaded(declare, where, what):
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert refused.value.where == where
    assert what in refused.value.message


def test_a_hint_says_how_to_give_what_was_meant():
    for model, hint in (
        ("models:/risk/3", "Classifier(members=(Mlflow(uri='models:/risk/3'),))"),
        ("sklearn.svm.SVC", "Estimator(class_path='sklearn.svm.SVC')"),
        ([Linear()], "members of one"),
        (Module(), "Function(function=...)"),
    ):
        with pytest.raises(DeclarationError) as refused:
            rows(model)
        assert hint in refused.value.hint


def test_configuration_names_another_kind_of_model():
    changed = override(rows(Regressor(folds=3), target="size"), {"target": "won", "model": {"kind": "classifier"}})
    assert changed.model == Classifier()
    assert override(rows(Classifier(folds=4)), {"model": {"kind": "classifier", "repeats": 1}}).model == Classifier(
        folds=4, repeats=1
    )
    assert rows({"kind": "classifier", "members": ({"kind": "linear"},)}).model == Classifier(members=(Linear(),))
    assert changed.config()["model"]["kind"] == "classifier"


def test_a_wrong_kind_of_model_names_those_that_there_are():
    with pytest.raises(ConfigError) as caught:
        override(rows(Classifier()), {"model": {"kind": "clasifier"}})
    assert caught.value.where == "model.kind"
    assert caught.value.message.startswith("there is no kind 'clasifier': one of classifier, regressor, forecaster, ")
    assert "linear" not in caught.value.message
    with pytest.raises(ConfigError) as caught:
        override(rows(Classifier()), {"model": {"kind": "regressor", "folds": 1}})
    assert caught.value.where == "model.folds"


def test_a_model_of_your_own_is_found_by_its_kind():
    class Coin(Classifier):
        kind: Literal["coin"] = "coin"

    assert type(rows({"kind": "coin"}).model) is Coin
    assert "coin" in MODEL_KINDS.names()
