"""Permutation importance: what shuffling a feature's values costs."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
from tests.unit.models.test_notes import COLUMNS, FEATURES, TYPES, frame, system

from headrace.tasks.rows import card
from headrace.tasks.rows.fitting import Rows, fit
from headrace.tasks.rows.outputs.declared import output_with


def test_shuffling_costs_where_the_model_looks_and_nothing_elsewhere() -> None:
    assert COLUMNS
    rows = frame(300).with_columns(price=np.exp(1 + 0.3 * pl.col("weight")), brand=pl.lit("one"))
    declared = system(notes={})
    fitted = fit(declared.model, output_with(declared, ()), FEATURES, Rows(rows, "price", TYPES))
    began = time.process_time()
    importance = card.importance(fitted, rows)
    assert time.process_time() - began < 5
    permutation = {one.feature: one.permutation for one in importance.features}
    assert permutation["weight"] > 0.3, "of the logarithm's 0.7 standard deviations"
    assert abs(permutation["brand"]) < 1e-9
    assert max(abs(permutation[name]) for name in permutation if name != "weight") < 0.1
    assert card.importance(fitted, rows) == importance, "the same again"
    lacking = card.importance(fitted, rows.with_columns(price=pl.lit(None, pl.Float64)))
    assert {one.permutation for one in lacking.features} == {None}
