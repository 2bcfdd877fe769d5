"""Primitives of one row: columns, literals, arithmetic, comparison, truth, missing values, bins."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import DeclarationError, FeatureError
from headrace.features.expression import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    NULL,
    TEXT,
    CodeWriter,
    CompileTarget,
    Expression,
    NoRowForm,
    Value,
    as_expression,
)

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Col(Expression):
    """The value of a column."""

    op = "col"
    name: str

    def columns(self) -> frozenset[str]:
        return frozenset((self.name,))

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.col(self.name)

    def emit(self, code: CodeWriter) -> Value:
        return code.column(self.name)


@dataclass(frozen=True, eq=False)
class Literal(Expression):
    """A constant."""

    op = "literal"
    value: float | int | bool | str | None

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.lit(self.value)

    def emit(self, code: CodeWriter) -> Value:
        kinds = {bool: BOOLEAN, int: INTEGER, float: FLOAT, str: TEXT}
        return Value(code.constant(self.value), kinds.get(type(self.value), NULL))


@dataclass(frozen=True, eq=False)
class Arithmetic(Expression):
    """Two numbers to one, as float64.

    Division by zero gives a missing value; `max` and `min` pass over missing ones.
    """

    op = "arithmetic"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        a = self.left.compile(table).cast(pl.Float64)
        b = self.right.compile(table).cast(pl.Float64)
        match self.sign:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return pl.when(b != 0).then(a / b)
            case "//":
                return pl.when(b != 0).then((a / b).floor())
            case "%":
                return pl.when(b != 0).then(a - (a / b).floor() * b)
            case "max":
                return pl.max_horizontal(a, b)
            case "min":
                return pl.min_horizontal(a, b)
        raise FeatureError(f"unknown arithmetic {self.sign!r}")

    def emit(self, code: CodeWriter) -> Value:
        a, b = code.number(self.left), code.number(self.right)
        if self.sign in ("max", "min"):
            better = f"{a} {'>' if self.sign == 'max' else '<'} {b} or {b} != {b}"
            return code.set(f"{b} if {a} is None else {a} if {b} is None or {better} else {b}", FLOAT)
        source = {
            "+": f"{a} + {b}",
            "-": f"{a} - {b}",
            "*": f"{a} * {b}",
            "/": f"{a} / {b} if {b} != 0 else None",
        }.get(self.sign)
        if source is None:
            floor = code.constant(_floor)
            quotient = f"{floor}({a} / {b})"
            value = quotient if self.sign == "//" else f"{a} - {quotient} * {b}"
            source = f"{value} if {b} != 0 else None"
        return code.set_if([a, b], source, FLOAT)


_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, eq=False)
class Compare(Expression):
    """Whether two values stand in a relation; missing where either is."""

    op = "compare"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        left, right, sign = self.left, self.right, self.sign
        if not left.columns() and not left.uses_time():
            # polars 2 compares a constant on the left with a column of nulls alone to one value, not to a column
            left, right, sign = right, left, _MIRRORED.get(sign, sign)
        a, b = left.compile(table), right.compile(table)
        match sign:
            case "==":
                return a == b
            case "!=":
                return a != b
            case "<":
                return a < b
            case "<=":
                return a <= b
            case ">":
                return a > b
            case ">=":
                return a >= b
        raise FeatureError(f"unknown comparison {self.sign!r}")

    def emit(self, code: CodeWriter) -> Value:
        a, b = code.value(self.left), code.value(self.right)
        if FLOAT in (a.kind, b.kind):
            left, right = code.number(self.left), code.number(self.right)
            comparison = _COMPARE[self.sign].format(a=left, b=right)
        elif a.kind == b.kind and a.kind != NULL:
            left, right = a.name, b.name
            comparison = f"{left} {self.sign} {right}"
        else:
            raise NoRowForm
        return code.set_if([left, right], comparison, BOOLEAN)


@dataclass(frozen=True, eq=False)
class Logical(Expression):
    """Both, or either, of two truths, with three-valued logic for missing ones."""

    op = "logical"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        a, b = self.left.compile(table), self.right.compile(table)
        return a & b if self.sign == "&" else a | b

    def emit(self, code: CodeWriter) -> Value:
        values = [code.value(self.left), code.value(self.right)]
        if any(value.kind != BOOLEAN for value in values):
            raise NoRowForm
        a, b = (value.name for value in values)
        decides = "False" if self.sign == "&" else "True"
        is_either = f"{a} is {decides} or {b} is {decides}"
        return code.set(f"{decides} if {is_either} else None if {a} is None or {b} is None else not {decides}", BOOLEAN)


@dataclass(frozen=True, eq=False)
class Unary(Expression):
    """One value to one: ``neg abs log1p sqrt not is_missing``."""

    op = "unary"
    name: str
    of: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table)
        match self.name:
            case "neg":
                return -x.cast(pl.Float64)
            case "abs":
                return x.cast(pl.Float64).abs()
            case "log1p":
                return x.cast(pl.Float64).log1p()
            case "sqrt":
                return pl.when(x >= 0).then(x.cast(pl.Float64).sqrt())
            case "not":
                return ~x
            case "is_missing":
                return x.is_null()
        raise FeatureError(f"unknown operation {self.name!r}")

    def emit(self, code: CodeWriter) -> Value:
        if self.name == "is_missing":
            return code.set(f"{code.value(self.of).name} is None", BOOLEAN)
        if self.name == "not":
            x = code.value(self.of)
            if x.kind != BOOLEAN:
                raise NoRowForm
            return code.set_if([x.name], f"not {x.name}", BOOLEAN)
        number = code.number(self.of)
        source = {"neg": f"-{number}", "abs": f"abs({number})"}.get(self.name)
        if source is None:
            usual, least, other = _USUAL[self.name]
            function, edge = code.constant(usual), code.constant(other)
            source = f"{function}({number}) if {number} > {least} else {edge}({number})"
        return code.set_if([number], source, FLOAT)


@dataclass(frozen=True, eq=False)
class Fill(Expression):
    """Another value where one is missing."""

    op = "fill"
    of: Expression
    value: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        return self.of.compile(table).fill_null(self.value.compile(table))

    def emit(self, code: CodeWriter) -> Value:
        operand, value = code.value(self.of), code.value(self.value)
        kind, a, b = operand.kind, operand.name, value.name
        if operand.kind != value.kind:
            if {operand.kind, value.kind} != {FLOAT, INTEGER}:
                raise NoRowForm
            kind, a, b = FLOAT, code.number(self.of), code.number(self.value)
        return code.set(f"{b} if {a} is None else {a}", kind)


@dataclass(frozen=True, eq=False)
class Where(Expression):
    """The value where a truth holds; missing elsewhere."""

    op = "where"
    of: Expression
    condition: Expression

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.when(self.condition.compile(table)).then(self.of.compile(table))

    def emit(self, code: CodeWriter) -> Value:
        operand, condition = code.value(self.of), code.value(self.condition)
        if condition.kind != BOOLEAN:
            raise NoRowForm
        return code.set(f"{operand.name} if {condition.name} else None", operand.kind)


@dataclass(frozen=True, eq=False)
class Cut(Expression):
    """The bin of a number: how many of the rising `breaks` are at or below it."""

    op = "cut"
    of: Expression
    breaks: tuple[float, ...]

    def __post_init__(self) -> None:
        if list(self.breaks) != sorted(set(self.breaks)) or not self.breaks:
            raise DeclarationError(f"cut needs rising breaks, not {self.breaks}")

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table)
        bins = pl.sum_horizontal([(x >= b).cast(pl.Int64) for b in self.breaks])
        return pl.when(x.is_not_null()).then(bins)

    def emit(self, code: CodeWriter) -> Value:
        x, breaks = code.number(self.of), code.constant(self.breaks)
        # A NaN is at or above every break, as it is for the table form.
        bucket = f"{code.constant(bisect_right)}({breaks}, {x}) if {x} == {x} else {len(self.breaks)}"
        return code.set_if([x], bucket, INTEGER)


@dataclass(frozen=True, eq=False)
class Native(Expression):
    """A user's own polars expression, kept in polars' JSON form so that it digests and travels."""

    op = "native"
    json: str
    roots: tuple[str, ...]

    def columns(self) -> frozenset[str]:
        return frozenset(self.roots)

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.Expr.deserialize(self.json.encode(), format="json")


def _floor(x: float) -> float:
    return x if x == 0 or not abs(x) < 2.0**52 else float(math.floor(x))


def _log1p_below(x: float) -> float:
    return -math.inf if x == -1 else math.nan


def _sqrt_below(x: float) -> float | None:
    return x if x == 0 or x != x else None


# Of functions: the one that serves above a bound, the bound, and what serves elsewhere.
_USUAL: dict[str, tuple[Any, int, Any]] = {"log1p": (math.log1p, -1, _log1p_below), "sqrt": (math.sqrt, 0, _sqrt_below)}
# Polars orders floats in full: a NaN equals itself and is larger than any other.
_COMPARE = {
    "==": "{a} == {b} or {a} != {a} and {b} != {b}",
    "!=": "{a} != {b} and ({a} == {a} or {b} == {b})",
    "<": "{a} < {b} or {a} == {a} and {b} != {b}",
    "<=": "{a} <= {b} or {b} != {b}",
    ">": "{a} > {b} or {a} != {a} and {b} == {b}",
    ">=": "{a} >= {b} or {a} != {a}",
}


def col(name: str) -> Col:
    """The column `name` of the row. In a system with a horizon it must be known in advance, or stand inside `lag`."""
    return Col(name)


def maximum(a: Expression, b: Expression | float) -> Arithmetic:
    """The larger of two numbers; the other where one is missing."""
    return Arithmetic("max", a, as_expression(b))


def minimum(a: Expression, b: Expression | float) -> Arithmetic:
    """The smaller of two numbers; the other where one is missing."""
    return Arithmetic("min", a, as_expression(b))


def lit(value: float | int | bool | str) -> Literal:
    """A constant."""
    return Literal(value)


def native(expression: pl.Expr) -> Native:
    """A polars expression of one's own. It must look at one row only: no ``shift``, ``over`` or aggregation.

    Raises:
        DeclarationError: It calls Python, so it cannot be stored beside the model.
    """
    import polars as pl

    try:
        json = expression.meta.serialize(format="json")
    except pl.exceptions.PolarsError as error:
        raise DeclarationError(
            f"this polars expression cannot be stored: {error}", hint="use polars functions, not Python ones"
        ) from error
    return Native(json, tuple(sorted(set(expression.meta.root_names()))))
