"""Contributions to a number add up to it, whatever unit it is in."""

from __future__ import annotations

import math

import polars as pl
import pytest
from tests.unit.models.test_notes import USUAL, fitted, frame

from headrace.tasks.rows.explained import RowExplainer


@pytest.mark.parametrize("unit", [1e-300, 1e-11, 1e36])
@pytest.mark.parametrize("scale", ["identity", "log"])
def test_contributions_add_up_in_any_unit(unit: float, scale: str) -> None:
    model = fitted(frame(120).with_columns(pl.col("price") * unit), scale=scale, notes={})
    new = pl.DataFrame([USUAL, USUAL | {"weight": 1000.0}, USUAL | {"weight": -500.0}], schema=model.schema())
    for told in RowExplainer(model, 1).explain(new):
        total = math.fsum([told.base, *(part.contribution for part in told.contributions)])
        value = math.expm1(total) if scale == "log" else total
        largest = max(abs(told.base), *(abs(part.contribution) for part in told.contributions))
        assert value == pytest.approx(told.value, rel=1e-9, abs=1e-12 * largest)  # a limit of 0 leaves noise
