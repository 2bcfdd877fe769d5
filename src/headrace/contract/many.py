"""Many rows of a contract decoded at once: a JSON array to typed columns, in two microseconds a row.

Only rows whose every value plainly is what it should be come through here. What is wrong with others, if anything, is
for `row` to say; a row that passes both ways has the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from headrace.contract.column import Column
from headrace.contract.table import EXACT, Missing, missing_of, rules_of

if TYPE_CHECKING:
    from headrace.contract.declared import Contract

_TYPES: Mapping[str, Any] = {"float": float, "integer": int, "boolean": bool, "text": str, "category": str}
_encode_lines = msgspec.json.Encoder().encode_lines
_UNSET = msgspec.UNSET
_NOTHING = frozenset((_UNSET, None))


@dataclass(frozen=True)
class ManyRows:
    """Typed rows by columns.

    Attributes:
        columns: Every column of the contract by name, None where a value is missing.
        inputs: Per row what is to be predicted from, as JSON: what `inputs_of` gives.
    """

    columns: Mapping[str, Sequence[Any]]
    inputs: Sequence[bytes]


class ManyDecoder:
    """Decodes arrays of rows of one contract. Holds no state: any number of threads may use it.

    Args:
        contract: The column rules.
        target: The column that may be missing although the contract says otherwise, and that is no input.
    """

    def __init__(self, contract: Contract, target: str) -> None:
        self._columns = tuple(
            _RemainingColumn.of(column, place, target) for place, column in enumerate(contract.columns)
        )
        self._plain = all(map(_is_plain, contract.columns))
        if self._plain:
            row: Any = _row_type(contract.columns, target)
            self._array, self._object = msgspec.json.Decoder(list[row]).decode, msgspec.json.Decoder(row).decode

    def __call__(self, body: bytes) -> ManyRows | None:
        """The rows of an array; None where the body is another thing, or not all of its rows are plainly good."""
        return self._typed(lambda: self._array(body), body) if body.startswith(b"[") else None

    def alone(self, bodies: Sequence[bytes]) -> ManyRows | None:
        """The rows of bodies that are one object each; None where one is another thing, or not plainly good."""
        return self._typed(lambda: list(map(self._object, bodies)), b"".join(bodies))

    def _typed(self, decode: Callable[[], list[msgspec.Struct]], text: bytes) -> ManyRows | None:
        if not self._plain:
            return None
        try:
            rows = decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        columns: dict[str, Sequence[Any]] = {}
        strings = 0
        by_column = zip(*map(msgspec.structs.astuple, rows), strict=True) if rows else repeat(())
        for column, values in zip(self._columns, by_column, strict=False):
            typed = column.typed(values, rows)
            if typed is None:
                return None
            columns[column.name] = typed
            strings += column.strings(values)
        if quotes(text) != 2 * strings:  # a name is there twice
            return None
        return ManyRows(columns, _encode_lines(rows).split(b"\n")[:-1])


@dataclass(frozen=True)
class _RemainingColumn:
    """What is left to look at in a column whose types and bounds are right.

    Attributes:
        field: The rows' attribute.
        optional: Whether values may be missing.
        missing: Which values are missing ones; None where of values of the right type none is.
        text: Whether values are texts.
        allowed: The only values, where there are such.
        target: Whether it is no input.
    """

    name: str
    field: str
    optional: bool
    missing: Missing | None
    text: bool
    allowed: frozenset[Any] | None
    target: bool

    @classmethod
    def of(cls, column: Column, place: int, target: str) -> _RemainingColumn:
        """Of the column at that place of its contract."""
        rules = {rule.keyword: rule.operand for rule in rules_of(column)}
        allowed = frozenset(rules["values"]) if "values" in rules else None
        spelled, is_target = missing_of(column), column.name == target
        missing = spelled if column.textual or (spelled.numbers and column.type != "boolean") else None
        optional = column.nullable or is_target
        return cls(column.name, _field(place), optional, missing, column.textual, allowed, is_target)

    def strings(self, values: Sequence[Any]) -> int:
        """How many texts the body has for these values: their names, and they themselves where they are texts."""
        names = len(values) - values.count(_UNSET) if self.optional else len(values)
        return names + (names - values.count(None)) if self.text else names

    def _plain(self, values: Sequence[Any]) -> bool:
        """Whether each value plainly is there and allowed, which is quicker told than the rest."""
        if self.allowed is not None or self.optional:
            return self.allowed is None and self.missing is None
        return self.missing is None or (self.text and not self.missing.texts and all(map(str.strip, values)))

    def typed(self, values: Sequence[Any], rows: Sequence[msgspec.Struct]) -> Sequence[Any] | None:
        """The values, None where one is missing; None for all of them where one is not allowed.

        What is missing, or no input, is left out of the rows.
        """
        missing: set[Any] = set()
        if not self._plain(values):
            distinct = set(values) - _NOTHING
            missing = set(filter(self.missing, distinct)) if self.missing is not None else missing
            if (self.allowed is not None and not distinct - missing <= self.allowed) or (missing and not self.optional):
                return None
        if not (self.target or missing or (self.optional and (_UNSET in values or None in values))):
            return values
        missing |= _NOTHING
        for row, value in zip(rows, values, strict=True):
            if value is not _UNSET and (self.target or value in missing):
                setattr(row, self.field, _UNSET)
        return [None if value in missing else value for value in values]


def _is_plain(column: Column) -> bool:
    """Whether all rules of a column can be checked for many values at once, and its name goes in and out as it is."""
    escaped = any(sign in '"\\' or sign < " " for sign in column.name)
    return (
        column.type in _TYPES
        and column.pattern is column.forbids is None
        and not escaped
        and column.called == column.name
    )


def _row_type(columns: Sequence[Column], target: str) -> type[msgspec.Struct]:
    """Objects with these names and no others, their values of the right types and within the bounds.

    What was left out can be told from null: names are counted.
    """
    fields: list[Any] = []
    for place, column in enumerate(columns):
        kind = _bounded(column)
        optional = column.nullable or column.name == target
        name = _field(place)
        fields.append((name, kind | None | msgspec.UnsetType, _UNSET) if optional else (name, kind))
    rename = {_field(place): column.name for place, column in enumerate(columns)}
    return msgspec.defstruct("Row", fields, kw_only=True, forbid_unknown_fields=True, rename=rename, gc=False)


def _field(place: int) -> str:
    return f"f{place}"  # a column's name need not be one of Python's


def _bounded(column: Column) -> Any:
    """The type of a column's values for the decoder. Numbers beyond 2^53 go the way of single rows."""
    kind = _TYPES[column.type]
    if kind not in (int, float):
        return kind
    rules = {rule.keyword: rule.operand for rule in rules_of(column)}
    low, high = max(rules.get("minimum", -EXACT), -EXACT), min(rules.get("maximum", EXACT), EXACT)
    within = msgspec.Meta(ge=math.ceil(low), le=math.floor(high)) if kind is int else msgspec.Meta(ge=low, le=high)
    return Annotated[kind, within]


def quotes(body: bytes) -> int:
    """How many quotes of a JSON document begin or end a text."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return body.count(b'"')
