"""Classifier: one of two or more classes from the features of a row, with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headrace.errors import DeclarationError
from headrace.features.group import TargetMean
from headrace.features.view import Features
from headrace.models.tabular import Tabular, declared_values

if TYPE_CHECKING:
    from headrace.contract import Column

_TYPES = ("boolean", "integer", "category", "text")


class Classifier(Tabular):
    """A classifier over the features of a row; see `Tabular` for how members are compared: here by log loss.

    A target with ``values=`` in the contract has these classes, in this order; otherwise those of the rows that it
    learns from, sorted. Of two classes the probability of the second is predicted, of more the probability of each.

    Attributes:
        kind: Its name in configuration.
        calibrate: Whether probabilities are calibrated on held-out rows: Platt's scaling of two classes, temperature
            scaling of more.
        threshold: Of two classes: from this probability on the second is predicted.

    >>> from headrace.models import Boosting, Linear
    >>> model = Classifier(members=(Linear(C=0.3), Boosting(n_estimators=60)), threshold=0.4)
    >>> model.names, model.output((False, True))
    (['0_linear', '1_boosting'], 'binary')
    """

    kind: Literal["classifier"] = "classifier"
    calibrate: bool = True
    threshold: float = Field(default=0.5, gt=0, lt=1)

    @property
    def discrete(self) -> bool:
        """It predicts classes."""
        return True

    def output(self, values: Sequence[Any]) -> str:
        """``binary`` for two classes, ``multiclass`` for more."""
        return "multiclass" if len(values) > 2 else "binary"

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a target that has no classes, and what several classes have not."""
        super().check(target=target, features=features, step=step, horizon=horizon)
        if target.type not in _TYPES:
            message = f"{target.name!r} is a {target.type}, a Classifier predicts one of {', '.join(_TYPES)}"
            raise DeclarationError(message, where="target", hint="use Regressor() for a number")
        values = declared_values(target)
        if values is None:
            return
        if len(values) < 2:
            raise DeclarationError(f"{target.name!r} has one value, there is nothing to tell apart", where="target")
        if len(values) > 2:
            self._check_several(len(values), features)

    def _check_several(self, count: int, features: Features) -> None:
        if self.threshold != 0.5:
            message = f"the likeliest of {count} classes is predicted: there is no threshold"
            raise DeclarationError(message, where="model.threshold", hint="leave it out")
        means = [name for name, expression in features.items() if isinstance(expression, TargetMean)]
        if means:
            message = f"classes have no mean, and {count} are predicted"
            raise DeclarationError(message, where=f"features.{means[0]}", hint="use col(...)")
