"""Listings without an event time, told apart by their number."""

from headrace import Column, Contract, Regressor, Source, System
from headrace.contract import MeanBand
from headrace.features import col

system = System(
    name="listings",
    source=Source(table="listings", watermark="id"),
    contract=Contract(
        columns=(
            Column("id", "integer", minimum=0),
            Column("name", "text"),
            Column("price", "float", minimum=0, nullable=True),
        ),
        rules=(MeanBand(column="price", minimum=1, maximum=1000, severity="stop"),),
        max_invalid_fraction=0.5,
    ),
    keys=("id",),
    target="price",
    features={"long": col("name").length()},
    model=Regressor(),
)
