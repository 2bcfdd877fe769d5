"""The predictor of rows: the only caller of a model of rows, the same for every door.

Like `headrace.predictor` it is made from a model's files alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.models.rowmodel import RowModel

if TYPE_CHECKING:
    import polars as pl

PROBABILITY = "probability"
FEATURES = "_features"
"""Among the inputs of a prediction: the features that were computed for it, where they are logged."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class RowPredictor:
    """Answers rows with one fitted model. Safe to use from any number of threads."""

    model: RowModel

    @classmethod
    def load(cls, folder: Path) -> RowPredictor:
        """The predictor of a model's files.

        Raises:
            ArtefactError: A file is missing or damaged.
        """
        return cls(RowModel.load(folder))

    def warm(self) -> None:
        """Compile and load what the first row would otherwise wait for."""
        self.answer(dict.fromkeys(self.model.types))

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction for one decoded row: the class under the target's name, and the second class' probability."""
        found = self.model.probability(row)
        return {self.model.target: self.model.label(found), PROBABILITY: found}

    def answers(self, columns: Mapping[str, Sequence[Any]]) -> tuple[list[Any], list[float]]:
        """The predictions for many decoded rows, in order: classes and probabilities, the very ones `answer` gives."""
        found = self.model.of_columns(columns)
        return list(map(self.model.label, found)), found

    def features(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The features of many decoded rows, in order, as JSON has them: NaN and infinities are None, times texts."""
        names, row = self.model.features.names, self.model.row
        if row.many is not None:
            found: Iterable[tuple[Any, ...]] = row.many(columns)
        else:
            rows = zip(*columns.values(), strict=True)
            found = (row.call(dict(zip(columns, each, strict=True))) for each in rows)
        return [{n: v for n, v in zip(names, map(_plain, each), strict=True) if v is not None} for each in found]

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The predictions for a frame of typed columns: the target and ``probability``, in the order of the rows."""
        import polars as pl

        found = self.model.probabilities(rows)
        labels = pl.Series(self.model.target, [self.model.label(p) for p in found.tolist()])
        return pl.DataFrame([labels, pl.Series(PROBABILITY, found)])


def with_features(inputs: bytes, features: Mapping[str, Any]) -> bytes:
    """The inputs of a prediction, and the features that were computed from them."""
    told = b'"%b":%b}' % (FEATURES.encode(), _encode(features))
    return inputs[:-1] + (b"," if len(inputs) > 2 else b"") + told


def features_of(inputs: str) -> dict[str, Any] | None:
    """The features that `with_features` put to the inputs; None where it was not asked to."""
    found: dict[str, Any] | None = msgspec.json.decode(inputs).get(FEATURES)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def inputs_of(row: Mapping[str, Any], target: str) -> bytes:
    """What a prediction is made from, as JSON: the row without its target, which may be known or not."""
    return _encode({name: value for name, value in row.items() if name != target and value is not None})


def digest_of_row(inputs: bytes) -> str:
    """Digest of a row's inputs: equal rows have equal ones, whatever door they came through."""
    return hashlib.sha256(inputs).hexdigest()[:24]


def decoded(inputs: str, types: Mapping[str, str]) -> dict[str, Any]:
    """The row that `inputs_of` wrote; missing columns are None."""
    data = msgspec.json.decode(inputs)
    times = {name for name, kind in types.items() if kind == "time"}
    return {
        name: datetime.fromisoformat(data[name]) if name in times and data.get(name) else data.get(name)
        for name in types
    }
