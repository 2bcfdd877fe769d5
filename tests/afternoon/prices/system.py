"""prices: at what price a product is offered, from its name, its brand and the price that is printed on it."""

import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from headrace import Column, Contract, Estimator, Regressor, Source, System
from headrace.features import col, text


def listings(rows):
    """Whether a product has a rating in place of the rating as text."""
    return rows.with_columns(rated=pl.col("product_rating") != "No rating available")


words = (TfidfVectorizer(max_features=400), "name")
numbers = (make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p)), ["retail"])

system = System(
    name="prices",
    source=Source(
        prepare=listings,
        columns={"product": "uniq_id", "name": "product_name", "retail": "retail_price", "price": "discounted_price"},
    ),
    contract=Contract(
        columns=(
            Column("product", "text"),
            Column("name", "text"),
            Column("brand", "category", nullable=True),
            Column("retail", "float", minimum=0, nullable=True),
            Column("rated", "boolean"),
            Column("price", "float", minimum=0, nullable=True),
        )
    ),
    keys=("product",),
    target="price",
    features={"name": text("name"), "brand": col("brand"), "retail": col("retail"), "rated": col("rated")},
    model=Regressor(
        scale="log",
        members=(Estimator(model=make_pipeline(make_column_transformer(words, numbers), Ridge())),),
        folds=3,
    ),
)
