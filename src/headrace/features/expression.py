"""The base of the feature language: an expression is a tree of primitives, and a primitive is data.

A primitive is a frozen dataclass that knows its meaning: what it reads (`columns`), how far back it looks
(`lookback`), where it is evaluated (`place`) and how it compiles to a polars expression (`polars`). Being data, a
tree prints, digests, travels as JSON beside the model and can be compiled to other forms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from headrace.declaration import format_duration, parse_duration
from headrace.errors import DeclarationError, FeatureError
from headrace.grid import steps_of

if TYPE_CHECKING:
    import polars as pl


ROW = "row"
"""Evaluated from the values of the row it stands in: the target row, or a row of history inside `lag`."""
ORIGIN = "origin"
"""Evaluated at the forecast origin, from values at or before it."""
TARGET = "target"
"""Evaluated for a target time, from values at or before the origin (`seasonal_lag`, `step_ahead`)."""

FLOAT, INTEGER, BOOLEAN, TEXT, TIME, NULL = "float", "integer", "boolean", "text", "time", "null"
"""Kinds of values in the row form."""

_PRIMITIVES: dict[str, type[Expression]] = {}


class NoRowForm(Exception):
    """A primitive has no lines of Python that give the very bits of its table form: it takes the table's way."""


@dataclass(frozen=True)
class Value:
    """A node in the row form: the Python variable that holds it, and the kind of its value (None where missing)."""

    name: str
    kind: str


class CodeWriter(Protocol):
    """What `Expression.emit` writes its lines with."""

    time: str | None
    """The column of the row's time, if rows have one."""

    def value(self, node: Expression) -> Value:
        """The variable that holds a node's value."""
        ...

    def number(self, node: Expression) -> str:
        """A variable that holds a node's value as a float. Raises `NoRowForm` for a text."""
        ...

    def text(self, node: Expression) -> str:
        """A variable that holds a node's value as a text. Raises `NoRowForm` for a float."""
        ...

    def column(self, name: str) -> Value:
        """The value of a column of the row."""
        ...

    def constant(self, value: Any) -> str:
        """The name of a constant or function."""
        ...

    def set(self, source: str, kind: str) -> Value:
        """A new variable with the value of a Python expression over the names above."""
        ...

    def set_if(self, names: Sequence[str], source: str, kind: str) -> Value:
        """`set`, but None where one of these names has the value None."""
        ...


@dataclass(frozen=True)
class CompileTarget:
    """What an expression needs to know of the table that it is compiled for.

    Attributes:
        time: The column of the row's time (UTC), if rows have one.
        step: The regular step of the series, for expressions over history.
        series: The columns that tell one series from another. The table must hold every series as one
            contiguous run of regular steps in time order.
        ahead: How many steps ahead of each row's origin the target lies, for seasonal primitives.
        years: First and last year that `time` can hold, for calendars.
        zone: Whose dates the steps are, where they are whole days or longer.
        ready: Digests of expressions that were evaluated before, and the columns that hold them.
        grouped: The expression already stands inside a series, so it must not group by series again.
    """

    time: str | None = None
    step: timedelta | None = None
    series: tuple[str, ...] = ()
    ahead: int | None = None
    years: tuple[int, int] = (1990, 2060)
    zone: str | None = None
    ready: dict[str, str] = field(default_factory=dict)
    grouped: bool = False

    def steps(self, duration: timedelta, what: str) -> int:
        """How many steps make up `duration`.

        Raises:
            DeclarationError: The table has no step, or the duration is not a multiple of it.
        """
        if self.step is None:
            raise DeclarationError(f"{what} needs a system with a step", hint="declare step= and time=")
        return steps_of(duration, self.step, what)


