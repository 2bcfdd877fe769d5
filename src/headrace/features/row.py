"""Primitives of one row: columns, literals, arithmetic, comparison, missing values, categories and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import DeclarationError, FeatureError
from headrace.features.expression import Expression, Table, as_expression

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class Col(Expression):
    """The value of a column."""

    op = "col"
    name: str

    def columns(self) -> frozenset[str]:
        return frozenset((self.name,))

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        return pl.col(self.name)


@dataclass(frozen=True, eq=False)
class Literal(Expression):
    """A constant."""

    op = "literal"
    value: float | int | bool | str | None

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        return pl.lit(self.value)


@dataclass(frozen=True, eq=False)
class Arithmetic(Expression):
    """Two numbers to one, as float64.

    Division by zero gives a missing value; `max` and `min` pass over missing ones.
    """

    op = "arithmetic"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: Table) -> pl.Expr:
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


@dataclass(frozen=True, eq=False)
class Compare(Expression):
    """Whether two values stand in a relation; missing where either is."""

    op = "compare"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: Table) -> pl.Expr:
        a, b = self.left.compile(table), self.right.compile(table)
        match self.sign:
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


@dataclass(frozen=True, eq=False)
class Logical(Expression):
    """Both, or either, of two truths, with three-valued logic for missing ones."""

    op = "logical"
    sign: str
    left: Expression
    right: Expression

    def polars(self, table: Table) -> pl.Expr:
        a, b = self.left.compile(table), self.right.compile(table)
        return a & b if self.sign == "&" else a | b


@dataclass(frozen=True, eq=False)
class Unary(Expression):
    """One value to one: ``neg abs log1p sqrt not is_missing``."""

    op = "unary"
    name: str
    of: Expression

    def polars(self, table: Table) -> pl.Expr:
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


@dataclass(frozen=True, eq=False)
class Fill(Expression):
    """Another value where one is missing."""

    op = "fill"
    of: Expression
    value: Expression

    def polars(self, table: Table) -> pl.Expr:
        return self.of.compile(table).fill_null(self.value.compile(table))


@dataclass(frozen=True, eq=False)
class Cut(Expression):
    """The bin of a number: how many of the rising `breaks` are at or below it."""

    op = "cut"
    of: Expression
    breaks: tuple[float, ...]

    def __post_init__(self) -> None:
        if list(self.breaks) != sorted(set(self.breaks)) or not self.breaks:
            raise DeclarationError(f"cut needs rising breaks, not {self.breaks}")

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table)
        bins = pl.sum_horizontal([(x >= b).cast(pl.Int64) for b in self.breaks])
        return pl.when(x.is_not_null()).then(bins)


@dataclass(frozen=True, eq=False)
class Map(Expression):
    """Texts to texts: through `values`, or kept, or `default`; missing stays missing."""

    op = "map"
    of: Expression
    values: tuple[tuple[str, str], ...]
    keep: tuple[str, ...] = ()
    default: str | None = "other"

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        known = {name: name for name in self.keep} | dict(self.values)
        x = self.of.compile(table).cast(pl.String)
        mapped = x.replace_strict(known, default=pl.lit(self.default, dtype=pl.String), return_dtype=pl.String)
        return pl.when(x.is_not_null()).then(mapped)


@dataclass(frozen=True, eq=False)
class Text(Expression):
    """One operation on a text: ``lower strip length words contains extract split slice``."""

    op = "text_operation"
    name: str
    of: Expression
    arguments: tuple[str | int, ...] = ()

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table).cast(pl.String).str
        a = self.arguments
        match self.name:
            case "lower":
                return x.to_lowercase()
            case "strip":
                return x.strip_chars()
            case "length":
                return x.len_chars().cast(pl.Int64)
            case "words":
                return x.count_matches(r"\S+").cast(pl.Int64)
            case "contains":
                return x.contains(str(a[0]), literal=True)
            case "extract":
                return x.extract(str(a[0]), 1)
            case "split":
                return x.split(str(a[0])).list.get(int(a[1]), null_on_oob=True)
            case "slice":
                return x.slice(int(a[0]), int(a[1]))
        raise FeatureError(f"unknown text operation {self.name!r}")


@dataclass(frozen=True, eq=False)
class TextColumn(Expression):
    """A column of free text, handed as it is to a model that reads text."""

    op = "text"
    name: str

    def columns(self) -> frozenset[str]:
        return frozenset((self.name,))

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        return pl.col(self.name).cast(pl.String)


@dataclass(frozen=True, eq=False)
class Native(Expression):
    """A user's own polars expression, kept in polars' JSON form so that it digests and travels."""

    op = "native"
    json: str
    roots: tuple[str, ...]

    def columns(self) -> frozenset[str]:
        return frozenset(self.roots)

    def polars(self, table: Table) -> pl.Expr:
        import polars as pl

        return pl.Expr.deserialize(self.json.encode(), format="json")


def col(name: str) -> Col:
    """The column `name` of the row. In a system with a horizon it must be known ahead, or stand inside `lag`."""
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


def text(name: str) -> TextColumn:
    """The free text of a column, for a model that reads text."""
    return TextColumn(name)


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
