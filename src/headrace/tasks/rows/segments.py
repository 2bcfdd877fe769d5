"""Errors of rows by a column of the contract: by each of its values, or by bands of its numbers."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import NotFoundError, UsageError
from headrace.home import PREDICTIONS, RAW, Home
from headrace.system import System
from headrace.tasks.rows.monitoring import pairs_of, read_scores, truth_of
from headrace.tasks.rows.outputs.declared import output_of

if TYPE_CHECKING:
    import polars as pl

MOST_VALUES = 30
"""Segments of a column; the rarer values are one together."""
_NUMBERS, _BANDS = 12, 5
"""A column of more different numbers is cut into so many bands."""
_NAMES = 0.5
"""Texts of which more than this share are different are names, and no segments."""
MISSING, OTHER = "missing", "other"
_CODE = "segment"


def columns_of(system: System) -> list[str]:
    """Columns by which rows can be cut: all but the keys, the target and the time."""
    left_out = {*system.keys, system.target, system.time}
    return [name for name in system.contract.names if name not in left_out]


def segment_scores(
    system: System, home: Home, column: str, as_of: datetime | None
) -> tuple[pl.DataFrame, list[str]] | None:
    """Sums of the monitoring window with the number of a segment as their `time`, and the names of the segments.

    Args:
        system: The declaration.
        home: Where everything is.
        column: One of `columns_of`.
        as_of: What is known then counts; None: all.

    Returns:
        None where nothing was scored yet.

    Raises:
        NotFoundError: Rows cannot be cut by it.
        UsageError: It has another value for almost every row.
    """
    import polars as pl

    if column not in columns_of(system):
        hint = f"by time, version, {', '.join(columns_of(system))}"
        raise NotFoundError(f"errors of {system.name} are not kept by {column!r}", where="by", hint=hint)
    window = read_scores(system, home, as_of)
    predictions, raw = home.table(system.name, PREDICTIONS), home.table(system.name, RAW)
    if window is None or not predictions.exists() or not raw.exists():
        return None
    output, keys = output_of(system, home), list(system.keys)
    names = ["id", *keys, system.target, *output.beside, "model_version", "as_of"]
    begin = pl.col("as_of") >= pl.lit(window["time"].min(), pl.Datetime("us", "UTC"))
    rows = predictions.read(identity=["id"], columns=names, as_of=as_of, where=begin, order=["id"])
    facts = raw.collect(raw.scan(as_of=as_of).select(*keys, column, "known_at", "_version"))
    facts = facts.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    facts = facts.sort(*keys, "known_at", "_version", maintain_order=True)
    traits = facts.group_by(keys, maintain_order=True).agg(pl.col(column).drop_nulls().first().alias(_CODE))
    rows = rows.join(traits, on=keys, nulls_equal=True, maintain_order="left")
    if rows.is_empty():
        return None
    codes, labels = _segments(rows[_CODE], column)
    truth = truth_of(system, home, rows, as_of, raw.version())
    pairs = pairs_of(system, output, rows.with_columns(codes), truth, group=pl.col(_CODE))
    return output.scores(pairs.with_columns(model_version=pl.lit(0, pl.Int64))), labels


def _segments(values: pl.Series, column: str) -> tuple[pl.Series, list[str]]:
    """The number of each row's segment, and the names of the segments in order."""
    import polars as pl

    values = values.fill_nan(None) if values.dtype.is_float() else values
    different = values.drop_nulls().unique()
    if values.dtype.is_numeric() and len(different) > _NUMBERS:
        texts, labels = _bands(values)
    else:
        if len(different) > MOST_VALUES and len(different) > _NAMES * len(values):
            message = f"{column} has another value for almost every row"
            raise UsageError(message, where="by", hint="choose a column that rows have in common")
        texts, labels = _values(values)
    texts = texts.fill_null(MISSING)
    labels += [MISSING] if MISSING not in labels and (texts == MISSING).any() else []
    numbers = dict(zip(labels, range(len(labels)), strict=True))
    return texts.replace_strict(numbers, return_dtype=pl.Int64).alias(_CODE), labels


def _values(values: pl.Series) -> tuple[pl.Series, list[str]]:
    """Values as texts, the rarest as one: numbers ascending, others the most frequent first."""
    import polars as pl

    counts = (
        values.drop_nulls().value_counts(sort=True, name="rows").sort("rows", values.name, descending=[True, False])
    )
    frequent = counts[values.name].head(MOST_VALUES)
    rare = counts.height > MOST_VALUES
    ordered = frequent.sort() if values.dtype.is_numeric() or values.dtype == pl.Boolean else frequent
    labels = ordered.cast(pl.String).to_list()
    texts = values.cast(pl.String)
    known = texts.is_in(labels) | texts.is_null()
    texts = pl.DataFrame({"text": texts, "known": known}).select(
        pl.when("known").then("text").otherwise(pl.lit(OTHER)).alias(_CODE)
    )[_CODE]
    return texts, [*labels, OTHER] if rare and OTHER not in labels else labels


def _bands(values: pl.Series) -> tuple[pl.Series, list[str]]:
    """Bands of numbers that hold about as many rows each."""
    import polars as pl

    known = values.drop_nulls().cast(pl.Float64)
    edges = sorted({float(known.quantile(part / _BANDS, "nearest") or 0.0) for part in range(1, _BANDS)})
    texts = [f"{edge:.10g}" for edge in edges]
    labels = [f"to {texts[0]}", *(f"{low} to {high}" for low, high in pairwise(texts)), f"above {texts[-1]}"]
    places = np.searchsorted(edges, values.cast(pl.Float64).fill_null(0.0).to_numpy())
    bands = pl.DataFrame({"band": pl.Series(labels).gather(places), "known": values.is_not_null()})
    named = bands.select(pl.when("known").then("band").alias(_CODE))[_CODE]
    return named, [label for label in labels if (named == label).any()]
