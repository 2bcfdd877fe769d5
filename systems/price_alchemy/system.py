"""What a second-hand thing sells for: listings posted to an endpoint, or scored in batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace import (
    Boosting,
    Column,
    Contract,
    Kernel,
    Linear,
    Monitoring,
    Network,
    Regressor,
    Rules,
    Schedule,
    Source,
    System,
)
from headrace.contract import Forbids, LevelCount, MeanBand, Share, SpreadBand
from headrace.features import col, join, ngrams, target_mean
from headrace.policy import NewValues
from headrace.policy.monitoring import ContractWarnings, Drifted, WorseThanHeldOut, default_rules
from headrace.sources import simulated

if TYPE_CHECKING:
    import polars as pl

category, brand = col("category_name"), col("brand_name").fill("unbranded")
top, second = category.split("/", 0), category.split("/", 1)
middle = join(top, second, separator="/")

# What is known of few things is drawn towards what is known of more: a category towards the one above it.
of_top = target_mean(top, prior=10)
of_middle = target_mean(middle, prior=10, towards=of_top)
of_category = target_mean(category, prior=10, towards=of_middle)
of_brand = target_mean(brand, prior=10, towards=of_top)
of_brand_at_top = target_mean(join(brand, top), prior=10, towards=of_brand)
condition, shipping = col("item_condition_id"), col("shipping")
thing = ("name", "brand_name", category)

# Few pairs of columns matter to a sum of weights, so it reads every spelling; what seeks pairs reads words alone.
known = ("top", "middle", "category", "brand", "condition", "shipping", "described")
all_texts = ("words", "spelling", "name_spelling", *known)
of_means = ("of_category", "of_brand", "of_brand_at_middle", "of_condition", "of_shipping")


def one_number(listings: pl.DataFrame) -> pl.DataFrame:
    """Numbers of the file of tests count from 0, as the others do, and are other listings."""
    test = "test_id" in listings.columns and "train_id" not in listings.columns
    return listings.with_columns(train_id=listings["test_id"].cast(int) + 10_000_000) if test else listings


WORSE = WorseThanHeldOut("rmsle", warn=1.2, alarm=1.5, window="7d")
MOVED = Drifted(name="prices moved", column="price", warn=None, alarm=0, consecutive=3)

system = System(
    name="price_alchemy",
    source=Source(simulate=simulated.listings, prepare=one_number),
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
        ),
        rules=(
            Share(column="category_name", condition="null", at_most=0.05, confidence=0.999),
            Share(column="brand_name", condition="null", at_most=0.5, confidence=0.999),
            Share(column="price", condition="zero", at_most=0.01, confidence=0.999),
            LevelCount(column="category_name", at_most=0.02, confidence=0.999),
            Forbids(column="name", at_most=0.001, confidence=0.999),
            MeanBand(column="price", minimum=10, maximum=30, log=True, severity="stop"),
            SpreadBand(column="price", minimum=0.4, maximum=1.2, log=True),
        ),
    ),
    keys=("train_id",),
    target="price",
    features={
        "words": ngrams(*thing, "item_description", words=(1, 2)),
        "spelling": ngrams(*thing, "item_description", words=None, characters=(2, 5)),
        "name_spelling": ngrams("name", "brand_name", words=None, characters=(2, 5)),
        "name": ngrams("name", "brand_name", words=(1, 1)),
        "description": ngrams("item_description", words=(1, 1)),
        "top": top,
        "middle": middle,
        "category": category,
        "brand": brand,
        "condition": condition,
        "shipping": shipping,
        "of_category": of_category,
        "of_brand": of_brand_at_top,
        "of_brand_at_middle": target_mean(join(brand, middle), prior=10, towards=of_brand_at_top),
        "of_condition": target_mean(join(condition, top), prior=10, towards=of_top),
        "of_shipping": target_mean(join(shipping, middle), prior=10, towards=of_middle),
        "described": col("item_description").fill("").length().log1p(),
        "named": col("name").length(),
    },
    model=Regressor(
        members=(
            Kernel(features=all_texts, tuned_rows=800),
            Linear(features=all_texts, C=0.4),  # of many listings the kernel reads some, and this one all
            Boosting(
                features=("words", "name_spelling", "name", "description", *known, "named", *of_means),
                n_estimators=300,
                num_leaves=15,
                colsample_bytree=0.4,
                reg_lambda=10,
                components=12,
                copies=2,
            ),
            Network(features=("name", "description", *known), epochs=5),
        ),
        repeats=1,
        baselines=(Rules(levels=("top", "middle", "category"), by=("condition",)),),
        learn_from=col("price") > 0,  # nothing is sold for 0: the price was not told
        scale="log",
        coverage=0.8,
        intervals_by="top",
        tell_members=True,
        notes={"brand": "priced by category", "category": "priced by its known levels and the other columns"},
    ),
    schedule=Schedule(predict="never", train="7d", retrain=(NewValues("category_name"), NewValues("brand_name"))),
    monitoring=Monitoring(
        rules=(*default_rules(), ContractWarnings(), WORSE, MOVED),
        on_alarm="retrain",
    ),
)
