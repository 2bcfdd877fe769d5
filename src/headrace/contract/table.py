"""What values mean, written once: which are missing, what each type takes, what each rule refuses and how it is said.

Every form of a contract is made of this: polars (`parse`, `rowrules`), Python (`row`), msgspec (`many`,
`sources.events`) and JSON Schema (`schema`). A value so means one thing at every door.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headrace.contract.column import EPOCH_FORMATS, Column

if TYPE_CHECKING:
    import polars as pl

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""The signs that a blank text consists of: those of `str.isspace`."""
INT64 = 2**63
EXACT = 2.0**53
"""Up to here every whole number is a float of its own."""
MISSING = "is missing"
NOT_FINITE = "is not a finite number"
NOT_INT64 = "is not a whole number of 64 bits"
_LISTED = 20


@dataclass(frozen=True)
class ColumnKind:
    """A type of column.

    Attributes:
        refusal: What is said of a value that is none of this type.
        json: What JSON Schema calls it.
        least: The smallest value that the type holds, None without one.
        most: The largest.
    """

    refusal: str
    json: str
    least: float | None = None
    most: float | None = None


KINDS: dict[str, ColumnKind] = {
    "time": ColumnKind("is not a time", "string"),
    "category": ColumnKind("is not a text", "string"),
    "text": ColumnKind("is not a text", "string"),
    "float": ColumnKind("is not a number", "number", -sys.float_info.max, sys.float_info.max),
    "integer": ColumnKind("is not a whole number", "integer", -INT64, INT64 - 1),
    "boolean": ColumnKind("is not true or false", "boolean"),
}

_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
EPOCHS = {
    name: (unit, 10 ** (6 - 3 * place)) for place, (name, unit) in enumerate(zip(EPOCH_FORMATS, _UNITS, strict=True))
}
"""Formats of a time that is a count since 1970: of what, and how many microseconds one is."""


def refusal(column: Column) -> str:
    """What is said of a value that is none of the column's type."""
    if column.format in EPOCHS:
        return f"is not a time in {EPOCHS[column.format][0]} since 1970"
    if column.type == "time" and column.format is not None:
        return f"is not a time of the form {column.format}"
    return KINDS[column.type].refusal


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII).fullmatch


@dataclass(frozen=True)
class Missing:
    """Which values of a column are missing ones: no value, an empty or blank text, and the declared spellings.

    Attributes:
        texts: Spellings as text, without blanks around them.
        numbers: Spellings that are numbers, for values that are.
        nan: Whether the number that is none is a spelling.
        numeric: Whether texts are compared as numbers as well.
    """

    texts: frozenset[str]
    numbers: frozenset[float]
    nan: bool
    numeric: bool

    def __call__(self, value: Any) -> bool:
        """Whether a value as it came is a missing one."""
        if value is None:
            return True
        if value.__class__ is str:
            stripped = value.strip()
            return not stripped or stripped in self.texts or (self.numeric and _number(stripped) in self.numbers)
        return value.__class__ in (int, float) and value in self.numbers

    @property
    def pattern(self) -> str:
        """A regular expression, as JSON Schema has them, of the texts that are missing values."""
        spelled = "|".join(re.sub(r"[\^$\\.*+?()[\]{}|/]", r"\\\g<0>", text) for text in sorted(self.texts))
        return rf"^\s*({spelled})?\s*$" if spelled else r"^\s*$"


@lru_cache(maxsize=1024)
def missing_of(column: Column) -> Missing:
    """Which values of a column are missing ones."""
    texts, numbers = set[str](), set[float]()
    for value in column.missing or ():
        texts.add(str(value).strip())
        try:
            number = float(value)
        except (ValueError, OverflowError):
            continue  # a spelling such as NA, that no number is
        numbers.add(number)
        if number.is_integer():
            texts.add(str(int(number)))
    exact = frozenset(number for number in numbers if number == number)
    numeric = column.type in ("float", "integer") or column.format in EPOCHS
    return Missing(frozenset(texts), exact, len(exact) < len(numbers), numeric)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER(text) else None


@dataclass(frozen=True)
class ColumnRule:
    """One rule of a column.

    Attributes:
        keyword: Its field in the declaration, and in JSON Schema.
        operand: What it compares with.
        said: What is said of a value that breaks it.
    """

    keyword: str
    operand: Any
    said: str

    def broken(self, value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        """Which typed values of a column of that dtype break it; null where one is missing."""
        import polars as pl

        if self.keyword == "values":
            return ~value.is_in(pl.Series(self.operand, dtype=dtype, strict=False).to_list())
        if self.keyword == "pattern":
            return ~value.str.contains(self.operand, strict=True)
        if self.keyword == "forbids":
            return value.str.contains(self.operand, strict=True)
        comparison: pl.Expr = _COMPARED[self.keyword](value, self.operand)
        return comparison

    def breaks(self) -> Callable[[Any], bool]:
        """The same of one typed value."""
        operand = self.operand
        if self.keyword == "values":
            allowed = frozenset(operand)
            return lambda value: value not in allowed
        if self.keyword == "pattern":
            return lambda value: not _matches(operand, value)
        if self.keyword == "forbids":
            return lambda value: _matches(operand, value)
        compared = _COMPARED[self.keyword]
        return lambda value: compared(value, operand)


_COMPARED: dict[str, Callable[[Any, Any], Any]] = {"minimum": operator.lt, "maximum": operator.gt}


def _matches(pattern: str, value: str) -> bool:
    import polars as pl

    # The table form's own engine: Python's regular expressions differ from it.
    return bool(pl.Series([value]).str.contains(pattern)[0])


@lru_cache(maxsize=1024)
def rules_of(column: Column) -> tuple[ColumnRule, ...]:
    """The rules that typed values of a column are held to, in the order in which they are told."""
    rules = []
    for keyword, side in (("minimum", "below"), ("maximum", "above")):
        bound = getattr(column, keyword)
        if bound is not None:
            bound = bound.astimezone(UTC) if isinstance(bound, datetime) else bound
            rules.append(ColumnRule(keyword, bound, f"is {side} the {keyword} {_plain(bound)}"))
    if column.values is not None:
        rules.append(ColumnRule("values", column.values, f"is not one of {_listed(column.values)}"))
    if column.pattern is not None:
        rules.append(ColumnRule("pattern", column.pattern, f"does not match the pattern {column.pattern}"))
    if column.forbids is not None:
        rules.append(ColumnRule("forbids", column.forbids, f"matches the forbidden pattern {column.forbids}"))
    return tuple(rules)


def _plain(bound: object) -> str:
    return f"{bound:%Y-%m-%dT%H:%M:%SZ}" if isinstance(bound, datetime) else str(bound)


def _listed(values: tuple[object, ...]) -> str:
    text = ", ".join(str(value) for value in values[:_LISTED])
    return f"{text} and {len(values) - _LISTED} more" if len(values) > _LISTED else text
