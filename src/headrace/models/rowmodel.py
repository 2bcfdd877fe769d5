"""A fitted classifier of rows: what is saved, loaded and asked, for one row or for many."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from headrace.errors import ArtefactError, other_version
from headrace.features.compiled import RowFunction, compile_row
from headrace.features.expression import Table
from headrace.features.view import Features
from headrace.models.boosting import BoostingScorer
from headrace.models.encoding import Array, Encoder
from headrace.models.estimator import EstimatorScorer
from headrace.models.linear import LinearScorer, logistic, logistics
from headrace.models.onnx import OnnxScorer

if TYPE_CHECKING:
    import polars as pl

KIND = "classifier"
FORMAT = 1
_FILE = "model.json"
_CLIP = 1e-6


class Scorer(Protocol):
    """A fitted member: the probability of the second class, for many encoded rows or one, to the same bits."""

    def scores(self, matrix: Array) -> Array:
        """Of encoded rows: shape (rows,)."""
        ...

    def score(self, row: list[float]) -> float:
        """Of one encoded row."""
        ...

    def save(self, path: Path) -> None:
        """Write it to one file; the same member gives the same bytes."""
        ...


_SCORERS: dict[str, type[LinearScorer] | type[BoostingScorer] | type[EstimatorScorer] | type[OnnxScorer]] = {
    "linear": LinearScorer,
    "boosting": BoostingScorer,
    "estimator": EstimatorScorer,
    "onnx": OnnxScorer,
}


@dataclass(frozen=True)
class Calibration:
    """Platt's scaling: probability = logistic(slope * log odds + shift).

    Platt (1999), fitted on cross-validated probabilities.
    """

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, probability: float) -> float:
        """The calibrated probability."""
        p = min(max(probability, _CLIP), 1 - _CLIP)
        return logistic(self.slope * math.log(p / (1 - p)) + self.shift)

    def of_many(self, probabilities: Array) -> Array:
        """The calibrated probabilities, to the same bits."""
        p = np.clip(probabilities, _CLIP, 1 - _CLIP)
        odds = np.array(list(map(math.log, (p / (1 - p)).tolist())), dtype=np.float64)  # NumPy's logarithm differs
        return logistics(self.slope * odds + self.shift)


@dataclass(frozen=True)
class RowModel:
    """A fitted classifier of two classes. Immutable, self-contained: it answers from a row alone.

    Attributes:
        target: The column that it predicts.
        classes: Both values of the target; the probability is that of the second.
        types: Contract type of every column that the features read.
        time: The column of a row's time, if rows have one.
        features: The features, as declared.
        encoder: Features to floats.
        members: Kinds and fitted members; the probability is the mean of theirs, calibrated.
        calibration: Applied to that mean.
        threshold: From this probability on the second class is predicted.
    """

    target: str
    classes: tuple[Any, Any]
    types: Mapping[str, str]
    time: str | None
    features: Features
    encoder: Encoder
    members: tuple[tuple[str, Scorer], ...]
    calibration: Calibration
    threshold: float

    @cached_property
    def row(self) -> RowFunction:
        """The features as a function of one row."""
        return compile_row(self.features, self.types, time=self.time)

    def probability(self, row: Mapping[str, Any]) -> float:
        """The probability of the second class for one decoded row."""
        return self._of_features(self.row.call(row))

    def _of_features(self, values: Sequence[Any]) -> float:
        encoded = self.encoder.row(values)
        total = 0.0
        for _, member in self.members:
            total += member.score(encoded)
        return self.calibration(total / len(self.members))

    def probabilities(self, rows: pl.DataFrame) -> Array:
        """The probability for every row of a frame of typed columns: the same bits, shape (rows,)."""
        if not rows.height:
            return np.empty(0)
        return self.of_matrix(self.encoder.matrix(self.features.over(rows, Table(time=self.time))))

    def of_matrix(self, matrix: Array) -> Array:
        """The probability for every encoded row."""
        total = np.zeros(matrix.shape[0])
        for _, member in self.members:
            total = total + member.scores(matrix)
        return self.calibration.of_many(total / len(self.members))

    def of_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[float]:
        """The probability for every row of columns of decoded values, by name: as many rows as the columns have."""
        if self.row.many is None:
            import polars as pl

            dtypes = self.schema()
            frame = pl.DataFrame({name: columns[name] for name in dtypes}, schema=dtypes)
            return list(self.probabilities(frame).tolist())
        rows = self.row.many(columns)
        if len(rows) < _FEW and not any(kind in _BLOCKWISE for kind, _ in self.members):
            return [self._of_features(row) for row in rows]
        return list(self.of_matrix(self.encoder.matrix_of(zip(*rows, strict=True))).tolist()) if rows else []

    def schema(self) -> dict[str, Any]:
        """Polars types of the columns that the features read."""
        from headrace.features.compiled import dtype_of

        return {name: dtype_of(kind) for name, kind in self.types.items()}

    def label(self, probability: float) -> Any:
        """The class of a probability."""
        return self.classes[probability >= self.threshold]

    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder: the same model gives the same bytes."""
        manifest = {
            "kind": KIND,
            "format": FORMAT,
            "target": self.target,
            "classes": self.classes,
            "types": dict(self.types),
            "time": self.time,
            "features": self.features.as_list(),
            "encoder": self.encoder.as_dict(),
            "members": [kind for kind, _ in self.members],
            "calibration": [self.calibration.slope, self.calibration.shift],
            "threshold": self.threshold,
        }
        (folder / _FILE).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        for place, (_, member) in enumerate(self.members):
            member.save(folder / f"member_{place}")

    @classmethod
    def load(cls, folder: Path) -> RowModel:
        """Read a model that `save` wrote.

        Raises:
            ArtefactError: A file is missing, damaged, or of a newer format.
        """
        try:
            data = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            if data["kind"] != KIND or data["format"] > FORMAT:
                what = f"is a {data['kind']} of format {data['format']}"
                raise ArtefactError(what, where=str(folder), hint="upgrade headrace")
            members = tuple(
                (kind, _SCORERS[kind].load(folder / f"member_{place}")) for place, kind in enumerate(data["members"])
            )
            features = Features.from_list(data["features"])
            slope, shift = map(float, data["calibration"])
            first, second = data["classes"]
            return cls(
                target=data["target"],
                classes=(first, second),
                types=data["types"],
                time=data["time"],
                features=features,
                encoder=Encoder.from_dict(data["encoder"], features),
                members=members,
                calibration=Calibration(slope, shift),
                threshold=data["threshold"],
            )
        except KeyError as error:
            raise other_version(folder, error) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error


_BLOCKWISE = frozenset({"estimator", "onnx"})
"""Members that take a matrix for a single row too."""
_FEW = 20
"""Fewer rows than this are quicker one by one than as a matrix, unless a member takes a matrix for each."""


def kind_of(folder: Path) -> str:
    """What kind of model a folder holds.

    Raises:
        ArtefactError: It holds none.
    """
    try:
        return str(json.loads((folder / _FILE).read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error
