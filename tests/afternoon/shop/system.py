"""shop: what a web shop sells in the next week, day by day, from the lines of its invoices."""

import polars as pl
from statsforecast.models import AutoTheta

from headrace import Column, Contract, Monitoring, Schedule, Source, System


def revenue(lines):
    """What each line of an invoice is worth; returns count below nothing."""
    worth = pl.col("Quantity").cast(pl.Float64) * pl.col("UnitPrice").cast(pl.Float64)
    where = pl.when(pl.col("Country") == "United Kingdom").then(pl.lit("home")).otherwise(pl.lit("abroad"))
    return lines.with_columns(worth=worth, market=where)


system = System(
    name="shop",
    source=Source(prepare=revenue, columns={"day": "InvoiceDate"}),
    contract=Contract(
        columns=(
            Column("market", "category"),
            Column("day", "time", zone="Europe/London"),
            Column("worth", "float", aggregate="sum", empty="zero"),
        )
    ),
    keys=("market",),
    time="day",
    step="1d",
    horizon="7d",
    target="worth",
    model=AutoTheta(season_length=7),
    schedule=Schedule(predict="1d", train="4w"),
    monitoring=Monitoring(baselines=("1d", "7d")),
)
