"""The predictor of rows: the only caller of a model of rows, the same for every door.

Like `headrace.tasks.forecast.predictor` it is made from a model's files alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.tasks.rows.model import RowModel

if TYPE_CHECKING:
    import polars as pl


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
        self.model.warm()

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction for one decoded row: the target by its name, and what its output puts beside it."""
        return self.model.answer(row)

    def answers(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The predictions for many decoded rows, in order: the very ones that `answer` gives."""
        return self.model.answers(columns)

    def answer_columns(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The same predictions column by column, for who writes many."""
        return self.model.answer_columns(columns)

    def features(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """The features of many decoded rows, in order, as JSON has them: NaN and infinities are None, times texts."""
        names, row = self.model.features.names, self.model.row
        if row.many is not None:
            rows_scored: Iterable[tuple[Any, ...]] = row.many(columns)
        else:
            rows = zip(*columns.values(), strict=True)
            rows_scored = (row.call(dict(zip(columns, item, strict=True))) for item in rows)
        return [
            {n: v for n, v in zip(names, map(_plain, result), strict=True) if v is not None} for result in rows_scored
        ]

    def predict(self, rows: pl.DataFrame) -> list[dict[str, Any]]:
        """The predictions for a frame of typed columns, in the order of the rows."""
        return self.model.answers_of_frame(rows)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
