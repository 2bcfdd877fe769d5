"""The features of more training rows than memory should hold: in files, read part by part as often as it takes.

N-grams are counted once, when the files are written. A part is in memory at a time, and of all rows what a learner that
does not read parts is fitted on: a sample.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.features.ngrams import JoinedText, Ngrams
from headrace.features.text import TextColumn
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner, Training
from headrace.models.encoding import Array, Encoded, Encoder, EncoderFit
from headrace.models.ngrams import Counts, NgramWeights
from headrace.models.parts import TrainingParts
from headrace.models.reading import fitted as fitted_once
from headrace.models.reading import fitted_in_parts
from headrace.tasks.rows.table import Asked, FittedTable, Indices, RowTable

if TYPE_CHECKING:
    import polars as pl

Mask = NDArray[np.bool_]
PART = 16_384
"""Rows of a part at most: a few million n-grams, and some times their bytes while they become a design."""
_KINDS = {"begins": np.int64, "columns": np.int32, "counts": np.uint32}


class SpoolWriter:
    """Writes the files of a `Spool`, part by part.

    Args:
        features: The definitions.
        folder: An empty folder.
    """

    def __init__(self, features: Features, folder: Path) -> None:
        self._features, self._folder, self._sizes = features, folder, list[int]()

    def add(self, frame: pl.DataFrame) -> None:
        """Further rows: their features, one column each."""
        for part in frame.iter_slices(PART):
            self._write(part)

    def _write(self, frame: pl.DataFrame) -> None:
        number = len(self._sizes)
        for place, name in enumerate(frame.columns):
            expression = self._features[name]
            counts = NgramWeights.counted(expression, frame[name]) if isinstance(expression, Ngrams) else None
            if counts is not None:
                for part, array in zip(counts._fields, counts, strict=True):
                    array.astype(_KINDS[part]).tofile(self._folder / f"{number}.{place}.{part}")
        frame.write_ipc(self._folder / f"{number}.arrow")
        self._sizes.append(frame.height)

    def spool(self, sampled: Mask) -> Spool:
        """What was written.

        Args:
            sampled: Of all rows, which learners are fitted on that do not read parts.
        """
        return Spool(self._features, self._folder, tuple(self._sizes), sampled)


@dataclass(frozen=True)
class _Picked:
    """Some rows of a part: its number, which of its rows, and where these are among all that were picked."""

    number: int
    inside: Mask
    places: slice


@dataclass(frozen=True)
class Spool(RowTable):
    """A table in files.

    Attributes:
        features: The definitions.
        folder: Where the files are.
        sizes: Rows of every part.
        sampled: Of all rows, which learners are fitted on that do not read parts.
        names: Of the columns; those of the definitions.
    """

    features: Features
    folder: Path
    sizes: tuple[int, ...]
    sampled: Mask
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.features))

    def select(self, names: Sequence[str]) -> pl.DataFrame:
        """See `RowTable`."""
        import polars as pl

        return pl.concat([self._frame(number, names) for number in range(len(self.sizes))])

    def fitted(self, learners: Sequence[Learner], asked: Asked, rows: Indices, seed: int) -> FittedTable:
        """See `RowTable`. Learners that do not read parts are fitted on the rows that are in the sample."""
        parts, target = self._parts(rows), asked.target[rows]
        encoder = self._encoder(parts, target)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            floats = self._floats(encoder, parts, target, Path(folder) / "floats")
            every = Encoded(encoder, floats, ())
            read = TrainingParts(
                every,
                encoder,
                target,
                asked.output,
                asked.classes,
                seed,
                Path(folder),
                lambda: self._encoded(parts, encoder, floats),
            )
            sample = self._sample(learners, read, rows)
            fitted: list[Fitted] = [
                fitted_in_parts(learner, read)
                if sample is None or learner.reads_parts(asked.output)
                else fitted_once(learner, sample)
                for learner in learners
            ]
        return FittedTable(encoder, tuple(fitted))

    def scores(self, learnt: FittedTable, rows: Indices) -> list[Array]:
        """See `RowTable`."""
        encoder, by_learner = learnt.encoder, [list[Array]() for _ in learnt.learners]
        for part in self._parts(rows):
            frame = self._frame(part.number, self.names).filter(part.inside)
            encoded = Encoded(encoder, encoder.matrix(frame), frame, counted=self._counted(part))
            for scores, learner in zip(by_learner, learnt.learners, strict=True):
                scores.append(learner.scores(encoded))
        return [np.concatenate(scores) for scores in by_learner]

    def _parts(self, rows: Indices) -> list[_Picked]:
        """The parts that have some of the rows."""
        picked, begin, end = np.zeros(sum(self.sizes), dtype=bool), 0, 0
        picked[rows] = True
        parts = []
        for number, (first, size) in enumerate(zip(accumulate(self.sizes, initial=0), self.sizes, strict=False)):
            inside = picked[first : first + size]
            begin, end = end, end + int(inside.sum())
            if end > begin:
                parts.append(_Picked(number, inside, slice(begin, end)))
        return parts

    def _encoder(self, parts: Sequence[_Picked], target: Array) -> Encoder:
        fit, read = EncoderFit(self.features), self._without(self._spelt)
        for part in parts:
            # The first has all columns, by which features are known.
            frame = self._frame(part.number, self.names if part is parts[0] else read).filter(part.inside)
            counted = self._counted(part)
            counts = {name: counted(place) for place, name in enumerate(self.names) if name in self._spelt}
            fit.add(frame, target[part.places], {name: count for name, count in counts.items() if count is not None})
        return fit.encoder(target)

    def _floats(self, encoder: Encoder, parts: Sequence[_Picked], target: Array, path: Path) -> Array:
        """The floats of rows in a file: a column can be read without the others."""
        import polars as pl

        texts = [name for name in self.names if isinstance(self.features[name], JoinedText | TextColumn)]
        shape = (target.size, len(self.names))
        floats = np.memmap(path, dtype=np.float64, mode="w+", shape=shape, order="F")
        for part in parts:
            frame = self._frame(part.number, self._without(texts)).filter(part.inside)
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in texts)
            floats[part.places] = encoder.training_matrix(frame, part.places.start)
        floats.flush()
        return np.memmap(path, dtype=np.float64, mode="r", shape=shape, order="F")

    def _encoded(self, parts: Sequence[_Picked], encoder: Encoder, floats: Array) -> Iterator[Encoded]:
        """Rows with their floats and n-grams; those of a vocabulary, and embeddings, are told by their texts."""
        grams = [name for name in self.names if isinstance(self.features[name], JoinedText) and name not in self._spelt]
        for part in parts:
            texts = self._frame(part.number, grams).filter(part.inside) if grams else ()
            matrix = np.ascontiguousarray(floats[part.places])
            yield Encoded(encoder, matrix, texts, counted=self._counted(part))

    def _sample(self, learners: Sequence[Learner], read: TrainingParts, rows: Indices) -> Training | None:
        """What learners are fitted on that do not read parts; None where all of them do."""
        import polars as pl

        if all(learner.reads_parts(read.output) for learner in learners):
            return None
        inside = self.sampled[rows]
        frames = [
            self._frame(part.number, self.names).filter(part.inside).filter(inside[part.places])
            for part in self._parts(rows)
        ]
        encoded = Encoded(read.encoder, np.ascontiguousarray(read.rows.matrix[inside]), pl.concat(frames))
        return Training(encoded, read.encoder, read.target[inside], read.output, read.classes, read.seed)

    @property
    def _spelt(self) -> tuple[str, ...]:
        """The features whose n-grams were counted: their texts need not be read to fit."""
        expressions = ((name, self.features[name]) for name in self.names)
        return tuple(name for name, one in expressions if isinstance(one, Ngrams) and one.vocabulary is None)

    def _without(self, names: Sequence[str]) -> list[str]:
        return [name for name in self.names if name not in names]

    def _frame(self, number: int, names: Sequence[str]) -> pl.DataFrame:
        import polars as pl

        return pl.read_ipc(self.folder / f"{number}.arrow", columns=list(names))

    def _counted(self, part: _Picked) -> Callable[[int], Counts | None]:
        """Gives what was counted of the n-grams at a place, of the rows of a part."""

        def counted(place: int) -> Counts | None:
            stem = f"{part.number}.{place}"
            if self.names[place] not in self._spelt:
                return None
            arrays: list[Any] = [
                np.fromfile(self.folder / f"{stem}.{name}", dtype=kind) for name, kind in _KINDS.items()
            ]
            counts = Counts(*arrays)
            return counts if part.inside.all() else counts.taken(part.inside)

        return counted
