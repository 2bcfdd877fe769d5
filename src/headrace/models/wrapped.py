"""What a system may say as its model: a declared one, or what you have in a notebook."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from headrace.contract import declaration_error
from headrace.errors import DeclarationError, NotFoundError
from headrace.models.base import MODEL_KINDS, Learner, Model
from headrace.models.brought import Brought, named

_FORECASTERS = ("mlforecast", "sktime", "statsforecast")
"""Libraries whose objects forecast series, though some have what estimators have."""


def as_model(value: Any, *, forecasts: bool) -> Any:
    """A declared model: the value itself, one by its kind, or a wrapper around an object, function or class of yours.

    A mapping says a kind, as configuration gives it: ``{"kind": "classifier", "folds": 3}``.

    A forecaster over frames of series becomes a `FrameForecaster`; a scikit-learn regressor of a system with a horizon
    learns from its features within a `Forecaster`. Of a system of rows, a classifier or pipeline becomes a `Classifier`
    with one member, a regressor a `Regressor`.

    Args:
        value: What a system says as its `model`.
        forecasts: Whether the system has a horizon.

    Raises:
        DeclarationError: It is neither.

    >>> class Last:
    ...     def fit(self, frame): return self
    ...     def predict(self, frame, horizon): return frame
    >>> type(as_model(Last(), forecasts=True)).__name__
    'FrameForecaster'
    """
    if isinstance(value, Mapping):
        return _of_kind(value)
    if value is None or isinstance(value, Model):
        return value
    if isinstance(value, str | int | float | list | tuple):
        raise DeclarationError(f"{value!r} is no model", where="model", hint=_hint(value))
    if forecasts:
        return _of_series(value)
    return _of_rows(value)


def _hint(value: Any) -> str:
    """What was meant by a text or a list in place of a model."""
    if isinstance(value, str) and value.startswith(("models:/", "runs:/")):
        return f"a model of MLflow is a member: Classifier(members=(Mlflow(uri={value!r}),)), or Regressor(...)"
    if isinstance(value, str) and "." in value:
        return f"a class by its path is a member: Classifier(members=(Estimator(class_path={value!r}),))"
    if isinstance(value, list | tuple):
        return "several are members of one: Classifier(members=(...)), or Regressor(...)"
    return "give an object, a class, or a mapping with its kind: {'kind': 'classifier'}"


def _of_kind(value: Mapping[str, Any]) -> Model:
    kind = value.get("kind")
    try:
        if not isinstance(kind, str):
            raise NotFoundError(f"a model says its kind: one of {', '.join(MODEL_KINDS.names())}")
        return MODEL_KINDS.of(kind).model_validate(value)
    except NotFoundError as error:
        raise DeclarationError(error.message, where="model.kind") from error
    except ValidationError as error:
        raise declaration_error(error, "model") from error


def _of_series(value: Any) -> Any:
    kind = value if isinstance(value, type) else type(value)
    if hasattr(kind, "get_params") and (kind.__module__ or "").partition(".")[0] not in _FORECASTERS:
        from headrace.models.estimator import Estimator, kind_of_estimator
        from headrace.models.forecaster import Forecaster

        if kind_of_estimator(Brought(value, None, {}, "model").make()) is not None:
            return Forecaster(learner=Estimator(model=value))
    from headrace.models.frames import FrameForecaster

    return FrameForecaster(model=value)


def _of_rows(value: Any) -> Any:
    from headrace.models.estimator import Estimator, kind_of_estimator

    if inspect.isroutine(value) and _needed(value):
        hint = "say what it gives: model=Classifier(members=(Function(function=...),)), or Regressor(...)"
        raise DeclarationError(f"{named(value)} takes arguments, so it makes no model", where="model", hint=hint)
    kind = kind_of_estimator(Brought(value, None, {}, "").make())
    if kind is None:
        hint = "a classifier has fit and predict_proba, a regressor fit and predict"
        if isinstance(value, Learner):
            hint = f"it is a member: Classifier(members=({_short(value)},)), or Regressor(...)"
        elif hasattr(value, "fit") and hasattr(value, "predict"):
            hint = f"say that it gives numbers: model=Regressor(members=(Estimator(model={_short(value)}),))"
        if callable(value) and not isinstance(value, type):
            hint = "a finished one is a member: Classifier(members=(Function(function=...),)), or Regressor(...)"
        raise DeclarationError(f"{named(value)} is neither a classifier nor a regressor", where="model", hint=hint)
    module, name = {
        "classifier": ("headrace.models.classifier", "Classifier"),
        "regressor": ("headrace.models.regressor", "Regressor"),
    }[kind]
    return getattr(import_module(module), name)(members=(Estimator(model=value),))


def _short(value: Any) -> str:
    """An object as a program says it, where that is short."""
    return value.__name__ if isinstance(value, type) else f"{type(value).__name__}(...)"


def _needed(function: Any) -> list[str]:
    """Arguments without a default."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind in positional
    ]
