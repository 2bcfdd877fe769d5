"""headrace: from raw data to watched predictions, in batch, on request and on a stream.

A system is declared once, with the nouns below; the command line and the doors do the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace._version import __version__

if TYPE_CHECKING:
    from headrace.contract import Column, Contract
    from headrace.models import Boosting, Classifier, Estimator, Forecaster, Linear, Onnx
    from headrace.sources import Source
    from headrace.system import Monitoring, Schedule, System

_HOMES = {
    "Boosting": "headrace.models",
    "Classifier": "headrace.models",
    "Estimator": "headrace.models",
    "Linear": "headrace.models",
    "Column": "headrace.contract",
    "Contract": "headrace.contract",
    "Forecaster": "headrace.models",
    "Monitoring": "headrace.system",
    "Onnx": "headrace.models",
    "Schedule": "headrace.system",
    "Source": "headrace.sources",
    "System": "headrace.system",
}

__all__ = [
    "Boosting",
    "Classifier",
    "Column",
    "Contract",
    "Estimator",
    "Forecaster",
    "Linear",
    "Monitoring",
    "Onnx",
    "Schedule",
    "Source",
    "System",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a noun where it is first used, so that `headrace --help` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
