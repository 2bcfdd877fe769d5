"""What a terminal shows of the forecasts of one run."""

from __future__ import annotations

from headrace.system import System
from headrace.tasks.forecast.inference import PredictedSeries
from headrace.tasks.sections import Block, PredictionSummary, TerminalTable

SHOWN = 12
"""Series without a model's forecast that are named, of each kind."""


def summary(system: System, predicted: PredictedSeries) -> PredictionSummary:
    """The horizon's sum per series beside each baseline's, the largest series first; and series without a model's."""
    import polars as pl

    frame = predicted.frame
    baselines = [c for c in frame.columns if c.startswith("baseline_")]
    nearest = pl.col("ahead") == 1
    table = (
        frame.group_by(system.keys, maintain_order=True)
        .agg(
            pl.col(system.event_time).filter(nearest).first().alias("next"),
            *(pl.col(c).filter(nearest).first() for c in ("value", "lower", "upper")),
            pl.col("value").sum().alias("horizon sum"),
            *(pl.when(pl.col(c).count() > 0).then(pl.col(c).sum()) for c in baselines),
        )
        .sort("horizon sum", descending=True, maintain_order=True)
    )
    title = f"{system.name}: {frame.height:,} forecasts of {system.target}, {predicted.stored:,} new"
    first = (*system.keys, "next", "value", "lower", "upper", "horizon sum", *baselines)
    origin = predicted.origin.strftime("%Y-%m-%d %H:%M:%S" if predicted.origin.second else "%Y-%m-%d %H:%M")
    blocks: list[Block] = [
        f"\nthe newest value known is of {origin}: forecasts begin after it",
        TerminalTable(table, title, first, kept=(*system.keys, "next", "value")),
    ]
    for heading, rows in (("too young for the model:", predicted.young), ("no forecast for", predicted.skipped)):
        for row in rows[:SHOWN]:
            name = ", ".join(str(row[k]) for k in system.keys) or system.name
            blocks.append(f"{heading} {name} - {row['reason']}")
    return PredictionSummary(blocks)
