"""What a target can be, as its contract declares it: no forecast and no end of an interval is anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array


@dataclass(frozen=True)
class Limits:
    """Declared limits of the target.

    Attributes:
        lowest: No value is below it.
        highest: No value is above it.
        whole: Every value is a whole number.
    """

    lowest: float | None = None
    highest: float | None = None
    whole: bool = False

    def bounded(self, values: Array) -> Array:
        """Values within both ends."""
        if self.lowest is None and self.highest is None:
            return values
        return np.clip(values, self.lowest, self.highest)

    def applied(
        self, value: Array, lower: Array, upper: Array, sparse: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """Forecasts and their intervals, shape (n, horizon), as the target could be.

        Rounding to the nearest takes no whole number out of an interval. The expected value of an intermittent series
        (`sparse`, shape (n,)) stays a fraction: rounded it would be zero every day, and wrong in sum.
        """
        value, lower, upper = (self.bounded(bound) for bound in (value, lower, upper))
        if not self.whole:
            return value, lower, upper
        often = ~sparse[:, None]
        return (
            np.where(often, np.rint(value), value),
            np.where(often, np.rint(lower), np.floor(lower)),
            np.where(often, np.rint(upper), np.ceil(upper)),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; ``Limits(**data)`` reads it back."""
        return {"lowest": self.lowest, "highest": self.highest, "whole": self.whole}


NONE = Limits()
"""Any number."""
