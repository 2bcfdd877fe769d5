"""A rule of thumb: what was usual in the smallest group of alike rows that is large enough."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from headrace.errors import ArtefactError, DeclarationError
from headrace.features.group import TargetMean
from headrace.features.ngrams import JoinedText
from headrace.features.text import TextColumn
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner, Training
from headrace.models.encoding import CATEGORY, Array, Encoded, Encoder

Key = tuple[str | float | None, ...]


@dataclass(frozen=True)
class FittedRules(Fitted):
    """Fitted `Rules`.

    Attributes:
        names: The features that groups are of.
        parts: Of every step back the places among `names` that its groups are of, the narrowest first.
        medians: Of every step back the median of each group that is large enough.
        overall: That of all rows.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[int, ...], ...]
    medians: tuple[Mapping[Key, float], ...]
    overall: float

    @classmethod
    def fit(cls, rules: Rules, training: Training) -> FittedRules:
        """The medians of the target, on the scale that is learnt."""
        names = (*rules.levels, *rules.by)
        levels, by = range(len(rules.levels)), tuple(range(len(rules.levels), len(names)))
        parts = []
        for depth in range(len(levels), -1, -1):
            parts += [(*levels[:depth], *by), tuple(levels[:depth])]
        parts = list(dict.fromkeys(part for part in parts if part))
        keys = _keys(training.rows, names)
        medians = [_medians([_some(key, part) for key in keys], training.target, rules.least) for part in parts]
        return cls(names, tuple(parts), tuple(medians), float(np.median(training.target)))

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        return np.array([self._score(key) for key in _keys(rows, self.names)], dtype=np.float64)

    def score(self, encoded: list[float], features: Sequence[Any], encoder: Encoder) -> float:
        """See `Fitted`."""
        return self._score(tuple(_value(encoder, place, encoded, features) for place in _places(encoder, self.names)))

    def _score(self, key: Key) -> float:
        for part, medians in self._steps:
            median = medians.get(_some(key, part))
            if median is not None:
                return median
        return self.overall

    @cached_property
    def _steps(self) -> tuple[tuple[tuple[int, ...], Mapping[Key, float]], ...]:
        return tuple(zip(self.parts, self.medians, strict=True))

    def save(self, path: Path) -> None:
        """Write it to one file."""
        groups = [[[*key, median] for key, median in step.items()] for step in self.medians]
        data = {"names": self.names, "parts": self.parts, "groups": groups, "overall": self.overall}
        path.write_text(json.dumps(data) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> FittedRules:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            medians = tuple({tuple(key): float(median) for *key, median in step} for step in data["groups"])
            parts = tuple(map(tuple, data["parts"]))
            return cls(tuple(data["names"]), parts, medians, float(data["overall"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(path), hint="train again") from error


class Rules(Learner):
    """The median of alike rows: those with the same values of all `levels` and of `by`; of all levels; of all levels
    but the last and of `by`; and so on, up to that of all rows. The first group of at least so many rows counts.

    A rule that anybody could follow, as a baseline that a model must beat: ``Regressor(baselines=(Rules(...),))``. It
    may be a member, too. A missing value is a value like others.

    Attributes:
        levels: Features from the broadest category to the narrowest.
        by: Features that part each of these further.
        least: How many rows of the training a group has at least.

    >>> Rules(levels=("department", "kind"), by=("condition",)).least
    5
    """

    fitted: ClassVar[type[Fitted]] = FittedRules
    outputs: ClassVar[tuple[str, ...]] = ("regression",)
    reads_text: ClassVar[bool] = True
    reads_ngrams: ClassVar[bool] = True
    kind: Literal["rules"] = "rules"
    levels: tuple[str, ...] = Field(min_length=1)
    by: tuple[str, ...] = ()
    least: int = Field(default=5, ge=1)

    def check(self, output: str, features: Features) -> None:
        """Refuse what is no feature, and features that have no values to group by."""
        super().check(output, features)
        for name in (*self.levels, *self.by):
            if name not in features:
                hint = f"one of {', '.join(features)}"
                raise DeclarationError(f"{name!r} is no feature", where="levels", hint=hint)
            if isinstance(features[name], TargetMean | TextColumn | JoinedText):
                message = f"rows are not grouped by {name!r}: it is a mean, or free text"
                raise DeclarationError(message, where="levels", hint="name a feature that is a category")

    def fit(self, training: Training) -> FittedRules:
        """See `Learner`."""
        return FittedRules.fit(self, training)


def _keys(rows: Encoded, names: Sequence[str]) -> list[Key]:
    """The values of features of every row."""
    columns = [rows.plain(place) for place in _places(rows.encoder, names)]
    return list(zip(*columns, strict=True))


def _places(encoder: Encoder, names: Sequence[str]) -> list[int]:
    return [encoder.names.index(name) for name in names]


def _value(encoder: Encoder, place: int, encoded: list[float], features: Sequence[Any]) -> str | float | None:
    if encoder.roles[place] == CATEGORY:
        text: str | None = features[place]
        return text
    number = encoded[place]
    return number if number == number else None


def _some(key: Key, part: Sequence[int]) -> Key:
    return tuple([key[place] for place in part])


def _medians(keys: Sequence[Key], target: Array, least: int) -> dict[Key, float]:
    groups: dict[Key, list[float]] = {}
    for key, value in zip(keys, target.tolist(), strict=True):
        groups.setdefault(key, []).append(value)
    return {key: float(np.median(values)) for key, values in groups.items() if len(values) >= least}
