"""Models: settings that are declared, and what is fitted from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.models.base import Model
    from headrace.models.boosting import Boosting
    from headrace.models.classifier import Classifier
    from headrace.models.estimator import Estimator
    from headrace.models.forecaster import Forecaster
    from headrace.models.linear import Linear
    from headrace.models.onnx import Onnx

_HOMES = {
    "Boosting": "headrace.models.boosting",
    "Classifier": "headrace.models.classifier",
    "Estimator": "headrace.models.estimator",
    "Forecaster": "headrace.models.forecaster",
    "Linear": "headrace.models.linear",
    "Model": "headrace.models.base",
    "Onnx": "headrace.models.onnx",
}

__all__ = ["Boosting", "Classifier", "Estimator", "Forecaster", "Linear", "Model", "Onnx"]


def __getattr__(name: str) -> Any:
    """Import a kind of model where it is first used: a refresh of forecasts needs no classifier."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
