"""The row form of a contract: one decoded JSON object to a typed row, or what is wrong with it, in microseconds.

It accepts what the contract's JSON Schema accepts. A row that passes has the very values that the table form
(`check`) gives it; JSON has types of its own, so a number in quotes is refused here and read there.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column

if TYPE_CHECKING:
    from headrace.contract.declared import Contract

EXACT = 2.0**53
_INT64 = 2**63
_SHOWN = 40
_UNKNOWN = 20
"""Unknown names of a row that are told."""

Check = Callable[[Any], Any]


class _Refused(Exception):
    """What is wrong with a value; told as an entry of the row's faults."""


class RowDecoder:
    """Decodes rows of one contract. Holds no state: any number of threads may use it.

    Args:
        contract: The column rules.
        optional: Columns that may be missing although the contract says otherwise.
    """

    def __init__(self, contract: Contract, optional: Collection[str] = ()) -> None:
        self._names = frozenset(contract.names)
        self._columns = tuple((c.name, c.nullable or c.name in optional, _checked(c)) for c in contract.columns)
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
        for name, nullable, check in self._columns:
            value = get(name)
            if value is not None:
                try:
                    value = check(value)
                except _Refused as refused:
                    faults.append({"loc": [name], "msg": str(refused)})
                    continue
            if value is None and not nullable:
                faults.append({"loc": [name], "msg": "is missing"})
            row[name] = value
        if not (data.keys() <= self._names):
            faults += self._unknown(data)
        return row, faults

    def _unknown(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        faults = []
        # Looking for what was meant takes its time, so it is done for a few names only.
        for name in heapq.nsmallest(_UNKNOWN, data.keys() - self._names):
            near = difflib.get_close_matches(name[:_SHOWN], self._names, n=1)
            hint = f"; is {near[0]!r} meant?" if near else ""
            faults.append({"loc": [_cut(name)], "msg": f"is not a column of the contract{hint}"})
        return faults


def _quick(contract: Contract, optional: Collection[str]) -> Callable[[Any], dict[str, Any] | None]:
    """A function that gives the typed row where every value plainly is what it should be, and None where one is not.

    Nearly all rows are good; what is wrong with the others is for the checks one by one to say.
    """
    names: dict[str, Any] = {}
    lines, row = [], []
    for place, column in enumerate(contract.columns):
        names[f"n{place}"], names[f"c{place}"] = column.name, column
        value = f"v{place}"
        good = _plainly(column, value, place, names)
        if column.nullable or column.name in optional:
            good = f"{value} is None or {good}"
        lines += [f"    {value} = get(n{place})", f"    if not ({good}):", "        return None"]
        typed = f"{value} if {value} is None else float({value})" if column.type == "float" else value
        row.append(f"n{place}: {typed}")
    source = "def quick(get):\n" + "\n".join(lines) + f"\n    return {{{', '.join(row)}}}\n"
    # The source holds nothing but the names made above: no value of a contract enters it as text.
    exec(compile(source, "<contract>", "exec"), names)  # noqa: S102
    made: Callable[[Any], dict[str, Any] | None] = names["quick"]
    return made


def _plainly(column: Column, value: str, place: int, names: dict[str, Any]) -> str:
    """The test, as Python, that a value passes every rule of its column; a rule that is dear to test fails."""
    low, high = f"low{place}", f"high{place}"
    names[low] = column.minimum if column.minimum is not None else -EXACT
    names[high] = column.maximum if column.maximum is not None else EXACT
    allowed = ""
    if column.values is not None:
        names[f"set{place}"] = frozenset(column.values)
        allowed = f" and {value} in set{place}"
    match column.type:
        case "float":
            return f"({value}.__class__ is float or {value}.__class__ is int) and {low} <= {value} <= {high}{allowed}"
        case "integer":
            names[low], names[high] = max(names[low], -EXACT), min(names[high], EXACT)
            return f"{value}.__class__ is int and {low} <= {value} <= {high}{allowed}"
        case "boolean":
            return f"{value}.__class__ is bool"
        case "text" if column.pattern is None:
            return f"{value}.__class__ is str{allowed}"
        case "category" if column.pattern is None:
            return f"{value}.__class__ is str and {value} and not {value}.isspace(){allowed}"
    return "False"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _checked(column: Column) -> Check:
    """The type's check, and then the rules that the column has."""
    checks = [_TYPES[column.type](column), *_rules(column)]
    if len(checks) == 1:
        return checks[0]

    def check(value: Any) -> Any:
        for each in checks:
            if value is None:
                return None
            value = each(value)
        return value

    return check


def _float(column: Column) -> Check:
    def check(value: Any) -> float:
        if type(value) is float:
            return value
        if type(value) is not int:
            raise _Refused(f"is not a number, but {_kind(value)}")
        try:
            return float(value)
        except OverflowError as error:
            raise _Refused("is not a finite number") from error

    return check


def _integer(column: Column) -> Check:
    def check(value: Any) -> int:
        if type(value) is float and value.is_integer() and abs(value) < EXACT:
            return int(value)
        if type(value) is not int:
            kind = "" if type(value) is float else f", but {_kind(value)}"
            raise _Refused(f"is not a whole number{kind}")
        if not -_INT64 <= value < _INT64:
            raise _Refused("is not a whole number of 64 bits")
        return value

    return check


def _boolean(column: Column) -> Check:
    def check(value: Any) -> bool:
        if type(value) is not bool:
            raise _Refused(f"is not true or false, but {_kind(value)}")
        return value

    return check


def _text(column: Column) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str:
            raise _Refused(f"is not a text, but {_kind(value)}")
        return value

    return check


def _category(column: Column) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is not str:
            raise _Refused(f"is not a text, but {_kind(value)}")
        return value if value and not value.isspace() else None

    return check


def _time(column: Column) -> Check:
    def check(value: Any) -> datetime | None:
        import polars as pl

        from headrace.contract.times import parse_times

        if type(value) is not str:
            raise _Refused(f"is not a time, but {_kind(value)}")
        if not value.strip():
            return None
        times, wrong = parse_times(column, pl.Series(column.name, [value.strip()]))
        for what, rows in wrong:
            if rows[0]:
                raise _Refused(what)
        found: datetime = times[0]
        return found.astimezone(UTC)

    return check


_TYPES: dict[str, Callable[[Column], Check]] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "category": _category,
    "time": _time,
}


def _rules(column: Column) -> list[Check]:
    rules: list[Check] = []
    for word, bound, below in (("minimum", column.minimum, True), ("maximum", column.maximum, False)):
        if bound is not None:
            rules.append(_bounded(bound, word, below))
    if column.values is not None:
        rules.append(_one_of(column.values))
    if column.pattern is not None:
        rules.append(_matching(column.pattern))
    return rules


def _bounded(bound: Any, word: str, below: bool) -> Check:
    said = f"is {'below' if below else 'above'} the {word} {bound}"

    def check(value: Any) -> Any:
        if (value < bound) if below else (value > bound):
            raise _Refused(said)
        return value

    return check


def _one_of(values: tuple[Any, ...]) -> Check:
    allowed = frozenset(values)
    said = f"is not one of {', '.join(str(each) for each in values[:20])}{' …' if len(values) > 20 else ''}"

    def check(value: Any) -> Any:
        if value not in allowed:
            raise _Refused(said)
        return value

    return check


def _matching(pattern: str) -> Check:
    def check(value: Any) -> Any:
        import polars as pl

        # The table form's own engine: Python's regular expressions differ from it.
        if not pl.Series([value]).str.contains(pattern)[0]:
            raise _Refused(f"does not match the pattern {pattern}")
        return value

    return check
