"""Why rows got their predictions: what their model's members say of every feature, and what the output makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ExplainError, HeadraceError, ReplayError, UsageError
from headrace.features.expression import CompileTarget
from headrace.home import Home
from headrace.identity import decoded
from headrace.models.contributions import Contributions
from headrace.models.encoding import FREQUENCY, GROUP, TEXTS, Array, Encoded
from headrace.models.explaining import EXACT, PERMUTATION, contributions_of, parts_by_word
from headrace.system import System
from headrace.tasks.explanation import STEP, Contribution, Explanation, by_size, texts_of_class
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.base import by_row
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion

_NOISE = 1e-12
"""A step that adds less than this share of the largest part is not told: it is what numbers of 64 bits lose."""


_BASES = {
    EXACT: "what the model says on average",
    PERMUTATION: "what the model says of a typical row",
}


@dataclass(frozen=True)
class RowExplainer:
    """Explains what one fitted model says of rows.

    Attributes:
        model: The model.
        version: Its number.
    """

    model: RowModel
    version: int

    def explain(self, rows: pl.DataFrame, *, label: Any = None, words: bool = False) -> list[Explanation]:
        """Why the rows of a frame get their predictions, in order.

        Args:
            rows: Typed columns that the features read.
            label: The class to explain. None: of two classes the second, of several the one that is predicted.
            words: Tell the words of free texts by themselves.

        Raises:
            UsageError: There is no such class, or no free text.
            ExplainError: A member cannot tell, and its training kept no typical row; or it fails on a row.
        """
        if not rows.height:
            return []
        try:
            return self._explained(rows, label, words)
        except HeadraceError:
            raise
        except (ArithmeticError, ValueError) as error:  # of an answer that is no number, or from a model of yours
            raise ExplainError(f"the answer cannot be taken apart: {error}", where=self.model.target) from error

    def _explained(self, rows: pl.DataFrame, label: Any, words: bool) -> list[Explanation]:
        model, output, place = self.model, self.model.output, self._place(label)
        values = model.features.over(rows, CompileTarget(time=model.time))
        encoded = model.encoder.of_frame(values)
        if words and not any(role in TEXTS for role in model.encoder.roles):
            raise UsageError("no feature is a text", where="words", hint="leave it out")
        scores = model.of_encoded(encoded)
        parts, method = self._parts(encoded)
        steps = output.settled(scores, parts.total, several=len(model.members) > 1)
        explanations = []
        for row, answer in enumerate(by_row(model.columns_of(encoded))):
            chosen = self._predicted(answer) if place is None else place
            column, sign = (chosen or 0, 1) if output.width != 1 else (0, -1 if chosen == 0 else 1)
            features = self._features(encoded, values.row(row), row, sign * parts.parts[row, :, column])
            if words:
                features = self._by_word(encoded.taken(np.array([row])), features, column, sign)
            later = (Contribution(name, None, sign * float(step[row, column]), STEP) for name, step in steps.items())
            base = sign * float(parts.base[column])
            noise = _NOISE * max(abs(base), *(abs(part.contribution) for part in features))
            contributions = (*by_size(features), *(part for part in later if abs(part.contribution) > noise))
            explanations.append(self._explanation(answer, chosen, method, base, contributions))
        return explanations

    def _explanation(
        self,
        answer: dict[str, Any],
        chosen: int | None,
        method: str,
        base: float,
        contributions: tuple[Contribution, ...],
    ) -> Explanation:
        output = self.model.output
        label = None if chosen is None else output.classes[chosen]
        scale, mapping = output.scale_of_parts
        return Explanation(
            id=None,
            keys={},
            target=output.target,
            value=output.explained(answer, label),
            label=label,
            scale=scale,
            mapping=mapping,
            base=base,
            base_means=_BASES[method],
            total=base + math.fsum(part.contribution for part in contributions),
            contributions=contributions,
            method=method,
            model_version=self.version,
            answer=answer,
        )

    def _place(self, label: Any) -> int | None:
        """The place of the class that is asked for, by its value or its text."""
        classes = self.model.output.classes
        if label is None:
            return 1 if len(classes) == 2 else None
        for place, value in enumerate(classes):
            if label == value or str(label) in texts_of_class(value):
                return place
        known = (
            f"one of {', '.join(texts_of_class(value)[0] for value in classes)}"
            if classes
            else f"{self.model.target} is a number"
        )
        raise UsageError(f"there is no class {label!r}", where="label", hint=known)

    def _predicted(self, answer: Mapping[str, Any]) -> int | None:
        classes = self.model.output.classes
        return classes.index(answer[self.model.target]) if classes else None

    def _parts(self, encoded: Encoded) -> tuple[Contributions, str]:
        """The members' contributions by their weights; exact where all of them are."""
        output, weights, offset = self.model.output, self.model.weights, self.model.blend.offset
        told = [contributions_of(member, encoded, output.asked) for _, member in self.model.members]
        base, parts = (
            np.full(output.width, offset),
            np.zeros((len(encoded), len(self.model.encoder.names), output.width)),
        )
        for weight, (part, _) in zip(weights, told, strict=True):
            base, parts = base + weight * part.base, parts + weight * part.parts
        method = EXACT if all(method == EXACT for _, method in told) else PERMUTATION
        return Contributions(base, parts), method

    def _features(self, encoded: Encoded, values: Sequence[Any], row: int, added: Array) -> list[Contribution]:
        encoder = self.model.encoder
        return [  # of the keys of a mean the model reads the mean
            Contribution(
                name, _plain(encoded.matrix[row, place] if role in (GROUP, FREQUENCY) else values[place]), float(number)
            )
            for place, (name, role, number) in enumerate(zip(encoder.names, encoder.roles, added, strict=True))
        ]

    def _by_word(self, row: Encoded, features: list[Contribution], column: int, sign: int) -> list[Contribution]:
        """The contributions of a row with the words of its texts in place of these."""
        output, encoder, weights = self.model.output, self.model.encoder, self.model.weights
        members = [parts_by_word(member, row, output.asked) for _, member in self.model.members]
        added = np.zeros((len(encoder.names), output.width))
        for weight, part in zip(weights, members, strict=True):
            added = added + weight * part.parts
        told = [
            replace(feature, contribution=sign * float(number), value=None if role in TEXTS else feature.value)
            for feature, number, role in zip(features, added[:, column], encoder.roles, strict=True)
            if role not in TEXTS or number
        ]
        words: dict[tuple[int, str], float] = {}
        for weight, part in zip(weights, members, strict=True):
            for place, word, number in part.words:
                words[place, word] = words.get((place, word), 0.0) + sign * weight * float(number[column])
        return told + [Contribution(encoder.names[place], word, number) for (place, word), number in words.items()]


