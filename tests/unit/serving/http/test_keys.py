"""Keys of a query are read as values of their columns, as the command line does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headrace import Column, Contract, Forecaster, System
from headrace.features import seasonal_features
from headrace.home import Home
from headrace.serving.http.forecasts import Forecasts, Index
from headrace.settings import Settings

SYSTEM = System(
    name="meters",
    contract=Contract(
        columns=(
            Column("meter", "integer"),
            Column("indoors", "boolean"),
            Column("place", "category"),
            Column("time", "time", zone="UTC"),
            Column("value", "float"),
        )
    ),
    keys=("meter", "indoors", "place"),
    time="time",
    step="1h",
    target="value",
    features=seasonal_features("value", step="1h", seasons=("24h",)),
    model=Forecaster(seasons=("24h",)),
    horizon="6h",
)


@pytest.mark.parametrize(
    ("meter", "indoors", "place", "there"),
    [
        ("7", "true", "A", True),
        ("007", "True", "A", True),
        ("7.0", "1", "A", True),
        ("7", "false", "A", False),
        ("7", "true", "a", False),
        ("seven", "true", "A", False),
    ],
)
def test_a_series_is_found_by_its_values(tmp_path: Path, meter: str, indoors: str, place: str, there: bool) -> None:
    forecasts = Forecasts(SYSTEM, Home(Settings(home=tmp_path)))
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(3)]
    frame = pl.DataFrame(
        {"meter": [7] * 3, "indoors": [True] * 3, "place": ["A"] * 3, "time": times, "value": [1.0] * 3}
    )
    forecasts.observations = Index.of(frame, list(SYSTEM.keys), "time")
    texts = forecasts.texts({"meter": meter, "indoors": indoors, "place": place})
    assert forecasts.has(tuple(texts[name] for name in SYSTEM.keys)) is there
