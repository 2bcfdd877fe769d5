"""What a terminal shows of the predictions of rows of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.system import System
from headrace.tasks.base import Predicted
from headrace.tasks.sections import PredictionSummary

if TYPE_CHECKING:
    import polars as pl

SHOWN = 12
"""Values that are counted one by one."""


def summary(system: System, predicted: Predicted) -> PredictionSummary:
    """How many rows were predicted, and what."""
    frame = predicted.frame
    line = f"\n{system.name}: {frame.height:,} rows without {system.target}, {predicted.stored:,} new: "
    return PredictionSummary([line + values_line(frame[system.target])], {"serve": f"headrace serve {system.name}"})


def values_line(values: pl.Series) -> str:
    """How often each value was predicted; of measured numbers the few themselves, of many where they lie."""
    if values.dtype.is_float() and 0 < values.len() <= SHOWN:
        return ", ".join(map(_figure, values.to_list()))
    counts = values.value_counts(sort=True)
    if values.dtype.is_numeric() and counts.height > SHOWN:
        numbers = values.cast(float).sort().to_list()
        low, mean, high = map(_figure, (numbers[0], sum(numbers) / len(numbers), numbers[-1]))
        return f"from {low} to {high}, {mean} on average"
    shown = [f"{count:,} x {value}" for value, count in counts.head(SHOWN).iter_rows()]
    more = [f"and {counts.height - SHOWN:,} more values"] if counts.height > SHOWN else []
    return ", ".join(shown + more) or "no row waits for a prediction"


def _figure(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
