"""Models: settings that are declared, and what is fitted from them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.models.base import Model
    from headrace.models.boosting import Boosting
    from headrace.models.classifier import Classifier
    from headrace.models.estimator import Estimator
    from headrace.models.factorisation import Factorisation
    from headrace.models.forecaster import Forecaster
    from headrace.models.frames import FrameForecaster
    from headrace.models.function import Function
    from headrace.models.kernel import Kernel
    from headrace.models.linear import Linear
    from headrace.models.mlflow_model import Mlflow
    from headrace.models.network import Network
    from headrace.models.onnx import Onnx
    from headrace.models.regressor import Regressor
    from headrace.models.rules import Rules

_HOMES = {
    "Boosting": "headrace.models.boosting",
    "Classifier": "headrace.models.classifier",
    "Estimator": "headrace.models.estimator",
    "Factorisation": "headrace.models.factorisation",
    "Forecaster": "headrace.models.forecaster",
    "FrameForecaster": "headrace.models.frames",
    "Function": "headrace.models.function",
    "Kernel": "headrace.models.kernel",
    "Linear": "headrace.models.linear",
    "Mlflow": "headrace.models.mlflow_model",
    "Model": "headrace.models.base",
    "Network": "headrace.models.network",
    "Onnx": "headrace.models.onnx",
    "Regressor": "headrace.models.regressor",
    "Rules": "headrace.models.rules",
}

__all__ = [
    "Boosting",
    "Classifier",
    "Estimator",
    "Factorisation",
    "Forecaster",
    "FrameForecaster",
    "Function",
    "Kernel",
    "Linear",
    "Mlflow",
    "Model",
    "Network",
    "Onnx",
    "Regressor",
    "Rules",
]


def __getattr__(name: str) -> Any:
    """Import a kind of model where it is first used: a refresh of forecasts needs no classifier."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace.models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
