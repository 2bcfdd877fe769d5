"""Baskets that are bought or left: two keys, a time, texts as classes, a user's own polars feature, an estimator."""

import polars as pl

from headrace import Classifier, Column, Contract, Estimator, Linear, Schedule, System
from headrace.features import col, hour, native

system = System(
    name="shop",
    contract=Contract(
        columns=(
            Column("shop", "category"),
            Column("basket", "text"),
            Column("at", "time"),
            Column("value", "float", minimum=0),
            Column("items", "integer", nullable=True),
            Column("member", "boolean", nullable=True),
            Column("coupon", "text", pattern="^[A-Z]+$", nullable=True),
            Column("bought", "category", values=("no", "yes"), nullable=True),
        ),
    ),
    keys=("shop", "basket"),
    time="at",
    target="bought",
    features={
        "value": native(pl.col("value").clip(0, 100)),
        "each": col("value") / col("items"),
        "member": col("member"),
        "shop": col("shop"),
        "hour": hour(),
    },
    model=Classifier(
        members=(Linear(), Estimator(class_path="sklearn.linear_model.LogisticRegression")),
        folds=2,
        repeats=1,
        threshold=0.4,
    ),
    schedule=Schedule(predict="never", train="never"),
)
