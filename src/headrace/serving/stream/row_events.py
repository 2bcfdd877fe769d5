"""Messages of a topic as rows of a contract: as at the HTTP door, but that a bad one is set apart by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.contract.many import ManyDecoder
from headrace.contract.row import RowDecoder
from headrace.sources.events import EventShape
from headrace.sources.messages.base import Headers, Ignored, Unreadable
from headrace.sources.messages.opening import Opener
from headrace.system import System

LARGEST = EventShape.largest
"""Bytes of an event at most."""
_PART = 256
"""Rows that are decoded together: one that is bad has so many looked at one by one."""
_MARK = b"\xef\xbb\xbf"
_SHOWN = 5
"""Faults of a row that its reason tells."""

Row = dict[str, Any]


@dataclass
class BatchRows:
    """The rows of a batch.

    Attributes:
        places: The message of each.
        rows: Every column of the contract by name, None where a value is missing.
        bad: Place and reason of messages that are none.
        ignored: Place of messages that are no events, and what they are.
    """

    places: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    ignored: list[tuple[int, str]] = field(default_factory=list)


class RowEvents:
    """Decodes messages.

    Args:
        system: Whose rows they are.
        opener: Opens the messages that rows come in.
    """

    def __init__(self, system: System, opener: Opener) -> None:
        self._opener = opener
        self._one = RowDecoder(system.contract, optional=(system.target,))
        self._many = ManyDecoder(system.contract, system.target)

    def __call__(self, values: Sequence[bytes | None], headers: Sequence[Headers | None]) -> BatchRows:
        """The rows of messages, in their order, and what is wrong with those that are none."""
        batch_rows = BatchRows()
        for begin in range(0, len(values), _PART):
            part = values[begin : begin + _PART]
            if not (self._opener.plain and self._together(begin, part, batch_rows)):
                for place, value in enumerate(part, begin):
                    self._alone(place, value, headers[place] if headers else None, batch_rows)
        return batch_rows

    def _together(self, begin: int, values: Sequence[bytes | None], batch_rows: BatchRows) -> bool:
        """Decode rows at once, if all of them plainly are good."""
        good = [value for value in values if value is not None and len(value) <= LARGEST]
        batch_check = self._many.alone(good) if len(good) == len(values) else None
        if batch_check is None:
            return False
        names = tuple(batch_check.columns)
        batch_rows.rows += [
            dict(zip(names, row, strict=True)) for row in zip(*batch_check.columns.values(), strict=True)
        ]
        batch_rows.places += range(begin, begin + len(values))
        return True

    def _alone(self, place: int, value: bytes | None, headers: Headers | None, batch_rows: BatchRows) -> None:
        try:
            data = self._opener(value, headers or ()) if not self._opener.plain else _data(value)
        except Ignored as ignored:
            batch_rows.ignored.append((place, str(ignored)))
            return
        except Unreadable as bad:
            batch_rows.bad.append((place, str(bad)))
            return
        row, faults = self._one(data)
        if faults:
            batch_rows.bad.append((place, _told(faults)))
        else:
            batch_rows.places.append(place)
            batch_rows.rows.append(row)


def _data(value: bytes | None) -> Any:
    """What a message holds.

    Raises:
        Unreadable: No JSON object, or one in which a name is there twice.
    """
    if value is None:
        raise Unreadable("the message has no value")
    if len(value) > LARGEST:
        raise Unreadable(f"is {len(value):,} bytes long, at most {LARGEST:,} are read")
    text = value.removeprefix(_MARK)
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error
    if type(data) is not dict:
        raise Unreadable("is not a JSON object")
    try:
        twice = json.loads(text, object_pairs_hook=_twice, parse_int=len)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    if isinstance(twice, str):
        raise Unreadable(f"{twice[:40]!r} is there twice")  # which of the two was meant is not ours to guess
    return data


def _twice(pairs: list[tuple[str, Any]]) -> str | None:
    """The name that an object has twice."""
    names_seen: set[str] = set()
    for name, _ in pairs:
        if name in names_seen:
            return name
        names_seen.add(name)
    return None


def _told(faults: Sequence[Mapping[str, Any]]) -> str:
    texts = [": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in faults[:_SHOWN]]
    return "; ".join(texts) + (f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else "")