def _plain(value: Any) -> Any:
    """A feature's value as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.floating | float):
        return float(value) if math.isfinite(value) else None
    return value


def explain_stored(
    home: Home, system: str, rows: Sequence[Mapping[str, Any]], *, label: Any = None, words: bool = False
) -> list[Explanation]:
    """Why stored predictions have their values: from their own inputs, by the models that they pin.

    Raises:
        ReplayError: One could not be made, so there is nothing to explain.
        ExplainError: What the model says on the way to one is no number.
        ArtefactError: A model's files are gone or differ from their digest.
    """
    import polars as pl

    explainers: dict[int, RowExplainer] = {}
    explanations = []
    for row in rows:
        if row.get("error"):
            raise ReplayError(f"it could not be made: {row['error']}", where=row["id"])
        number = int(row["model_version"])
        if number not in explainers:
            model = RowPredictor.load(home.registry.fetch(home.registry.get(system, number))).model
            explainers[number] = RowExplainer(model, number)
        explainer = explainers[number]
        inputs = decoded(row["inputs"], explainer.model.types)
        frame = pl.DataFrame({name: [value] for name, value in inputs.items()}, schema=explainer.model.schema())
        try:
            explanation = explainer.explain(frame, label=label, words=words)[0]
        except ExplainError as error:
            raise ExplainError(error.message, where=row["id"], hint=error.hint) from error
        explanations.append(replace(explanation, id=row["id"], keys=_keys(row, explainer.model.target)))
    return explanations


def _keys(row: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The key of a stored prediction: its columns before the target, or of a logged one its text."""
    if "key" in row:
        return {"key": row["key"]}
    names = list(row)
    return {name: row[name] for name in names[names.index("id") + 1 : names.index(target)]}


def explain_decoded(
    model: RowModel, version: int, rows: Sequence[Mapping[str, Any]], *, label: Any = None, words: bool = False
) -> list[Explanation]:
    """Why a model says what it says of decoded rows, which have all that it reads; see `RowExplainer.explain`."""
    import polars as pl

    frame = pl.DataFrame({name: [row[name] for row in rows] for name in model.types}, schema=model.schema())
    return RowExplainer(model, version).explain(frame, label=label, words=words)


def explain_rows(
    system: System,
    home: Home,
    version: ModelVersion,
    rows: pl.DataFrame,
    *,
    as_of: datetime,
    label: Any = None,
    words: bool = False,
) -> list[Explanation]:
    """Why a version says what it says of rows, which are not stored.

    Args:
        system: The declaration.
        home: Where the model is.
        version: Which.
        rows: Typed, of the contract.
        as_of: As of when stored features are looked up.
        label, words: See `RowExplainer.explain`.
    """
    model = RowPredictor.load(home.registry.fetch(version)).model
    rows, _ = Lookups.of(model.features, system, home).join(rows, as_of)
    explanations = RowExplainer(model, version.version).explain(rows, label=label, words=words)
    keys = rows.select(system.keys).iter_rows(named=True)
    return [replace(item, keys=dict(key)) for item, key in zip(explanations, keys, strict=True)]
