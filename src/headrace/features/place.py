"""Where an expression is evaluated: at the target row, at the origin, or in both."""

from __future__ import annotations

from headrace.features.expression import ROW, Expression
from headrace.features.row import Literal

MIXED = "mixed"
CONSTANT = "constant"


def place_of(expression: Expression) -> str:
    """Where all of an expression is evaluated: `ROW`, `ORIGIN`, `TARGET`, `MIXED` or `CONSTANT`."""
    if isinstance(expression, Literal):
        return CONSTANT
    if expression.place != ROW:
        return expression.place
    known = expression.__dict__.get("_place")
    if known is None:
        known = _of_children(expression)
        object.__setattr__(expression, "_place", known)
    return str(known)


def _of_children(expression: Expression) -> str:
    places = {place_of(child) for child in expression.children()} - {CONSTANT}
    if not places:
        return ROW if expression.columns() or expression.uses_time() else CONSTANT
    return places.pop() if len(places) == 1 else MIXED
