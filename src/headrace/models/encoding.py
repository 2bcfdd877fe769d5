"""What a model of rows sees: features as floats, with all that had to be learnt for it fitted once and kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ExplainError, FeatureError
from headrace.features.embedding import Embedding
from headrace.features.group import Frequency, TargetMean
from headrace.features.ngrams import Ngrams
from headrace.features.text import TextColumn
from headrace.features.view import Features
from headrace.models.arrays import read_arrays, write_arrays
from headrace.models.column_fits import (
    ColumnFit,
    FrequencyFit,
    GroupFit,
    LevelFit,
    NgramsFit,
    NumberFit,
    TextFit,
    finite_ones,
    numbers,
)
from headrace.models.embeddings import TextEmbedding
from headrace.models.frequencies import Frequencies
from headrace.models.groups import GroupMeans
from headrace.models.ngrams import Counts, NgramFit, NgramWeights
from headrace.models.rowcode import function_of
from headrace.models.sparse import SparseRows

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

NUMBER, CATEGORY, GROUP, TEXT = "number", "category", "group", "text"
FREQUENCY, NGRAMS, EMBEDDING = "frequency", "ngrams", "embedding"
TEXTS = (TEXT, NGRAMS, EMBEDDING)
"""Roles of features that are texts, and no number."""
_ROLES = {TargetMean: GROUP, TextColumn: TEXT, Ngrams: NGRAMS, Embedding: EMBEDDING, Frequency: FREQUENCY}
"""Of expressions; of all others the type of their values decides."""
_NAN = float("nan")


@dataclass(frozen=True)
class Encoder:
    """Turns feature values into floats, in a table and in a row alike. NaN is a missing value.

    Numbers and truths stay as they are; an infinite one, such as after a division by zero, is missing. A category
    becomes its place among the `levels` seen at the fit; one that was not seen is missing. The keys of a `TargetMean`
    become its fitted mean, the values of a `Frequency` their count's logarithm. An `Ngrams` has a sparse row, and an
    `Embedding` one without gaps.

    Attributes:
        names: Features in order.
        roles: ``number``, ``category``, ``group``, ``frequency``, ``text``, ``ngrams`` or ``embedding`` per feature;
            the last three have no number, and are NaN in a table.
        levels: The code of every category that was seen, by feature.
        groups: The fitted means, by feature.
        typical: Of every feature what is usual: the median, of a category the most frequent level, of a mean of the
            target that of all rows, of a text no word; None where no row had a value. Nothing at all in a model of
            before it was kept.
        frequencies: The fitted counts, by feature.
        ngrams: The fitted weights of n-grams, by feature.
        embeddings: The embedders of texts, by feature.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    levels: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, GroupMeans]
    typical: tuple[float | str | None, ...] = ()
    frequencies: Mapping[str, Frequencies] = field(default_factory=dict)
    ngrams: Mapping[str, NgramWeights] = field(default_factory=dict)
    embeddings: Mapping[str, TextEmbedding] = field(default_factory=dict)

    @classmethod
    def fit(cls, features: Features, frame: pl.DataFrame, target: Array) -> Encoder:
        """The encoder of these training rows; see `fitted`."""
        return cls.fitted(features, frame, target).encoder

    @classmethod
    def fitted(cls, features: Features, frame: pl.DataFrame, target: Array) -> Encoded:
        """The training rows, as `training` gives them, with the encoder of these rows.

        Args:
            features: The definitions.
            frame: Their values, one column a feature.
            target: Shape (rows,).

        Raises:
            FeatureError: A feature is of a kind that no model can read.
        """
        fit = EncoderFit(features)
        fit.add(frame, target)
        rows = fit.encoder(target).training(frame)
        rows.blocks.update(fit.blocks(rows.encoder))
        return rows

    def typical_rows(self, count: int) -> Encoded:
        """So many rows in which every feature has its typical value.

        Raises:
            ExplainError: They were not kept when the model was trained.
        """
        if not self.typical:
            raise ExplainError("its training kept no typical row", where="model", hint="train again")
        values = zip(self.names, self.typical, strict=True)
        codes = [self._code(name, value) for name, value in values]
        return Encoded(self, np.tile(np.array(codes), (count, 1)), [list(self.typical)] * count)

    def _code(self, name: str, value: float | str | None) -> float:
        if name in self.levels:
            return self.levels[name].get(str(value), _NAN)
        return float(value) if isinstance(value, int | float) else _NAN

    def of_frame(self, frame: pl.DataFrame) -> Encoded:
        """Many rows as learners read them.

        Args:
            frame: One column a feature.
        """
        return Encoded(self, self.matrix(frame), frame)

    def of_rows(self, rows: Sequence[Sequence[Any]]) -> Encoded:
        """`of_frame` of rows of plain values, in the order of the names; one row at least."""
        return Encoded(self, self.matrix_of(zip(*rows, strict=True)), rows)

    def one(self, encoded: Sequence[Any], features: Sequence[Any]) -> Encoded:
        """A table of one row, whose floats are there."""
        if self.sparse:
            encoded = [number if isinstance(number, float) else _NAN for number in encoded]
        return Encoded(self, np.array([encoded]), [features])

    def training(self, frame: pl.DataFrame) -> Encoded:
        """`of_frame` of the very rows of the fit: the means of a row's groups are of the other folds' rows."""
        return Encoded(self, self.training_matrix(frame), frame)

    @cached_property
    def _texts(self) -> frozenset[str]:
        return frozenset(name for name, role in zip(self.names, self.roles, strict=True) if role in TEXTS)

    @cached_property
    def sparse(self) -> tuple[int, ...]:
        """Places of the features that have sparse rows."""
        return tuple(place for place, role in enumerate(self.roles) if role in (NGRAMS, EMBEDDING))

    def sparse_rows(self, place: int) -> NgramWeights | TextEmbedding:
        """What makes the sparse rows of the feature at a place."""
        name = self.names[place]
        return self.ngrams[name] if name in self.ngrams else self.embeddings[name]

    def some(self, names: Sequence[str]) -> Encoder:
        """The same of some features.

        Args:
            names: In the order that they have here.
        """
        places = [self.names.index(name) for name in names]
        tables: list[Mapping[str, Any]] = [self.levels, self.groups, self.frequencies, self.ngrams, self.embeddings]
        levels, groups, *others = ({name: table[name] for name in names if name in table} for table in tables)
        typical = tuple(self.typical[place] for place in places) if self.typical else ()
        return Encoder(tuple(names), tuple(self.roles[place] for place in places), levels, groups, typical, *others)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Places of the features that hold category codes."""
        return tuple(i for i, role in enumerate(self.roles) if role == CATEGORY)

    def width(self, place: int) -> int:
        """How many levels the category at that place has."""
        return len(self.levels[self.names[place]])

    def matrix(self, frame: pl.DataFrame) -> Array:
        """Floats of many rows: shape (rows, features), C-contiguous.

        Args:
            frame: One column a feature.
        """
        return _stacked([self._column(name, frame[name]) for name in self.names])

    def matrix_of(self, columns: Iterable[Sequence[Any]]) -> Array:
        """`matrix` of columns of plain values, in the order of the names."""
        return _stacked([self._floats(name, values) for name, values in zip(self.names, columns, strict=True)])

    def training_matrix(self, frame: pl.DataFrame, first: int = 0) -> Array:
        """`matrix` of rows of the fit: the means of a row's groups are of the other folds' rows.

        Args:
            frame: One column a feature.
            first: The number of the first of these rows among all rows of the fit.
        """
        columns = []
        for name in self.names:
            if name in self.groups:
                columns.append(self.groups[name].held_out(frame[name].to_list(), first))
            elif name in self.frequencies:
                columns.append(self.frequencies[name].left_out(frame[name].to_list()))
            else:
                columns.append(self._column(name, frame[name]))
        return _stacked(columns)

    def _column(self, name: str, values: pl.Series) -> Array:
        if name in self.levels or name in self.groups or name in self.frequencies:
            return self._floats(name, values.to_list())
        if name in self._texts:
            return np.full(len(values), _NAN)
        return numbers(values)

    def _floats(self, name: str, values: Sequence[Any]) -> Array:
        if name in self.groups:
            return self.groups[name].means(values)
        if name in self.frequencies:
            return self.frequencies[name].of_values(values)
        if name in self.levels:
            values = list(map(self.levels[name].get, values))
        if name in self._texts:
            return np.full(len(values), _NAN)
        return finite_ones(np.array(values, dtype=np.float64))  # None becomes NaN

    def row(self, values: Sequence[Any]) -> list[Any]:
        """Floats of one row; in the place of n-grams a `SparseRow`.

        Args:
            values: Features in order, as a `RowFunction` gives them.
        """
        return self._row(values)

    @cached_property
    def _row(self) -> Callable[[Sequence[Any]], list[Any]]:
        """`row` without its loop."""
        names: dict[str, Any] = {"nan": _NAN, "inf": math.inf}
        codes = []
        for place, name in enumerate(self.names):
            value = f"v{place}"
            if name in self.levels:
                names[f"get{place}"] = self.levels[name].get
                codes.append(f"get{place}({value}, nan)")
            elif name in self.groups:
                names[f"mean{place}"] = self.groups[name].mean
                codes.append(f"nan if {value} is None else mean{place}({value})")
            elif name in self.frequencies or place in self.sparse:
                names[f"fitted{place}"] = (
                    self.frequencies[name].of if name in self.frequencies else self.sparse_rows(place).row
                )
                codes.append(f"fitted{place}({value})")
            elif name in self._texts:
                codes.append("nan")
            else:
                codes.append(f"nan if {value} is None else x if -inf < (x := float({value})) < inf else nan")
        return function_of(len(codes), (), f"[{', '.join(codes)}]", names)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {
            "names": self.names,
            "roles": self.roles,
            "levels": {name: dict(table) for name, table in self.levels.items()},
            "groups": {name: group.as_dict() for name, group in self.groups.items()},
            "typical": self.typical,
            "frequencies": {name: dict(fitted.counts) for name, fitted in self.frequencies.items()},
            "embeddings": {name: fitted.as_dict() for name, fitted in self.embeddings.items()},
        }

    def save(self, folder: Path) -> None:
        """Write what `as_dict` leaves out into a folder: a file for the n-grams of each feature."""
        for name, fitted in self.ngrams.items():
            write_arrays(folder / f"ngrams_{self.names.index(name)}", {}, fitted.arrays())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], features: Features, folder: Path) -> Encoder:
        """What `as_dict` described, with the features that it belongs to, and what `save` wrote into a folder.

        Raises:
            ArtefactError: A file of n-grams is missing or damaged, or another embedder is installed.
            NotFoundError, PluginError: An embedder is not installed.
        """
        groups = {}
        for name, group in data["groups"].items():
            expression = features[name]
            if not isinstance(expression, TargetMean):
                raise TypeError(f"{name} has means but is no target_mean")
            groups[name] = GroupMeans.from_dict(expression, group)
        typical = tuple(data.get("typical", ()))  # a model of before it was kept has none
        frequencies = {name: Frequencies(counts) for name, counts in data["frequencies"].items()}
        ngrams = {}
        for place, (name, role) in enumerate(zip(data["names"], data["roles"], strict=True)):
            if role == NGRAMS:
                expression = features[name]
                if not isinstance(expression, Ngrams):
                    raise TypeError(f"{name} has weights of n-grams but is no ngrams")
                ngrams[name] = NgramWeights.from_arrays(expression, read_arrays(folder / f"ngrams_{place}")[1])
        embeddings = {name: TextEmbedding.from_dict(fitted) for name, fitted in data["embeddings"].items()}
        names, roles = tuple(data["names"]), tuple(data["roles"])
        return cls(names, roles, data["levels"], groups, typical, frequencies, ngrams, embeddings)


@dataclass(frozen=True)
class Encoded:
    """Rows of features as learners read them.

    Attributes:
        encoder: What made the numbers.
        matrix: Floats of shape (rows, features), C-contiguous; NaN is a missing value.
        values: The features themselves: a frame, or rows of plain values in the order of the names.
        blocks: The sparse rows that `sparse` has found, by place.
        counted: Gives what was counted of the n-grams at a place before, or None; without it the texts are read.
        whole: The same rows with more features, and the places that these have there; None where there are no more.
    """

    encoder: Encoder
    matrix: Array
    values: pl.DataFrame | Sequence[Sequence[Any]]
    blocks: dict[int, SparseRows] = field(default_factory=dict, repr=False, compare=False)
    counted: Callable[[int], Counts | None] | None = field(default=None, repr=False, compare=False)
    whole: tuple[Encoded, tuple[int, ...]] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def sparse(self, place: int) -> SparseRows:
        """The n-grams, or the embeddings, of the feature at a place."""
        block = self.blocks.get(place)
        if block is None:
            block = self.blocks[place] = self._sparse(place)
        return block

    def _sparse(self, place: int) -> SparseRows:
        if self.whole is not None:  # whoever reads a text first makes its sparse rows for all
            rows, places = self.whole
            return rows.sparse(places[place])
        weights = self.encoder.sparse_rows(place)
        counts = None if self.counted is None else self.counted(place)
        if counts is not None and isinstance(weights, NgramWeights):
            return weights.of_counts(counts)
        texts = self._texts(place)
        return weights.of_texts(texts) if isinstance(texts, list) else weights.of_series(texts)

    def texts(self) -> dict[int, Any]:
        """The texts of the first row, by the place of their feature."""
        places = [place for place, role in enumerate(self.encoder.roles) if role in TEXTS]
        return {place: self._texts(place)[0] for place in places}

    def some(self, encoder: Encoder) -> Encoded:
        """The same rows with some of the features.

        Args:
            encoder: What `Encoder.some` gave.
        """
        places = tuple(map(self.encoder.names.index, encoder.names))
        values = self.values
        if isinstance(values, Sequence):
            values = [[row[place] for place in places] for row in values]
        else:
            values = values.select(name for name in encoder.names if name in values.columns)
        return Encoded(encoder, np.ascontiguousarray(self.matrix[:, places]), values, whole=(self, places))

    def taken(self, places: NDArray[np.intp]) -> Encoded:
        """Some of the rows."""
        values = self.values
        some = [values[place] for place in places] if isinstance(values, Sequence) else values[places]
        return Encoded(self.encoder, self.matrix[places], some)

    def mixed(self, other: Encoded, masks: NDArray[np.bool_]) -> Encoded:
        """Each of these rows with some features of the one at its place in another table, for every mask.

        Args:
            other: As many rows.
            masks: Shape (masks, features); true: the feature is the other row's.

        Returns:
            All rows of the first mask, then those of the next.
        """
        matrix = np.where(masks[:, None], other.matrix, self.matrix).reshape(-1, masks.shape[1])
        texts = [place for place, role in enumerate(self.encoder.roles) if role in (CATEGORY, *TEXTS)]
        rows: list[list[Any]] = [[None] * masks.shape[1] for _ in range(len(matrix))]
        for place in texts:
            pair = list(self._texts(place)), list(other._texts(place))
            mixed_texts = [pair[mask][row] for mask in masks[:, place].tolist() for row in range(len(self))]
            for row, text in zip(rows, mixed_texts, strict=True):
                row[place] = text
        return Encoded(self.encoder, matrix, rows)

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One column a feature: numbers, truths and means of targets as floats, categories and texts as texts.

        Null is a missing value. A category that no training row had is there as it is.
        """
        import polars as pl

        columns = []
        for place, (name, role) in enumerate(zip(self.encoder.names, self.encoder.roles, strict=True)):
            if role in (CATEGORY, *TEXTS):
                columns.append(pl.Series(name, self._texts(place), dtype=pl.String))
            else:
                columns.append(pl.Series(name, self.matrix[:, place]).fill_nan(None))
        return pl.DataFrame(columns)

    def plain(self, place: int) -> list[Any]:
        """The values of the feature at a place: texts of a category, otherwise floats; None where one is missing."""
        if self.encoder.roles[place] == CATEGORY:
            return list(self._texts(place))
        return [value if value == value else None for value in self.matrix[:, place].tolist()]

    def raw(self, place: int) -> list[Any]:
        """The values of the feature at a place as they were computed."""
        return list(self._texts(place))

    def _texts(self, place: int) -> Any:
        if isinstance(self.values, Sequence):
            return [row[place] for row in self.values]
        return self.values[self.encoder.names[place]]


