"""Arithmetic over arrays, where NaN is a missing value: the bits of the polars form without its cost of a call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headrace.features.expression import Expression
from headrace.features.row import Arithmetic, Fill, Literal, Unary

Numbers = NDArray[np.float64]


def _by(divide: Callable[[Numbers, Numbers], Numbers]) -> Callable[[Numbers, Numbers], Numbers]:
    def divided(a: Numbers, b: Numbers) -> Numbers:
        zero = b == 0
        return np.where(zero, np.nan, divide(a, b)) if zero.any() else divide(a, b)

    return divided


_SIGNS: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": _by(np.divide),
    "//": _by(lambda a, b: np.floor(a / b)),
    "%": _by(lambda a, b: a - np.floor(a / b) * b),
    "max": np.fmax,
    "min": np.fmin,
}


def arithmetic(node: Expression, value: Callable[[Expression], Numbers]) -> Numbers | None:
    """The node's values, or None where it is more than arithmetic on numbers.

    Args:
        node: An expression.
        value: Gives the values of the expressions that it is made of, all of one shape or of none.
    """
    with np.errstate(all="ignore"):
        match node:
            case Literal(number) if isinstance(number, int | float):
                return np.asarray(number, dtype=np.float64)
            case Arithmetic(sign, left, right) if sign in _SIGNS:
                return _SIGNS[sign](value(left), value(right))
            case Unary("neg", operand):
                return -value(operand)
            case Unary("abs", operand):
                return np.abs(value(operand))
            case Fill(operand, other):
                known = value(operand)
                missing = np.isnan(known)
                return np.where(missing, value(other), known) if missing.any() or not known.ndim else known
    return None
