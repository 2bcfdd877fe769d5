"""How good predictions of classes are by their own probabilities, and by the truth as far as it is known.

A prediction counts in the windows after it was made. One whose truth was known before does not: it may have been
learnt, and then the model is too sure of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArtefactError, HeadraceError, StoreError, UsageError
from headrace.estimation.calibration import Array, one_hot
from headrace.estimation.confidence import Answers, expected, metrics_of
from headrace.estimation.reference import HeldOutReference
from headrace.home import PREDICTIONS, Home
from headrace.lineage import ANSWERED, ROLE
from headrace.system import System
from headrace.tasks.rows.outputs.base import Output
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.watched import EPOCH, EstimateRequest

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion

REFERENCE = "estimation.json"
"""Among a version's files: what estimates need of it."""
MOST = 20_000
"""Held-out rows that are looked at: evenly taken where there are more."""
_ENDLESS = 2**62


def save_reference(folder: Path, output: Output, actual: Array, numbers: Array) -> None:
    """Keep what estimates need of a version; nothing where its answers say no probabilities of classes.

    Args:
        folder: Of the model's files.
        output: What it predicts.
        actual: The class of held-out rows, by its place.
        numbers: The output's numbers of these rows, from fits that did not see them.
    """
    import polars as pl

    if not output.says_probabilities or len(output.classes) < 2:
        return
    stride = max(-(-actual.size // MOST), 1)
    frame = output.frame(output.answers(numbers[::stride]), pl.Series(output.classes).dtype)
    stated = output.stated(frame, output.classes)
    predicted = _places(frame[output.target], output.classes)
    reference = HeldOutReference.of(output.classes, actual[::stride].astype(np.intp), Answers(stated, predicted))
    (folder / REFERENCE).write_text(json.dumps(reference.as_dict()) + "\n", encoding="utf-8")


def read_reference(folder: Path) -> HeldOutReference | None:
    """What `save_reference` kept; None in a version of before it was, or that predicts no classes.

    Raises:
        ArtefactError: The file is damaged.
    """
    path = folder / REFERENCE
    if not path.exists():
        return None
    try:
        return HeldOutReference.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, LookupError, OSError) as error:
        hint = "train it anew"
        raise ArtefactError("what was held out cannot be read", where=str(path), hint=hint) from error


def estimates(system: System, home: Home, request: EstimateRequest) -> pl.DataFrame:
    """Estimated and realised metrics of every window; see `headrace.tasks.watched.WatchedErrors`.

    Raises:
        UsageError: A metric is asked for that these predictions do not have.
    """
    import polars as pl

    output = output_of(system, home)
    stated = len(output.classes) > 1 and output.says_probabilities
    names = metrics_of(len(output.classes)) if stated else ()
    if unknown := [name for name in request.metrics or () if name not in names]:
        hint = f"there are {', '.join(names)}" if names else "estimates are of classes with probabilities"
        message = f"{system.name} has no estimate of {unknown[0]!r}"
        raise UsageError(message, where="monitoring.rules", hint=hint)
    wanted = (output.measure,) if request.metrics is None else request.metrics or names
    rows = list(_Estimates(system, home, output, request).rows(wanted)) if stated else []
    whole: dict[str, Any] = dict.fromkeys(("n", "matured"), pl.Int64())
    numbers = ("estimated", "realised", "held_out", "deviation", "realised_deviation")
    types = {"time": pl.Datetime("us", "UTC"), "metric": pl.String(), **whole, **dict.fromkeys(numbers, pl.Float64())}
    return pl.DataFrame(rows, schema=types | {"reason": pl.String()})


@dataclass(frozen=True)
class _MadePredictions:
    """Predictions of the same classes, in order of when they were made.

    Attributes:
        time: In microseconds since 1970.
        answers, chances: See `expected`.
        place, truth, begin, end: Pairs of a prediction (its place) and its truth (the class's place, -1: another one),
            from when on it is known until it is said anew; in order of the place.
    """

    time: NDArray[np.int64]
    answers: Answers
    chances: Array
    place: NDArray[np.int64]
    truth: NDArray[np.intp]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def between(self, begin: int, end: int, metrics: Sequence[str]) -> tuple[int, dict[str, float]]:
        """How many were made from one time on and before another, and their expected metrics."""
        first, last = np.searchsorted(self.time, (begin, end), side="left")
        rows = slice(int(first), int(last))
        answers = Answers(self.answers.stated[rows], self.answers.predicted[rows])
        return int(last - first), expected(answers, self.chances[rows], metrics)

    def realised(self, begin: int, end: int, metrics: Sequence[str]) -> tuple[int, dict[str, float]]:
        """The same of those whose truth is known at the end, and their metrics."""
        first, last = np.searchsorted(self.time, (begin, end), side="left")
        inside = (self.place >= first) & (self.place < last) & (self.begin <= end) & (end < self.end)
        rows = self.place[inside]
        answers = Answers(self.answers.stated[rows], self.answers.predicted[rows])
        happened = one_hot(self.truth[inside], self.chances.shape[1])
        return rows.size, expected(answers, happened, metrics)


class _Estimates:
    """The estimates of windows, each prediction by what was held out of the version that made it."""

    def __init__(self, system: System, home: Home, output: Output, request: EstimateRequest) -> None:
        self._system, self._home, self._output, self._request = system, home, output, request
        self._references: dict[int, HeldOutReference | str] = {}
        self._made: dict[tuple[Any, ...], _MadePredictions] = {}

    def rows(self, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
        """A row for each time and metric, or of a time why there is none."""
        request = self._request
        for time, since, version in zip(request.times, request.since, request.versions, strict=True):
            reference = self._reference(version)
            if isinstance(reference, str):
                yield {"time": time, "reason": reference}
                continue
            predictions = self._of(reference.values)
            if predictions is None:
                continue
            names = [name for name in metrics if name in reference.held_out]
            begin, end = _micros(max(time - request.window, since)), _micros(time)
            (n, estimated), (matured, realised) = (
                f(begin, end, names) for f in (predictions.between, predictions.realised)
            )
            for name in names:
                yield {
                    "time": time,
                    "metric": name,
                    "n": n,
                    "matured": matured,
                    "estimated": _number(estimated[name]),
                    "realised": _number(realised[name]),
                    "held_out": reference.held_out[name],
                    "deviation": reference.deviation(name, n),
                    "realised_deviation": reference.deviation(name, matured),
                }

    def _reference(self, version: int) -> HeldOutReference | str:
        """What estimates need of a version, or why it is not there."""
        if version not in self._references:
            self._references[version] = self._fetched(version)
        return self._references[version]

    def _fetched(self, version: int) -> HeldOutReference | str:
        try:
            folder = None if version not in self._versions else self._home.registry.fetch(self._versions[version])
            reference = None if folder is None else read_reference(folder)
        except StoreError:
            raise
        except HeadraceError as error:
            return f"what version {version} held out cannot be looked at: {error.message}"
        return reference or f"version {version} kept nothing of what it held out: train it anew"

    @cached_property
    def _versions(self) -> Mapping[int, ModelVersion]:
        return dict(self._home.registry.timeline(self._system.name).registered)

    def _of(self, values: tuple[Any, ...]) -> _MadePredictions | None:
        """The predictions of versions that tell these classes apart; None: there are none."""
        import polars as pl

        if self._predictions is None:
            return None
        if values not in self._made:
            known = {v: self._reference(v) for v in self._predictions["model_version"].unique().to_list()}
            fitting = {v: one for v, one in known.items() if isinstance(one, HeldOutReference) and one.values == values}
            rows = self._predictions.filter(pl.col("model_version").is_in(list(fitting)))
            self._made[values] = self._arrays(rows, fitting, values)
        return self._made[values]

    def _arrays(
        self, rows: pl.DataFrame, references: Mapping[int, HeldOutReference], values: tuple[Any, ...]
    ) -> _MadePredictions:
        import polars as pl

        target = self._system.target
        stated = self._output.stated(rows, values)
        chances, versions = np.empty_like(stated), rows["model_version"].to_numpy()
        for version, reference in references.items():
            chances[versions == version] = reference.chances(stated[versions == version])
        answers = Answers(stated, _places(rows[target], values))
        pairs = rows.with_row_index("place").select("id", "place").join(self._truth, on="id", how="inner")
        pairs = pairs.sort("place", "known_at", "_version")
        end = pl.col("known_at").shift(-1).over("place").dt.epoch("us").fill_null(_ENDLESS)
        pairs = pairs.with_columns(end.alias("end"), pl.col("known_at").dt.epoch("us").alias("begin"))
        truth = _places(pairs["truth"], values)
        columns = (pairs[name].cast(pl.Int64).to_numpy() for name in ("begin", "end"))
        time = rows["as_of"].dt.epoch("us").to_numpy()
        return _MadePredictions(time, answers, chances, pairs["place"].cast(pl.Int64).to_numpy(), truth, *columns)

    @cached_property
    def _read(self) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """Predictions in the order in which they were made, and what was said of the truth of each, when.

        As in scores, a prediction whose truth was known before does not count.
        """
        import polars as pl

        system, home, request = self._system, self._home, self._request
        table, raw, keys, target = (
            home.table(system.name, PREDICTIONS),
            home.raw(system),
            list(system.keys),
            system.target,
        )
        if not table.exists():
            return None
        last = request.times[-1]
        role = [ROLE] if ROLE in table.schema() else []
        columns = ["id", *keys, target, *self._output.beside, "model_version", "as_of", *role]
        begins = pl.lit(request.times[0] - request.window, pl.Datetime("us", "UTC"))
        where = pl.col("as_of") >= begins
        rows = table.read(identity=["id"], columns=columns, as_of=last, where=where, order=["as_of", "id"])
        rows = rows.filter(pl.col(target).is_not_null())
        if role:
            rows = rows.filter(pl.col(ROLE).fill_null(ANSWERED) == ANSWERED)
        kind = rows.schema[target]
        facts = {"id": pl.String(), "truth": kind, "known_at": pl.Datetime("us", "UTC"), "_version": pl.Int64()}
        if not raw.exists():
            return rows, pl.DataFrame(schema=facts)
        lazy = raw.scan(as_of=last).filter(pl.col(target).is_not_null())
        known = raw.collect(lazy.select(*keys, pl.col(target).alias("truth"), "known_at", "_version"))
        truth = rows.select("id", "as_of", *keys).join(known, on=keys, nulls_equal=True)
        before = truth.filter(pl.col("known_at") <= pl.col("as_of")).select("id").unique()
        return rows.join(before, on="id", how="anti", maintain_order="left"), truth.select(*facts)

    @property
    def _predictions(self) -> pl.DataFrame | None:
        return None if self._read is None else self._read[0]

    @property
    def _truth(self) -> pl.DataFrame:
        assert self._read is not None
        return self._read[1]


def _places(values: pl.Series, classes: Sequence[Any]) -> NDArray[np.intp]:
    """The place of each value among the classes; -1 where it is none of them."""
    import polars as pl

    places = {value: place for place, value in enumerate(classes)}
    numbers = values.replace_strict(places, default=-1, return_dtype=pl.Int64)
    return numbers.fill_null(-1).to_numpy().astype(np.intp)


def _micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def _number(value: float) -> float | None:
    return value if value == value else None