@dataclass(frozen=True, eq=False)
class Expression:
    """One node of a feature. Combine with ``+ - * / // % ** == != < <= > >= & | ~`` and the methods below."""

    op: ClassVar[str] = ""
    place: ClassVar[str] = ROW

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("op"):
            _PRIMITIVES[cls.op] = cls

    # --- meaning -----------------------------------------------------------------------------------------------

    def polars(self, table: CompileTarget) -> pl.Expr:
        """This node as a polars expression over `table`. Called by `compile`."""
        raise FeatureError(f"{self.op!r} has no form over a table")

    def emit(self, code: CodeWriter) -> Value:
        """This node in the row form: Python that gives the table form's value, to the last bit.

        Raises:
            NoRowForm: There is none; a frame of one row serves instead.
        """
        raise NoRowForm

    def compile(self, table: CompileTarget) -> pl.Expr:
        """The polars expression, or the column that already holds this node's values."""
        if table.ready:
            name = table.ready.get(self.digest)
            if name is not None:
                import polars as pl

                return pl.col(name)
        return self.polars(table)

    def children(self) -> Iterator[Expression]:
        """The expressions that this one is made of."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Expression):
                yield value
            elif isinstance(value, tuple):
                yield from (v for v in value if isinstance(v, Expression))

    def columns(self) -> frozenset[str]:
        """Names of the columns that it reads."""
        return frozenset().union(*(child.columns() for child in self.children()))

    def uses_time(self) -> bool:
        """Whether it reads the time of the row."""
        return any(child.uses_time() for child in self.children())

    def lookback(self) -> timedelta:
        """How far before the origin the oldest value lies that it can read."""
        return max((child.lookback() for child in self.children()), default=timedelta())

    def walk(self) -> Iterator[Expression]:
        """This node and all below it."""
        yield self
        for child in self.children():
            yield from child.walk()

    # --- identity ----------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """The tree as JSON-ready data; `from_dict` reads it back."""
        return {"op": self.op} | {f.name: _encode(getattr(self, f.name)) for f in fields(self)}

    @property
    def digest(self) -> str:
        """Hex digest of the definition: equal trees have equal digests, on every machine."""
        cached = self.__dict__.get("_digest")
        if cached is None:
            text = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
            cached = hashlib.sha256(text.encode()).hexdigest()[:16]
            object.__setattr__(self, "_digest", cached)
        return str(cached)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __bool__(self) -> bool:
        raise DeclarationError("a feature has no truth value", hint="use & | ~ instead of and, or, not")

    # --- operators ---------------------------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Expression:
        return _make("arithmetic", "+", self, as_expression(other))

    def __radd__(self, other: Operand) -> Expression:
        return _make("arithmetic", "+", as_expression(other), self)

    def __sub__(self, other: Operand) -> Expression:
        return _make("arithmetic", "-", self, as_expression(other))

    def __rsub__(self, other: Operand) -> Expression:
        return _make("arithmetic", "-", as_expression(other), self)

    def __mul__(self, other: Operand) -> Expression:
        return _make("arithmetic", "*", self, as_expression(other))

    def __rmul__(self, other: Operand) -> Expression:
        return _make("arithmetic", "*", as_expression(other), self)

    def __truediv__(self, other: Operand) -> Expression:
        return _make("arithmetic", "/", self, as_expression(other))

    def __rtruediv__(self, other: Operand) -> Expression:
        return _make("arithmetic", "/", as_expression(other), self)

    def __floordiv__(self, other: Operand) -> Expression:
        return _make("arithmetic", "//", self, as_expression(other))

    def __mod__(self, other: Operand) -> Expression:
        return _make("arithmetic", "%", self, as_expression(other))

    def __neg__(self) -> Expression:
        return _make("unary", "neg", self)

    def __abs__(self) -> Expression:
        return _make("unary", "abs", self)

    def __eq__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _make("compare", "==", self, as_expression(other))

    def __ne__(self, other: Operand) -> Expression:  # type: ignore[override]
        return _make("compare", "!=", self, as_expression(other))

    def __lt__(self, other: Operand) -> Expression:
        return _make("compare", "<", self, as_expression(other))

    def __le__(self, other: Operand) -> Expression:
        return _make("compare", "<=", self, as_expression(other))

    def __gt__(self, other: Operand) -> Expression:
        return _make("compare", ">", self, as_expression(other))

    def __ge__(self, other: Operand) -> Expression:
        return _make("compare", ">=", self, as_expression(other))

    def __and__(self, other: Operand) -> Expression:
        return _make("logical", "&", self, as_expression(other))

    def __or__(self, other: Operand) -> Expression:
        return _make("logical", "|", self, as_expression(other))

    def __invert__(self) -> Expression:
        return _make("unary", "not", self)

    # --- numbers -----------------------------------------------------------------------------------------------

    def log1p(self) -> Expression:
        """ln(1 + x)."""
        return _make("unary", "log1p", self)

    def sqrt(self) -> Expression:
        """Square root; negative numbers give a missing value."""
        return _make("unary", "sqrt", self)

    def is_missing(self) -> Expression:
        """Whether the value is missing."""
        return _make("unary", "is_missing", self)

    def fill(self, value: Operand) -> Expression:
        """`value` where this is missing."""
        return _make("fill", self, as_expression(value))

    def where(self, condition: Expression) -> Expression:
        """The value where `condition` holds; missing elsewhere."""
        return _make("where", self, condition)

    def cut(self, *breaks: float) -> Expression:
        """The number of `breaks` that are at or below the value: 0 to ``len(breaks)``."""
        return _make("cut", self, tuple(float(b) for b in breaks))

    def map(self, values: dict[str, str], *, keep: tuple[str, ...] = (), default: str | None = "other") -> Expression:
        """Replace by `values`; texts in `keep` stay; anything else becomes `default`."""
        return _make("map", self, tuple(sorted(values.items())), tuple(keep), default)

    # --- text --------------------------------------------------------------------------------------------------

    def lower(self) -> Expression:
        """Lower case."""
        return _make("text_operation", "lower", self)

    def strip(self) -> Expression:
        """Without white space at both ends."""
        return _make("text_operation", "strip", self)

    def length(self) -> Expression:
        """Number of characters."""
        return _make("text_operation", "length", self)

    def words(self) -> Expression:
        """Number of words: runs of characters that are not white space."""
        return _make("text_operation", "words", self)

    def count_of(self, characters: str = "0123456789") -> Expression:
        """How many of the text's characters are among these: digits, unless you name others."""
        if not characters:
            raise DeclarationError("there is no character to count", where="count_of")
        return _make("text_operation", "count", self, (characters,))

    def capitals(self) -> Expression:
        """The share of capitals among the text's letters from A to Z; missing where it has none of them."""
        return _make("text_operation", "capitals", self)

    def contains(self, literal: str) -> Expression:
        """Whether the text holds `literal`."""
        return _make("text_operation", "contains", self, (literal,))

    def extract(self, pattern: str) -> Expression:
        """The first group of the regular expression's first match, or missing."""
        return _make("text_operation", "extract", self, (pattern,))

    def split(self, separator: str, part: int) -> Expression:
        """Part number `part` (from 0) between separators, or missing."""
        return _make("text_operation", "split", self, (separator, part))

    def slice(self, start: int, length: int) -> Expression:
        """`length` characters from `start` (from 0)."""
        return _make("text_operation", "slice", self, (start, length))


Operand = Expression | float | int | bool | str


def as_expression(value: Operand) -> Expression:
    """An expression as it is; a number or text as a literal."""
    return value if isinstance(value, Expression) else _make("literal", value)


def from_dict(data: dict[str, Any]) -> Expression:
    """The expression that `Expression.as_dict` described.

    Raises:
        FeatureError: A primitive is unknown to this version of headrace.
    """
    cls = _PRIMITIVES.get(str(data.get("op")))
    if cls is None:
        raise FeatureError(
            f"unknown primitive {data.get('op')!r}", hint="the features were written by a newer headrace"
        )
    return cls(**{name: _decode(value) for name, value in data.items() if name != "op"})


def _encode(value: Any) -> Any:
    if isinstance(value, Expression):
        return value.as_dict()
    if isinstance(value, timedelta):
        return {"duration": format_duration(value)}
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return parse_duration(value["duration"]) if "duration" in value else from_dict(value)
    if isinstance(value, list):
        return tuple(_decode(v) for v in value)
    return value


def _make(op: str, *arguments: Any) -> Expression:
    """A primitive by its name: the primitives are built on this module, so it cannot import them."""
    return _PRIMITIVES[op](*arguments)
