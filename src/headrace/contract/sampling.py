"""How far the figures of a small batch lie from those of all rows by chance alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def too_many(count: int, rows: int, share: float, confidence: float | None) -> bool:
    """Whether `count` of `rows` are more than a share of `share` explains.

    With a confidence: whether a batch of this size, each row of which counts with probability `share`, has so many or
    more with a probability below ``1 - confidence``: the exact binomial test, P(X >= count) < 1 - confidence with X
    of Binomial(rows, share). Without one the shares are compared as they are.

    >>> too_many(1, 3, 0.05, None), too_many(1, 3, 0.05, 0.999), too_many(3, 3, 0.05, 0.999)
    (True, False, True)
    """
    if not rows or count / rows <= share:
        return False
    if confidence is None:
        return True
    from scipy.special import bdtrc

    return bool(bdtrc(count - 1, rows, share) < 1 - confidence)


@dataclass(frozen=True)
class Moments:
    """The number of values, their mean, and their summed powers of the distance from it.

    Two are added by the formulas of Pebay, "Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments", SAND2008-6212: the same as of all values at once up to rounding.

    Attributes:
        count: How many values.
        mean: Their mean; 0 of none.
        second: Sum of the squared distances from the mean.
        third: Sum of their cubes.
        fourth: Sum of their fourth powers.

    >>> whole, parts = Moments.of(np.arange(9.0)), Moments.of(np.arange(4.0)) + Moments.of(np.arange(4.0, 9.0))
    >>> whole.count, whole.mean, whole.spread == parts.spread
    (9, 4.0, True)
    """

    count: int = 0
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Those of finite values, shape (n,)."""
        if not values.size:
            return cls()
        mean = float(values.mean())
        away = values - mean
        squared = away * away
        sums = (float(powers.sum()) for powers in (squared, squared * away, squared * squared))
        return cls(int(values.size), mean, *sums)

    def __add__(self, other: Moments) -> Moments:
        """Those of both groups of values."""
        if not self.count or not other.count:
            return self if self.count else other
        a, b = self.count, other.count
        n, d = a + b, other.mean - self.mean
        r = d / n
        second = self.second + other.second + a * b * d * r
        third = self.third + other.third + a * b * (a - b) * d * r * r
        third += 3 * r * (a * other.second - b * self.second)
        fourth = self.fourth + other.fourth + a * b * (a * a - a * b + b * b) * d * r**3
        fourth += 6 * r * r * (a * a * other.second + b * b * self.second)
        fourth += 4 * r * (a * other.third - b * self.third)
        return Moments(n, self.mean + b * r, second, third, fourth)

    @property
    def spread(self) -> float:
        """The standard deviation, with n - 1; 0 of one value."""
        return math.sqrt(self.second / (self.count - 1)) if self.count > 1 else 0.0

    @property
    def kurtosis(self) -> float:
        """How long the tails are: 3 is a normal distribution's; at least that, since few values show no tail."""
        return max(3.0, self.count * self.fourth / self.second**2) if self.second else 3.0

    def mean_error(self, confidence: float) -> float:
        """How far the mean of so many values lies from the true one at most, on one side, with that probability.

        Student's ``t(confidence, n - 1) * s / sqrt(n)``.
        """
        from scipy.special import stdtrit

        return float(stdtrit(self.count - 1, confidence)) * self.spread / math.sqrt(self.count)

    def spread_error(self, spread: float, confidence: float) -> float:
        """The same of the standard deviation, were the true one `spread`.

        ``z(confidence) * spread * sqrt((kurtosis - 1) / (4 n))``: the standard error of s by the delta method, since
        Var(s^2) is about ``spread^4 (kurtosis - 1) / n``.
        """
        from scipy.special import ndtri

        return float(ndtri(confidence)) * spread * math.sqrt((self.kurtosis - 1) / (4 * self.count))
