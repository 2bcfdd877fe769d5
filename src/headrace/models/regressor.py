"""Regressor: a number from the features of a row, with an interval around it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from headrace.errors import DeclarationError
from headrace.features.view import Features
from headrace.models.tabular import Tabular

if TYPE_CHECKING:
    from headrace.contract import Column


class Regressor(Tabular):
    """A regression over the features of a row; see `Tabular` for how members are compared: here by squared error.

    The contract says more about the target: no prediction is below its `minimum` or above its `maximum`, and one of an
    integer is an integer.

    Attributes:
        kind: Its name in configuration.
        scale: ``identity``: errors count by their size; ``log``: by their ratio, as for prices. Then ``log(1 +
            target)`` is learnt, which needs a `minimum` of 0 or more in the contract.
        coverage: Share of rows whose target lies within the interval, which is conformal: as wide as the errors on
            held-out rows were. Where all targets of the training are whole numbers, so are its ends.
        intervals_by: A feature, such as a category, of which every value with rows enough has intervals of its own
            (Mondrian conformal prediction, Vovk et al. 2005); others have those of all rows.
        tell_members: Whether answers have ``members``: what each member says alone, in the unit of the target.

    >>> from headrace.models import Linear
    >>> Regressor(members=(Linear(),), scale="log", coverage=0.8).output(())
    'regression'
    """

    of_answers: ClassVar[tuple[str, ...]] = ("notes", "tell_members", "coverage", "intervals_by")
    kind: Literal["regressor"] = "regressor"
    scale: Literal["identity", "log"] = "identity"
    coverage: float = Field(default=0.9, gt=0, lt=1)
    intervals_by: str | None = None
    tell_members: bool = False

    @property
    def further(self) -> tuple[str, ...]:
        """See `Tabular`."""
        return (*(("members",) if self.tell_members else ()), *super().further)

    def output(self, values: Sequence[Any]) -> str:
        """A number."""
        return "regression"

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a target that is no number, and one that has no logarithm where that is learnt."""
        super().check(target=target, features=features, step=step, horizon=horizon)
        if target.type not in ("float", "integer"):
            message = f"{target.name!r} is a {target.type}, a Regressor predicts a float or an integer"
            raise DeclarationError(message, where="target", hint="use Classifier() for classes")
        if self.intervals_by is not None and self.intervals_by not in features:
            message = f"{self.intervals_by!r} is no feature"
            raise DeclarationError(message, where="model.intervals_by", hint=f"one of {', '.join(features)}")
        if self.scale == "log" and not (isinstance(target.minimum, int | float) and target.minimum >= 0):
            message = f"{target.name!r} may be below 0, and its logarithm is to be learnt"
            raise DeclarationError(message, where="model.scale", hint=f"declare minimum=0 for {target.name}")
