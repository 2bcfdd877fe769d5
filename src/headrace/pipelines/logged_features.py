"""The features that posted rows were logged with, as a table: for training, for drift, and to see what a model saw."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.home import Home
from headrace.row_predictor import features_of
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

TABLE = "logged_features"
PREFIX = "f_"
"""Before the features' names in the table: a column of its own may be called as one of them."""


def store(system: System, home: Home, logged: pl.DataFrame) -> int:
    """Store the features of predictions that were logged with them, each once; returns how many predictions had any.

    A feature is a column, `f_NAME`: numbers (truths as 0 and 1), or texts. A model with other features widens the
    table.

    Args:
        system: The declaration.
        home: Where the table is.
        logged: Rows of the predictions table.

    Raises:
        StoreError: The table cannot be written.
    """

    found = [features_of(text) for text in logged["inputs"]]
    told = [i for i, features in enumerate(found) if features is not None]
    if not told:
        return 0
    names = sorted({name for i in told for name in found[i] or ()})
    columns = [_column(name, [(found[i] or {}).get(name) for i in told]) for name in names]
    about = ["id", *system.keys, "as_of", "known_at", "created_at", "model_version", "feature_version"]
    frame = logged[told].select(about).with_columns(columns)
    home.table(system.name, TABLE).append(frame, identity=["id"], compare=["model_version"], window="as_of")
    return len(told)


def _column(name: str, values: list[Any]) -> pl.Series:
    import polars as pl

    if any(isinstance(value, str) for value in values):
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pl.Series(PREFIX + name, texts, dtype=pl.String)
    return pl.Series(PREFIX + name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
