"""What an answer says beside its number: that a row has what no row of the training had, and what is done instead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.models.encoding import CATEGORY, FREQUENCY, GROUP, NUMBER, Encoded, Encoder

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Note:
    """What is known of one feature that is watched.

    Attributes:
        name: The feature.
        instead: What is done where it says nothing, such as ``priced by category``.
        complete: Whether every row of the training had a value.
        low, high: Least and largest number of the training; None of a category or a text.
    """

    name: str
    instead: str
    complete: bool = True
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Notes:
    """The watched features of a model, in their order.

    Attributes:
        encoder: Which levels and keys the training had.
        notes: One a feature.
    """

    encoder: Encoder
    notes: tuple[Note, ...] = ()

    @classmethod
    def fit(cls, declared: Mapping[str, str], encoder: Encoder, table: pl.DataFrame) -> Notes:
        """What the training knew.

        Args:
            declared: By feature, what is done instead.
            encoder: Of all rows.
            table: Their features, one column a feature; texts need not be there.
        """
        watched = [name for name in encoder.names if name in declared]
        return cls(encoder, tuple(_of(encoder, name, declared[name], table) for name in watched))

    def of_row(self, encoded: Sequence[float], features: Sequence[Any]) -> list[str]:
        """The notes of one row.

        Args:
            encoded: Its features as floats.
            features: The features themselves.
        """
        sentences = (self._sentence(note, place, encoded[place], features[place]) for note, place in self._places)
        return [sentence for sentence in sentences if sentence is not None]

    def of_rows(self, rows: Encoded) -> list[list[str]]:
        """The same of many rows."""
        columns = [
            [
                self._sentence(note, place, number, value)
                for number, value in zip(rows.matrix[:, place].tolist(), rows.raw(place), strict=True)
            ]
            for note, place in self._places
        ]
        return [[sentence for sentence in row if sentence is not None] for row in zip(*columns, strict=True)]

    @cached_property
    def _places(self) -> tuple[tuple[Note, int], ...]:
        return tuple((note, self.encoder.names.index(note.name)) for note in self.notes)

    def _sentence(self, note: Note, place: int, number: float, value: Any) -> str | None:
        role, what = self.encoder.roles[place], None
        if role == CATEGORY:
            lacking, unseen = value is None, value is not None and number != number
        elif role == GROUP:
            known = self.encoder.groups[note.name].known(value)
            lacking, unseen = known is None, known is False
        elif role == FREQUENCY:
            lacking, unseen = (
                value is None,
                value is not None and value not in self.encoder.frequencies[note.name].counts,
            )
        elif role == NUMBER:
            lacking, unseen = number != number, False
            if note.low is not None and note.high is not None and not (lacking or note.low <= number <= note.high):
                what = f"{note.name} of {number:g} lies beyond {note.low:g} to {note.high:g}"
        else:  # a text says nothing where it is empty, even if many are
            return f"no {note.name}: {note.instead}" if value is None or not value.strip() else None
        if unseen:
            what = f"unseen {note.name}"
        elif lacking and note.complete:
            what = f"no {note.name}"
        return None if what is None else f"{what}: {note.instead}"

    def as_list(self) -> list[dict[str, Any]]:
        """JSON-ready; `from_list` reads it back."""
        return [dict(vars(note)) for note in self.notes]

    @classmethod
    def from_list(cls, data: Sequence[Mapping[str, Any]], encoder: Encoder) -> Notes:
        """What `as_list` gave."""
        return cls(encoder, tuple(Note(**note) for note in data))


def _of(encoder: Encoder, name: str, instead: str, table: pl.DataFrame) -> Note:
    place = encoder.names.index(name)
    role = encoder.roles[place]
    if role in (CATEGORY, FREQUENCY):
        return Note(name, instead, not table[name].has_nulls())
    if role == GROUP:
        keys = table[name].unique().to_list()
        return Note(name, instead, all(encoder.groups[name].known(key) is not None for key in keys))
    if role != NUMBER:
        return Note(name, instead)
    numbers = np.array([math.nan if value is None else float(value) for value in table[name].to_list()])
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return Note(name, instead, finite.size == numbers.size, low, high)
