"""headrace: from raw data to watched predictions, in batch, on request and on a stream.

A system is declared once, with the nouns below; the command line and the doors do the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace._version import __version__

if TYPE_CHECKING:
    from headrace.api.bound import BoundSystem
    from headrace.api.workspace import Workspace, open_workspace
    from headrace.contract import Column, Contract
    from headrace.drift.declared import DriftLimits
    from headrace.feature_system import FeatureSystem
    from headrace.models import (
        Boosting,
        Classifier,
        Estimator,
        Factorisation,
        Forecaster,
        FrameForecaster,
        Function,
        Kernel,
        Linear,
        Mlflow,
        Network,
        Onnx,
        Regressor,
        Rules,
    )
    from headrace.monitoring import Monitoring
    from headrace.schedule import Schedule
    from headrace.sources import Source
    from headrace.system import System
    from headrace.tuning import Tuning

    open = open_workspace  # noqa: A001 - as headrace.open

_HOMES = {
    "BoundSystem": "headrace.api.bound",
    "Workspace": "headrace.api.workspace",
    "open": "headrace.api.workspace:open_workspace",
    "Boosting": "headrace.models",
    "Classifier": "headrace.models",
    "Estimator": "headrace.models",
    "Linear": "headrace.models",
    "Kernel": "headrace.models",
    "Mlflow": "headrace.models",
    "Column": "headrace.contract",
    "Contract": "headrace.contract",
    "DriftLimits": "headrace.drift.declared",
    "Factorisation": "headrace.models",
    "FeatureSystem": "headrace.feature_system",
    "Forecaster": "headrace.models",
    "FrameForecaster": "headrace.models",
    "Function": "headrace.models",
    "Monitoring": "headrace.monitoring",
    "Network": "headrace.models",
    "Onnx": "headrace.models",
    "Regressor": "headrace.models",
    "Rules": "headrace.models",
    "Schedule": "headrace.schedule",
    "Source": "headrace.sources",
    "System": "headrace.system",
    "Tuning": "headrace.tuning",
}

__all__ = [
    "Boosting",
    "BoundSystem",
    "Classifier",
    "Column",
    "Contract",
    "DriftLimits",
    "Estimator",
    "Factorisation",
    "FeatureSystem",
    "Forecaster",
    "FrameForecaster",
    "Function",
    "Kernel",
    "Linear",
    "Mlflow",
    "Monitoring",
    "Network",
    "Onnx",
    "Regressor",
    "Rules",
    "Schedule",
    "Source",
    "System",
    "Tuning",
    "Workspace",
    "__version__",
]
"""What ``from headrace import *`` brings. `open` is not among it: a script's own files are opened by Python's."""


def __getattr__(name: str) -> Any:
    """Import a noun where it is first used, so that `headrace --help` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """What can be asked for, imported or not."""
    return sorted({*globals(), *_HOMES})
