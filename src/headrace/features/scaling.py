"""Per-series scaling: a feature in units of its own series, so that one model can learn from all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from headrace.errors import FeatureError
from headrace.features.expression import CompileTarget, Expression
from headrace.features.row import Col
from headrace.features.text import TextColumn

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Scaled(Expression):
    """A value of the target's unit, less the series' level (when `centred`), in units of the series' scale.

    What level and scale are is the model's choice: it fills them in with `bind` before the feature is computed.
    """

    op = "scaled"
    of: Expression
    centred: bool = True

    def polars(self, table: CompileTarget) -> pl.Expr:
        raise FeatureError("scaled() is filled in by a forecaster", hint="use Features.bind(level, scale)")


def scaled(of: Expression, *, centred: bool = True) -> Scaled:
    """`of` in units of its series. With ``centred=False`` the level stays: for differences and spreads."""
    return Scaled(of, centred)


def bind(expression: Expression, level: Expression, scale: Expression) -> Expression:
    """The expression with every `Scaled` node replaced by arithmetic on `level` and `scale`."""
    if isinstance(expression, Scaled):
        operand = bind(expression.of, level, scale)
        return (operand - level) / scale if expression.centred else operand / scale
    changed: dict[str, Any] = {}
    for f in fields(expression):
        value = getattr(expression, f.name)
        if isinstance(value, Expression):
            changed[f.name] = bind(value, level, scale)
        elif isinstance(value, tuple):
            changed[f.name] = tuple(bind(v, level, scale) if isinstance(v, Expression) else v for v in value)
        else:
            changed[f.name] = value
    return type(expression)(**changed) if any(True for _ in expression.children()) else expression


def renamed(expression: Expression, names: Mapping[str, str]) -> Expression:
    """The expression over columns of other names."""
    changed: dict[str, Any] = {}
    for f in fields(expression):
        value = getattr(expression, f.name)
        if isinstance(value, Expression):
            changed[f.name] = renamed(value, names)
        elif isinstance(value, tuple):
            changed[f.name] = tuple(renamed(v, names) if isinstance(v, Expression) else v for v in value)
        else:
            changed[f.name] = value
    if isinstance(expression, Col | TextColumn):
        changed["name"] = names.get(expression.name, expression.name)
    return type(expression)(**changed)


def unscaled(expression: Expression) -> Expression:
    """The expression in the target's own unit, if it is a `Scaled` one."""
    return expression.of if isinstance(expression, Scaled) else expression
