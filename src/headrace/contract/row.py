"""The row form of a contract: one decoded JSON object to a typed row, or what is wrong with it, in microseconds.

It accepts what the contract's JSON Schema accepts. A row that passes has the very values that the table form
(`check`) gives it; JSON has types of its own, so a number in quotes is refused here and read there.
"""

from __future__ import annotations

import difflib
import heapq
import math
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column
from headrace.contract.naming import found_as
from headrace.contract.table import (
    EPOCHS,
    EXACT,
    INT64,
    MISSING,
    NOT_FINITE,
    NOT_INT64,
    missing_of,
    refusal,
    rules_of,
)

if TYPE_CHECKING:
    from headrace.contract.declared import Contract

_SHOWN = 40
_UNKNOWN = 20
"""Unknown names of a row that are told."""

Check = Callable[[Any], Any]


class _RefusedValue(Exception):
    """What is wrong with a value; told as an entry of the row's faults."""


class RowDecoder:
    """Decodes rows of one contract. Holds no state: any number of threads may use it.

    Args:
        contract: The column rules.
        optional: Columns that may be missing although the contract says otherwise.
    """

    def __init__(self, contract: Contract, optional: Collection[str] = ()) -> None:
        self._names = frozenset(column.called for column in contract.columns)
        self._columns = tuple(
            (c.name, c.called, c.nullable or c.name in optional, missing_of(c), _checked(c)) for c in contract.columns
        )
        self._quick = _quick(contract, optional)

    def __call__(self, data: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The typed row, with None for what is missing, and its faults: ``{"loc": [...], "msg": ...}`` each.

        A row with faults is not to be used. Names that the contract does not know are faults: a misspelt name of a
        column that may be missing would vanish otherwise.
        """
        if type(data) is not dict:
            return {}, [{"loc": [], "msg": f"a row is an object, not {_kind(data)}"}]
        if data.keys() <= self._names and (quick := self._quick(data.get)) is not None:
            return quick, []
        return self._slowly(data)

    def _slowly(self, data: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        row: dict[str, Any] = {}
        faults: list[dict[str, Any]] = []
        get = data.get
        for name, called, nullable, missing, check in self._columns:
            value = get(called)
            if missing(value):
                row[name] = None
                if not nullable:
                    faults.append({"loc": [called], "msg": MISSING})
                continue
            try:
                row[name] = check(value)
            except _RefusedValue as refused:
                faults.append({"loc": [called], "msg": str(refused)})
        if not (data.keys() <= self._names):
            faults += self._unknown(data)
        return row, faults

    def _unknown(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        faults = []
        # Looking for what was meant takes its time, so it is done for a few names only.
        for name in heapq.nsmallest(_UNKNOWN, data.keys() - self._names):
            spelling = found_as(name, tuple(self._names))
            near = difflib.get_close_matches(name[:_SHOWN], self._names, n=1) if spelling is None else []
            hint = f"; is {near[0]!r} meant?" if near else ""
            if spelling is not None:  # the two look alike: their escapes tell them apart
                hint = f": it reads as one, but is {_cut(name)!a}, not {spelling!a}"
            faults.append({"loc": [_cut(name)], "msg": f"is not a column of the contract{hint}"})
        return faults


def _quick(contract: Contract, optional: Collection[str]) -> Callable[[Any], dict[str, Any] | None]:
    """A function that gives the typed row where every value plainly is what it should be, and None where one is not.

    Nearly all rows are good; what is wrong with the others is for the checks one by one to say.
    """
    names: dict[str, Any] = {}
    lines, row = [], []
    for place, column in enumerate(contract.columns):
        names[f"n{place}"], names[f"g{place}"], names[f"c{place}"] = column.name, column.called, column
        value = f"v{place}"
        good = _plainly(column, value, place, names)
        if column.nullable or column.name in optional:
            good = f"{value} is None or {good}"
        lines += [f"    {value} = get(g{place})", f"    if not ({good}):", "        return None"]
        typed = f"{value} if {value} is None else float({value})" if column.type == "float" else value
        row.append(f"n{place}: {typed}")
    source = "def quick(get):\n" + "\n".join(lines) + f"\n    return {{{', '.join(row)}}}\n"
    # The source holds nothing but the names made above: no value of a contract enters it as text.
    exec(compile(source, "<contract>", "exec"), names)  # noqa: S102
    function: Callable[[Any], dict[str, Any] | None] = names["quick"]
    return function


def _plainly(column: Column, value: str, place: int, names: dict[str, Any]) -> str:
    """The test, as Python, that a value passes every rule of its column; a rule that is dear to test fails."""
    rules = {rule.keyword: rule.operand for rule in rules_of(column)}
    if {"pattern", "forbids"} & rules.keys() or column.type == "time":
        return "False"
    low, high, absent, missing = f"low{place}", f"high{place}", f"gone{place}", missing_of(column)
    branch = ""
    if "values" in rules:
        names[f"set{place}"] = frozenset(rules["values"])
        branch = f" and {value} in set{place}"
    elif missing.numbers and not column.textual:
        names[absent] = missing.numbers
        branch = f" and {value} not in {absent}"
    elif missing.texts and column.textual:
        names[absent] = missing.texts
        branch = f" and {value}.strip() not in {absent}"
    names[low], names[high] = rules.get("minimum", -EXACT), rules.get("maximum", EXACT)
    match column.type:
        case "float":
            return f"({value}.__class__ is float or {value}.__class__ is int) and {low} <= {value} <= {high}{branch}"
        case "integer":
            names[low], names[high] = max(names[low], -EXACT), min(names[high], EXACT)
            return f"{value}.__class__ is int and {low} <= {value} <= {high}{branch}"
        case "boolean":
            return f"{value}.__class__ is bool"
    return f"{value}.__class__ is str and {value} and not {value}.isspace(){branch}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _checked(column: Column) -> Check:
    """The type's check, and then the rules that the column has."""
    typed, rules = _TYPES[column.type](column), [(rule.breaks(), rule.said) for rule in rules_of(column)]

    def check(value: Any) -> Any:
        value = typed(value)
        for breaks, reason in rules:
            if breaks(value):
                raise _RefusedValue(reason)
        return value

    return check


def _other(column: Column, value: Any) -> _RefusedValue:
    """The refusal of a value whose JSON type is another one."""
    return _RefusedValue(f"{refusal(column)}, but {_kind(value)}")


def _float(column: Column) -> Check:
    def check(value: Any) -> float:
        if type(value) is float:
            return value
        if type(value) is not int:
            raise _other(column, value)
        try:
            return float(value)
        except OverflowError as error:
            raise _RefusedValue(NOT_FINITE) from error

    return check


def _integer(column: Column) -> Check:
    def check(value: Any) -> int:
        if type(value) is float and value.is_integer() and abs(value) < EXACT:
            return int(value)
        if type(value) not in (int, float):
            raise _other(column, value)
        if abs(value) >= INT64 and value != -INT64:
            raise _RefusedValue(NOT_INT64)
        if type(value) is float:
            raise _RefusedValue(refusal(column))
        return int(value)

    return check


def _boolean(column: Column) -> Check:
    def check(value: Any) -> bool:
        if type(value) is not bool:
            raise _other(column, value)
        return value

    return check


def _text(column: Column) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str:
            raise _other(column, value)
        return value

    return check


def _time(column: Column) -> Check:
    typed = (datetime, date)  # of a format that has times: JSON has none
    kinds = (*typed, str, int, float) if column.format in EPOCHS else (*typed, str)

    def check(value: Any) -> datetime:
        if type(value) not in kinds:
            raise _other(column, value)
        moment, wrong = time_of(column, value)
        if moment is None:
            raise _RefusedValue(wrong)
        return moment

    return check


def time_of(column: Column, value: str | float | date) -> tuple[datetime | None, str]:
    """The moment in UTC that a value of a time column means; None, and what is wrong with it."""
    begin, _, wrong = moments_of(column, value)
    return begin, wrong


def moments_of(column: Column, value: str | float | date) -> tuple[datetime | None, datetime | None, str]:
    """As `time_of`, and the moment that is written: another one where times name the end of a step."""
    import polars as pl

    from headrace.contract.times import parse_times

    if isinstance(value, str):
        value = value.strip()
    elif isinstance(value, int) and abs(value) >= INT64:
        value = float(value) if abs(value) < 10**300 else math.inf
    times, wrong, ends = parse_times(column, pl.Series(column.name, [value]))
    for reason, rows in wrong:
        if rows[0]:
            return None, None, reason
    begin, written = (end_points[0].astimezone(UTC) for end_points in (times, times if ends is None else ends))
    return begin, written, ""


_TYPES: dict[str, Callable[[Column], Check]] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "category": _text,
    "time": _time,
}
