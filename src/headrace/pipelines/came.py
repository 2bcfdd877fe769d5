"""Rows of the quarantine as frames again: from the JSON that they are kept as, to what a check takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.contract.naming import found_as
from headrace.sources import Records
from headrace.sources.base import parts_of, renamed

if TYPE_CHECKING:
    import polars as pl

    from headrace.sources import Source

PLACE = ":row"
"""A column of the frame: which of the texts a row is from."""


def rows_again(texts: Sequence[str], source: Source) -> pl.DataFrame:
    """The rows, each as it came, under the names that the source is declared with now; `PLACE` says which is which.

    A line of a file that is no row has no value in any column.

    Args:
        texts: Each a JSON object, or ``{"line": ...}`` of what is no row.
        source: Its columns are looked for once more where a row lacks them: they may be what was mended.
    """
    import polars as pl

    shapes: dict[tuple[str, ...], list[tuple[int, Mapping[str, Any]]]] = {}
    for place, text in enumerate(texts):
        row = _row(text)
        shapes.setdefault(tuple(row), []).append((place, row))
    frames = [_under_names(_frame(names, rows), source) for names, rows in shapes.items()]
    return pl.concat(frames, how="diagonal_relaxed", rechunk=True).sort(PLACE)


def records_of(frame: pl.DataFrame, origin: str) -> Records:
    """Records of such rows."""
    return Records(frame.drop(PLACE), origin)


def is_line(text: str) -> bool:
    """Whether what was set apart is a line that is no row."""
    return _row(text) == {}


def _row(text: str) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except ValueError:  # the text of an event that is no JSON
        return {}
    return {} if not isinstance(row, dict) or row.keys() == {"line"} else row


def _frame(names: Sequence[str], rows: Sequence[tuple[int, Mapping[str, Any]]]) -> pl.DataFrame:
    import polars as pl

    columns = [_column(name, [row[name] for _, row in rows]) for name in names]
    return pl.DataFrame([pl.Series(PLACE, [place for place, _ in rows], dtype=pl.Int64), *columns])


def _column(name: str, values: list[Any]) -> pl.Series:
    """Values as they came; of several types as texts, as a file would have them."""
    import polars as pl

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds and not any(isinstance(v, int) and abs(v) > 2**53 for v in values):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if len(kinds) <= 1 and not (kinds == {int} and any(v is not None and not -(2**63) <= v < 2**63 for v in values)):
        return pl.Series(name, values, strict=False)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def _under_names(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The frame with declared columns that it lacks, where it has what the source makes them from."""
    lacking = {
        name: column
        for name, column in source.columns.items()
        if name not in frame.columns and all(found_as(part, frame.columns) for part in parts_of(column))
    }
    return renamed(frame, lacking) if lacking else frame
