"""A fitted model of rows: what is saved, loaded and asked, for one row or for many."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArtefactError, ModelError, other_version
from headrace.features.compiled import RowFunction, compile_row
from headrace.features.expression import CompileTarget
from headrace.features.view import Features
from headrace.models.base import LEARNER_KINDS, Fitted
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.reading import names_read, reading_some
from headrace.tasks.rows.blend import Blend
from headrace.tasks.rows.notes import Notes
from headrace.tasks.rows.outputs.base import MEMBERS, NOTES, Output, by_row, key_of, output_class

if TYPE_CHECKING:
    import polars as pl

KIND = "rows"
FORMAT = 1
_FILE = "model.json"
_FEW, _FEW_OF_WORDS = 20, 8
"""Fewer rows than this are quicker one by one than as a matrix, unless a member takes a matrix for each; and fewer than
this where there are n-grams, which cost a row alone more."""


@dataclass(frozen=True)
class RowModel:
    """A fitted model of rows. Immutable, self-contained: it answers from a row alone.

    Attributes:
        output: What it predicts, and how scores become answers.
        types: Contract type of every column that the features read.
        time: The column of a row's time, if rows have one.
        features: The features, as declared.
        encoder: Features to floats.
        members: Kinds and fitted learners.
        names: What each member is called, such as ``0_linear``.
        blend: How their scores become one.
        baselines: Kinds and fitted learners that the training had beside the model, by name.
        notes: What is watched of the features, where answers have notes.
        constants: What needs no model, as the training had it: by name, the numbers that every row gets.
    """

    output: Output
    types: Mapping[str, str]
    time: str | None
    features: Features
    encoder: Encoder
    members: tuple[tuple[str, Fitted], ...]
    names: tuple[str, ...]
    blend: Blend
    baselines: Mapping[str, tuple[str, Fitted]]
    notes: Notes
    constants: Mapping[str, Sequence[float]]

    @property
    def target(self) -> str:
        """The column that it predicts."""
        return self.output.target

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the members, in order: none is below 0, and each counts."""
        return self.blend.weights

    @cached_property
    def _weighted(self) -> tuple[tuple[float, Fitted], ...]:
        return tuple((weight, member) for weight, (_, member) in zip(self.weights, self.members, strict=True))

    @cached_property
    def row(self) -> RowFunction:
        """The features as a function of one row."""
        return compile_row(self.features, self.types, time=self.time)

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one decoded row."""
        return self._answer(self.row.call(row))

    def warm(self) -> None:
        """Compile the features, and ask for a usual row: a model of yours may not read one in which all is missing."""
        empty, encoder = self.row.call(dict.fromkeys(self.types)), self.encoder
        usual = zip(encoder.names, encoder.typical, strict=True) if encoder.typical else ()
        # What is typical of a mean of the target is that mean: no key of a group.
        values = [None if name in encoder.groups else value for name, value in usual]
        self._answer(values or empty)

    @property
    def _none(self) -> Array:
        """The scores of no rows."""
        return np.empty(0 if self.output.width == 1 else (0, self.output.width))

    @cached_property
    def _answer(self) -> Callable[[Sequence[Any]], dict[str, Any]]:
        """The answer to one row from its features."""
        if self._key is not None or self.output.further:
            return self._full
        answer, score = self.output.answer, self._score
        return lambda values: answer(score(values))

    @cached_property
    def _key(self) -> int | None:
        """The place of the feature by which the output is calibrated."""
        keyed = self.output.keyed
        return None if keyed is None else self.encoder.names.index(keyed)

    def _full(self, values: Sequence[Any]) -> dict[str, Any]:
        """An answer that has more than the score says."""
        encoder, output = self.encoder, self.output
        encoded = encoder.row(values)
        scores = [member.score(encoded, values, encoder) for _, member in self.members]
        key = None if self._key is None else key_of(values[self._key])
        answer = output.of_key(key).answer(self.blend.of_one(scores))
        if MEMBERS in output.further:
            answer[MEMBERS] = dict(zip(self.names, map(output.value, scores), strict=True))
        if NOTES in output.further:
            answer[NOTES] = self.notes.of_row(encoded, values)
        return answer

    @cached_property
    def _score(self) -> Callable[[Sequence[Any]], Any]:
        """The score of one row from its features: a float, or a list of them."""
        return self._one if self.output.width == 1 else self._several

    def _one(self, values: Sequence[Any]) -> float:
        encoder, total = self.encoder, self.blend.offset
        encoded = encoder.row(values)
        for weight, member in self._weighted:
            total += weight * member.score(encoded, values, encoder)
        return total

    def _several(self, values: Sequence[Any]) -> list[float]:
        encoded = self.encoder.row(values)
        totals = [self.blend.offset] * self.output.width
        for weight, member in self._weighted:
            scores = member.score(encoded, values, self.encoder)
            totals = [total + weight * score for total, score in zip(totals, scores, strict=True)]
        return totals

    def scores(self, rows: pl.DataFrame) -> Array:
        """The score of every row of a frame of typed columns: shape (rows,), or (rows, width of the output)."""
        if not rows.height:
            return self._none
        return self.of_encoded(self.encoder.of_frame(self.features.over(rows, CompileTarget(time=self.time))))

    def of_encoded(self, rows: Encoded) -> Array:
        """The score of every encoded row, of which there is one at least."""
        return self.blend.of([member.scores(rows) for _, member in self.members])

    def beside(self, rows: pl.DataFrame) -> dict[str, Array]:
        """What needs no model, and the baselines of the training, as the numbers of every row, by name.

        Args:
            rows: Typed columns; one row at least.
        """
        numbers = {f"{name}_of_training": constant(row, rows.height) for name, row in self.constants.items()}
        if self.baselines:
            encoded = self.encoder.of_frame(self.features.over(rows, CompileTarget(time=self.time)))
            scores = {name: learner.scores(encoded) for name, (_, learner) in self.baselines.items()}
            numbers |= {name: self.output.bare(score) for name, score in scores.items()}
        return numbers

    def numbers(self, rows: pl.DataFrame) -> Array:
        """What the output makes of the scores of a frame."""
        if not rows.height:
            return self.output.numbers(self._none)
        return self.numbers_of_encoded(self.encoder.of_frame(self.features.over(rows, CompileTarget(time=self.time))))

    def numbers_of_encoded(self, rows: Encoded) -> Array:
        """The same of encoded rows, of which there is one at least."""
        return self.output.numbers_by(self.of_encoded(rows), self._keys(rows))

    def keys_of_frame(self, rows: pl.DataFrame) -> list[str | None] | None:
        """By what the output is calibrated, of the rows of a frame; None where it is for all alike."""
        if self._key is None:
            return None
        return list(map(key_of, self.features.over(rows, CompileTarget(time=self.time))[str(self.output.keyed)]))

    def _keys(self, rows: Encoded) -> list[str | None] | None:
        return None if self._key is None else list(map(key_of, rows.raw(self._key)))

    def answers_of_frame(self, rows: pl.DataFrame) -> list[dict[str, Any]]:
        """The answers to the rows of a frame of typed columns."""
        if not rows.height:
            return []
        return by_row(self.columns_of(self.encoder.of_frame(self.features.over(rows, CompileTarget(time=self.time)))))

    def columns_of(self, rows: Encoded) -> dict[str, list[Any]]:
        """The answers to encoded rows, of which there is one at least, column by column."""
        output, members = self.output, [member.scores(rows) for _, member in self.members]
        columns = output.columns(output.numbers_by(self.blend.of(members), self._keys(rows)))
        if MEMBERS in output.further:
            values = (list(map(output.value, scores.tolist())) for scores in members)
            columns[MEMBERS] = [dict(zip(self.names, row, strict=True)) for row in zip(*values, strict=True)]
        if NOTES in output.further:
            columns[NOTES] = self.notes.of_rows(rows)
        return columns

    def answers(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The answers to columns of decoded values, by name: as many as the columns have rows, the bits of `answer`."""
        return by_row(self.answer_columns(columns))

    def answer_columns(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The same, column by column."""
        if self.row.many is None:
            import polars as pl

            dtypes = self.schema()
            frame = pl.DataFrame({name: columns[name] for name in dtypes}, schema=dtypes)
            values = self.features.over(frame, CompileTarget(time=self.time))
            return self.columns_of(self.encoder.of_frame(values)) if values.height else self._nothing
        rows = self.row.many(columns)
        if not rows:
            return self._nothing
        if len(rows) >= self._few or not self._single:
            return self.columns_of(self.encoder.of_rows(rows))
        answers = list(map(self._answer, rows))
        return {name: [row[name] for row in answers] for name in answers[0]}

    @property
    def _nothing(self) -> dict[str, list[Any]]:
        """The answers to no rows."""
        further: dict[str, list[Any]] = {name: [] for name in self.output.further}
        return {**self.output.columns(self.output.numbers(self._none)), **further}

    @cached_property
    def _few(self) -> int:
        return _FEW_OF_WORDS if self.encoder.sparse else _FEW

    @cached_property
    def _single(self) -> bool:
        """Whether every member is quicker for a few rows one by one than as a matrix."""
        return all(member.single for _, member in self.members)

    def schema(self) -> dict[str, Any]:
        """Polars types of the columns that the features read."""
        from headrace.features.compiled import dtype_of

        return {name: dtype_of(kind) for name, kind in self.types.items()}

    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder: the same model gives the same bytes."""
        manifest = {
            "kind": KIND,
            "format": FORMAT,
            "output": {**self.output.as_dict(), "kind": self.output.kind, "further": list(self.output.further)},
            "types": dict(self.types),
            "time": self.time,
            "features": self.features.as_list(),
            "encoder": self.encoder.as_dict(),
            "members": [
                {"kind": kind, "name": name, "weight": weight, "reads": names_read(learner)}
                for (kind, learner), name, weight in zip(self.members, self.names, self.weights, strict=True)
            ],
            "offset": self.blend.offset,
            "notes": self.notes.as_list(),
            "baselines": {name: kind for name, (kind, _) in self.baselines.items()},
            "baselines_read": {name: names_read(learner) for name, (_, learner) in self.baselines.items()},
            "constants": {
                name: [None if value != value else value for value in row] for name, row in self.constants.items()
            },
        }
        (folder / _FILE).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        self.encoder.save(folder)
        for place, (_, member) in enumerate(self.members):
            member.save(folder / f"member_{place}")
        for name, (_, learner) in self.baselines.items():
            learner.save(folder / f"baseline_{name}")

    @classmethod
    def load(cls, folder: Path) -> RowModel:
        """Read a model that `save` wrote.

        Raises:
            ArtefactError: A file is missing, damaged, or of a newer format.
            NotFoundError: It has an output or a learner of a kind that is not known here.
        """
        try:
            data = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            if data["kind"] != KIND or data["format"] > FORMAT:
                message = f"is a {data['kind']} of format {data['format']}"
                raise ArtefactError(message, where=str(folder), hint="upgrade headrace")
            output = dict(data["output"])
            further = tuple(output.pop("further"))
            features = Features.from_list(data["features"])
            encoder = Encoder.from_dict(data["encoder"], features, folder)
            members = tuple(
                (part["kind"], _loaded(part["kind"], folder / f"member_{place}", encoder, part.get("reads")))
                for place, part in enumerate(data["members"])
            )
            return cls(
                output=replace(output_class(output.pop("kind")).from_dict(output), further=further),
                types=data["types"],
                time=data["time"],
                features=features,
                encoder=encoder,
                members=members,
                names=tuple(part["name"] for part in data["members"]),
                blend=Blend(tuple(float(part["weight"]) for part in data["members"]), float(data["offset"])),
                baselines={
                    name: (
                        kind,
                        _loaded(kind, folder / f"baseline_{name}", encoder, data.get("baselines_read", {}).get(name)),
                    )
                    for name, kind in data["baselines"].items()
                },
                notes=Notes.from_list(data["notes"], encoder),
                constants={name: tuple(map(_number, row)) for name, row in data["constants"].items()},
            )
        except KeyError as error:
            raise other_version(folder, error) from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error


def _loaded(kind: str, path: Path, encoder: Encoder, names: Sequence[str] | None) -> Fitted:
    """A learner from its file, which reads these features of the encoder; all where there are no names."""
    return reading_some(LEARNER_KINDS.of(kind).fitted.load(path), encoder, names)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def constant(numbers: Sequence[float] | Array, count: int) -> Array:
    """The same numbers for each of so many rows, in the shape that an output gives numbers in."""
    constants_all = np.tile(np.asarray(numbers, dtype=np.float64), (count, 1))
    return constants_all[:, 0] if constants_all.shape[1] == 1 else constants_all


def refuse_disagreement(model: RowModel, rows: pl.DataFrame) -> None:
    """Compare the row form with the table form, feature by feature and in the answer.

    Raises:
        ModelError: They differ in a bit; names the feature. Such a model must not be served.
    """
    table = model.features.over(rows, CompileTarget(time=model.time))
    answers = model.answers_of_frame(rows)
    for place, row in enumerate(rows.iter_rows(named=True)):
        pairs = zip(model.row.names, model.row.call(row), table.row(place), strict=True)
        for name, own_value, value_wanted in pairs:
            if not _same(own_value, value_wanted):
                raise ModelError(
                    f"gives {own_value!r} for a row and {value_wanted!r} in a table", where=f"features.{name}"
                )
        answer = model.answer(row)
        if answer != answers[place]:
            raise ModelError(f"a row gives {answer!r}, a table {answers[place]!r}", where="model")


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)