class EncoderFit:
    """An encoder in the making: training rows come part by part, in order. How they are parted changes no bit of it.

    Args:
        features: The definitions.
    """

    def __init__(self, features: Features) -> None:
        self._features, self._fits = features, dict[str, ColumnFit]()
        self._roles: dict[str, str] = {}

    def add(self, frame: pl.DataFrame, target: Array, counts: Mapping[str, Counts] | None = None) -> None:
        """Further rows.

        Args:
            frame: Their values, one column a feature.
            target: Shape (rows,).
            counts: Of features whose n-grams were counted before. These need no column, but have one in the first part.

        Raises:
            FeatureError: A feature is of a kind that no model can read.
        """
        for name in frame.columns if not self._fits else ():
            self._roles[name] = role = _role(name, self._features[name], frame[name])
            self._fits[name] = _fit_of(role, self._features[name])
        for name, fit in self._fits.items():
            if isinstance(fit, NgramsFit) and counts is not None and name in counts:
                fit.fit.add_counts(counts[name])
            else:
                fit.add(frame[name], target)

    def encoder(self, target: Array) -> Encoder:
        """What all rows that came make.

        Args:
            target: Of all of them.
        """
        overall, fits = float(np.mean(target)) if target.size else None, self._fits
        return Encoder(
            tuple(fits),
            tuple(self._roles.values()),
            {name: fit.levels() for name, fit in fits.items() if isinstance(fit, LevelFit)},
            {name: fit.sums.means(float(target.mean())) for name, fit in fits.items() if isinstance(fit, GroupFit)},
            tuple(fit.typical(overall) for fit in fits.values()),
            {name: fit.frequencies() for name, fit in fits.items() if isinstance(fit, FrequencyFit)},
            {name: fit.fit.weights() for name, fit in fits.items() if isinstance(fit, NgramsFit)},
            {name: TextEmbedding.of(model) for name, model in self._embedders.items()},
        )

    @property
    def _embedders(self) -> dict[str, str]:
        expressions = ((name, self._features[name]) for name in self._fits)
        return {name: one.model for name, one in expressions if isinstance(one, Embedding)}

    def blocks(self, encoder: Encoder) -> dict[int, SparseRows]:
        """The sparse rows of the n-grams that were counted here, where all rows came at once: by place."""
        return {
            place: encoder.ngrams[name].of_counts(fit.counts[0])
            for place, (name, fit) in enumerate(self._fits.items())
            if isinstance(fit, NgramsFit) and len(fit.counts) == 1
        }


def _fit_of(role: str, expression: Any) -> ColumnFit:
    if isinstance(expression, TargetMean):
        return GroupFit(expression)
    if isinstance(expression, Ngrams):
        return NgramsFit(NgramFit(expression))
    fits: dict[str, Callable[[], ColumnFit]] = {CATEGORY: LevelFit, FREQUENCY: FrequencyFit}
    if role in (TEXT, EMBEDDING):
        return TextFit()
    return fits.get(role, NumberFit)()


def _role(name: str, expression: Any, values: pl.Series) -> str:
    import polars as pl

    for kind, role in _ROLES.items():
        if isinstance(expression, kind):
            return role
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        return NUMBER
    if values.dtype == pl.String:
        return CATEGORY
    raise FeatureError(f"gives {values.dtype}, which a model cannot read", where=f"features.{name}")


def _stacked(columns: list[Array]) -> Array:
    return np.ascontiguousarray(np.column_stack(columns), dtype=np.float64)
