"""What an output of rows must say about itself: its columns, loss, calibration, sums, metrics, baselines and report.

Three kinds of numbers meet here. A *score* is what the learners say of a row (the mean over the members). *Numbers* are
what the output makes of scores, calibrated, in the target's own unit. An *answer* is what a door gives: the target and
the columns beside it. Everything that a door, the monitoring or a report does with predictions of rows it does through
an `Output`; none of them knows which one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotFoundError
from headrace.plugins import Group
from headrace.tasks.sections import Section

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Column
    from headrace.models.tabular import Tabular

Array = NDArray[np.float64]
Kind = Literal["float", "object", "texts"]
"""Of a column beside the target: a number, numbers by name, or texts. The latter two are JSON as text in tables."""
LABEL, TRUTH = "label", "truth"
"""Columns of pairs: what was predicted, and what is known of it; null where it is not known or does not count."""
GROUP = ("time", "model_version")
"""By what sums are kept at least: the day of the predictions, and who made them."""
MEMBERS, NOTES = "members", "notes"
"""Columns that any answer may have further: what each member says alone, by name, and what is to be said of the row."""
_KINDS: Mapping[str, Kind] = {MEMBERS: "object", NOTES: "texts"}
_FURTHER: Mapping[str, dict[str, Any]] = {
    MEMBERS: {
        "type": "object",
        "additionalProperties": {"type": "number"},
        "description": "What each member of the model says alone, by its name.",
    },
    NOTES: {
        "type": "array",
        "items": {"type": "string"},
        "description": "What this row has that no row of the training had, and what is done instead.",
    },
}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Output(ABC):
    """One kind of output, of one target. Immutable: `calibrated` gives another one, which knows what was learnt.

    A subclass that has a `kind` is found by it from then on; it is a frozen dataclass whose fields are JSON-ready, or
    whose `as_dict` and `from_dict` make them so. Other packages bring one by the entry point group
    ``headrace.outputs``.

    Attributes:
        target: The column that is predicted.
        further: Columns that its answers have beside those of its kind: `MEMBERS`, `NOTES`.
        kind: Its name.
        beside: Columns of a prediction beside the target.
        shown: Of these, the ones that a table on a terminal has room for.
        number: The column whose value a replay must meet; all others must be the same too.
        measure: The metric that decides which learner, and which version, is better. Less is better.
        better: Metrics of which more is better.
        compared: Metrics by which two versions are compared on what they answered, the one that decides first.
        within: Columns that sums are kept by, beside `GROUP`.
        sums: What is added up, ``expected`` (predictions) and ``n`` (those whose truth is known) first.
        metrics_of_sums: What follows from the sums.
        says_probabilities: Whether its answers say how likely each class is, as `stated` tells.
    """

    target: str
    further: tuple[str, ...] = field(default=(), kw_only=True)
    kind: ClassVar[str]
    beside: ClassVar[Mapping[str, Kind]]
    shown: ClassVar[tuple[str, ...]]
    measure: ClassVar[str]
    better: ClassVar[tuple[str, ...]] = ()
    compared: ClassVar[tuple[str, ...]]
    within: ClassVar[tuple[str, ...]] = ()
    sums: ClassVar[tuple[str, ...]]
    metrics_of_sums: ClassVar[tuple[str, ...]]
    says_probabilities: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            _OUTPUTS[cls.kind] = cls

    # The declaration.

    @classmethod
    @abstractmethod
    def of(cls, model: Tabular, target: Column, values: Sequence[Any]) -> Self:
        """The output of a declaration, before anything is learnt.

        Args:
            model: What is declared to learn it.
            target: The column of the contract.
            values: Those that the target has, of a discrete one: declared, or as far as they are known.
        """

    def as_dict(self) -> dict[str, Any]:
        """Its fields, JSON-ready; `from_dict` reads them back."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave.

        Raises:
            TypeError, ValueError, LookupError: It is not that.
        """
        return cls(**data)

    @property
    def columns_beside(self) -> dict[str, Kind]:
        """All columns of a prediction beside the target: those of its kind, and the further ones."""
        return {**self.beside, **{name: _KINDS[name] for name in self.further}}

    @property
    def number(self) -> str:
        """See above: the first column beside the target, or the target where there is none."""
        return next(iter(self.beside), self.target)

    # Learning.

    @property
    def classes(self) -> tuple[Any, ...]:
        """Of a discrete output the values that it tells apart; a class is known by its place among them."""
        return ()

    @property
    def width(self) -> int:
        """How many numbers a score is; 1 is a plain float."""
        return 1

    @abstractmethod
    def actual(self, values: pl.Series) -> Array:
        """Values of the target as numbers, NaN for what is missing or unknown to the model: shape (rows,)."""

    def learnt(self, actual: Array) -> Array:
        """What learners are fitted on: `actual` on the output's scale."""
        return actual

    @abstractmethod
    def refuse(self, actual: Array) -> None:
        """Refuse targets from which nothing can be learnt.

        Raises:
            ModelError: They cannot be learnt from; a NotEnoughDataError where there are too few.
        """

    def learnable(self, learnt: Array) -> bool:
        """Whether a part of the rows is enough to fit learners on."""
        return learnt.size > 1

    @abstractmethod
    def loss(self, learnt: Array, scores: Array) -> float:
        """By which learners are compared on held-out rows; less is better."""

    @abstractmethod
    def calibrated(self, learnt: Array, scores: Array, model: Tabular) -> Self:
        """The output that knows how far held-out scores can be trusted."""

    @property
    def keyed(self) -> str | None:
        """The feature by whose value it is calibrated; None where it is for all rows alike."""
        return None

    def calibrated_by(self, learnt: Array, scores: Array, keys: Keys | None, model: Tabular) -> Self:
        """`calibrated`, and for every key that has enough rows on its own.

        Args:
            learnt, scores, model: See `calibrated`.
            keys: Of every row what `key_of` makes of the feature `keyed`; None where there is none.
        """
        return self.calibrated(learnt, scores, model)

    def of_key(self, key: str | None) -> Self:
        """The output of rows that have this key: how they are calibrated."""
        return self

    def held_out(self, learnt: Array, scores: Array, keys: Keys | None, model: Tabular) -> Array:
        """Numbers of the held-out rows, for the metrics of a training whose rows have no order in time, or too few for
        each to be calibrated on earlier ones."""
        return self.calibrated_by(learnt, scores, keys, model).numbers_by(scores, keys)

    # Answering.

    @abstractmethod
    def numbers(self, scores: Array) -> Array:
        """The numbers of many rows from their scores: shape (rows,), or (rows, ...) as the kind needs."""

    def numbers_by(self, scores: Array, keys: Keys | None) -> Array:
        """`numbers` of rows that have these keys."""
        numbers = self.numbers(scores)
        if keys is None:
            return numbers
        places: dict[str | None, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        for key, rows in places.items():
            if (own := self.of_key(key)) is not self:
                numbers[rows] = own.numbers(scores[rows])
        return numbers

    def value(self, score: Any) -> Any:
        """The number that an answer would have if this were its score."""
        return self.answer(score)[self.number]

    def bare(self, scores: Array) -> Array:
        """The numbers of scores that nothing was calibrated on, such as a baseline's; they have no interval."""
        return self.numbers(scores)

    @abstractmethod
    def answer(self, score: Any) -> dict[str, Any]:
        """The answer to one row from its score (a float, or a list of floats): the target, then what is `beside`."""

    @abstractmethod
    def columns(self, numbers: Array) -> dict[str, list[Any]]:
        """The answers to many rows from their numbers, column by column: the very values that `answer` gives, each
        list with one a row, in the order of an answer's columns."""

    def answers(self, numbers: Array) -> list[dict[str, Any]]:
        """The same row by row."""
        return by_row(self.columns(numbers))

    @abstractmethod
    def schema(self) -> dict[str, dict[str, Any]]:
        """The JSON Schema of each column `beside` the target, as an answer has it."""

    def schema_beside(self) -> dict[str, dict[str, Any]]:
        """The same of all columns beside the target."""
        return {**self.schema(), **{name: _FURTHER[name] for name in self.further}}

    # Explaining.

    @property
    def asked(self) -> str:
        """What learners are asked for, by which their contributions have a scale; see `headrace.models.contributions`.

        An output of your own that asks its model for something else says so here.
        """
        return "multiclass" if self.width != 1 else "binary" if len(self.classes) == 2 else "regression"

    @property
    def scale_of_parts(self) -> tuple[str, str]:
        """What contributions add up on, in words, and a formula of how their total becomes the prediction."""
        return "score of the model", f"{self.target} follows from total"

    def settled(self, scores: Array, sums: Array, *, several: bool) -> dict[str, Array]:
        """What the output makes of scores, as what it adds to the sum of their contributions, step by step.

        Args:
            scores: Of rows.
            sums: The means of what the members' contributions add up to, shape (rows, width).
            several: Whether there are several members.

        Returns:
            Arrays of shape (rows, width) by name of the step, in order. The sums and all of them are the answer.
        """
        return {}

    def explained(self, answer: Mapping[str, Any], label: Any) -> float:
        """The number of an answer that is explained: of a discrete output, how likely the class `label` is."""
        return float(answer[self.number])

    # How good it was.

    def stated(self, rows: pl.DataFrame, values: Sequence[Any]) -> Array:
        """How likely each class was said to be, from the columns of a table; see `says_probabilities`.

        Args:
            rows: What `frame` makes of answers.
            values: The classes.

        Returns:
            Shape (rows, classes); each row adds up to 1.
        """
        raise NotImplementedError(f"{type(self).__name__} says no probabilities")

    @abstractmethod
    def metrics(self, actual: Array, numbers: Array) -> dict[str, float]:
        """Metrics of numbers beside what was true; NaN where one says nothing."""

    def details(self, actual: Array, numbers: Array) -> dict[str, Any]:
        """What an evaluation tells beside the metrics, JSON-ready, such as figures of each class."""
        return {}

    def summary(self, actual: Array) -> dict[str, float]:
        """What is kept of the targets of a training beside its metrics."""
        return {}

    @abstractmethod
    def constants(self, actual: Array) -> dict[str, tuple[str, Array]]:
        """What needs no model, made from the targets of a training: by short name, how it is called in a sentence, and
        the numbers that it gives to every row."""

    @abstractmethod
    def scores(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Sums of predictions beside their truth, which add up over days and versions.

        Args:
            pairs: `GROUP`, `LABEL` (what was predicted), the columns `beside` it, `TRUTH`, and `known_at` of what is
                said. The order of rows within a group decides the last bit of its sums.

        Returns:
            `GROUP`, `within`, `sums` and `known_at`, ordered by group. A group that once was there is there for ever:
            which ones there are does not depend on what is true.
        """

    @abstractmethod
    def measures(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        """The metrics of every group of sums: `by`, `expected`, `n` and `metrics_of_sums`, ordered by `by`.

        Null where there is nothing to compare. An empty `by` gives one row over everything.
        """

    @abstractmethod
    def baselines(self, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What needs no model, by name, as the metrics that it would have had on rows with these `measures`."""

    @abstractmethod
    def difference(self, pairs: pl.DataFrame, columns: Sequence[Mapping[str, str]]) -> pl.Series:
        """How far two answers lie apart, of every pair: float64, null where one of them is missing.

        Args:
            pairs: The answers of both.
            columns: Of the first and the second, what the columns of an answer (`LABEL`, and `beside`) are called.
        """

    @abstractmethod
    def report(self, totals: pl.DataFrame) -> list[Section]:
        """What a report shows of the sums of a window."""

    # Tables.

    def stored(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """An answer as the columns of a table, from its JSON form; null where it is not there."""
        values = {self.target: answer.get(self.target)}
        for name, kind in self.columns_beside.items():
            value = answer.get(name)
            values[name] = value if kind == "float" else encoded(value)
        return values

    def told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What `stored` made columns of, as an answer has it. A prediction in the log is an answer already."""
        return {self.target: row[self.target], **told_beside(row, self.columns_beside)}

    def types(self) -> dict[str, Any]:
        """Polars types of the columns beside the target."""
        import polars as pl

        return {name: pl.Float64() if kind == "float" else pl.String() for name, kind in self.columns_beside.items()}

    def frame(self, answers: Sequence[Mapping[str, Any]], dtype: Any) -> pl.DataFrame:
        """Answers as the columns of a table.

        Args:
            answers: Of rows, in order.
            dtype: The polars type of the target.
        """
        import polars as pl

        rows = list(map(self.stored, answers))
        types = {self.target: dtype, **self.types()}
        return pl.DataFrame([pl.Series(name, [row[name] for row in rows], dtype=kind) for name, kind in types.items()])


Keys = Sequence[str | None]
"""Of rows, by what they are calibrated."""
_OUTPUTS: dict[str, type[Output]] = {}
"""Those whose module was imported, by kind."""
_GROUP = Group(
    "headrace.outputs",
    {
        "binary": "headrace.tasks.rows.outputs.binary:Binary",
        "multiclass": "headrace.tasks.rows.outputs.multiclass:Multiclass",
        "regression": "headrace.tasks.rows.outputs.regression:Regression",
    },
)


def output_class(kind: str) -> type[Output]:
    """The output of a kind.

    Raises:
        NotFoundError: There is none; says which there are.
        PluginError: An installed package has one that cannot be imported.
    """
    if kind not in _OUTPUTS:
        _GROUP.load(kind)  # its class registers itself
    try:
        return _OUTPUTS[kind]
    except KeyError:
        known = ", ".join(dict.fromkeys([*_GROUP.names(), *_OUTPUTS]))
        raise NotFoundError(f"there is no output {kind!r}: one of {known}") from None


def key_of(value: Any) -> str | None:
    """The value of a feature as a key; None where it is missing.

    >>> key_of("Women"), key_of(3.0), key_of(3), key_of(float("nan"))
    ('Women', '3', '3', None)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return (str(int(value)) if value == int(value) else str(value)) if math.isfinite(value) else None
    return str(value)


def by_row(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns of one length as rows."""
    names = tuple(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def encoded(value: Any) -> str | None:
    """Numbers by name as a column of a table holds them."""
    return None if value is None else _encode(value).decode()


def told_beside(row: Mapping[str, Any], beside: Mapping[str, Kind]) -> dict[str, Any]:
    """The columns beside a target, as an answer has them, from a row of a table or an answer."""
    values = {name: row.get(name) for name in beside}
    texts = [name for name, kind in beside.items() if kind != "float" and isinstance(values[name], str)]
    return values | {name: msgspec.json.decode(str(values[name])) for name in texts}


def summed(pairs: pl.DataFrame, by: Sequence[str], parts: Mapping[str, Array]) -> pl.DataFrame:
    """Parts of pairs added up by group, with the latest `known_at` of each.

    One addition after the other in the order of the rows: equal rows give equal bits, whatever else is in the table.

    Args:
        pairs: Ordered by group.
        by: The columns of a group.
        parts: A value per pair, by name of the sum.
    """
    import polars as pl

    group = pairs.select(pl.struct(by).rle_id()).to_series().to_numpy()
    groups = pairs.group_by(by, maintain_order=True).agg(pl.col("known_at").max())
    totals = {name: np.bincount(group, weights=part, minlength=groups.height) for name, part in parts.items()}
    return groups.with_columns(pl.Series(name, total, dtype=pl.Float64) for name, total in totals.items())


def grouped(frame: pl.DataFrame, by: Sequence[str]) -> pl.dataframe.group_by.GroupBy:
    """Groups in the order of their rows; one group where there is nothing to group by."""
    import polars as pl

    return frame.group_by(by or [pl.lit(0).alias("_")], maintain_order=True)


def share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """One sum by another; null where there is nothing."""
    import polars as pl

    return pl.when(whole > 0).then(part / whole)
