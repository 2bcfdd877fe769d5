"""Prices of listings by a ridge on words, pairs of words and categories: what `text_scale.py` measures."""

from __future__ import annotations

from headrace import Column, Contract, Linear, Regressor, Schedule, Source, System
from headrace.features import col, ngrams
from headrace.sources import simulated

system = System(
    name="text_scale",
    source=Source(simulate=simulated.listings),
    contract=Contract(
        columns=(
            Column("train_id", "integer", minimum=0),
            Column("name", "text"),
            Column("item_condition_id", "integer", values=(1, 2, 3, 4, 5)),
            Column("category_name", "text", nullable=True),
            Column("brand_name", "text", nullable=True),
            Column("price", "float", minimum=0, maximum=2500, nullable=True),
            Column("shipping", "integer", values=(0, 1)),
            Column("item_description", "text", nullable=True),
        )
    ),
    keys=("train_id",),
    target="price",
    features={
        "category": col("category_name"),
        "brand": col("brand_name"),
        "condition": col("item_condition_id"),
        "shipping": col("shipping"),
        "title": ngrams("name", "brand_name"),
        "description": ngrams("item_description"),
    },
    model=Regressor(members=(Linear(),), scale="log", coverage=0.8),
    schedule=Schedule(predict="never", train="7d"),
)
