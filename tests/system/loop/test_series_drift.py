"""Drift of series of very different size: each counts by what is usual of itself."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import headrace as hr
from headrace import Column, Contract, DriftLimits, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import lag
from headrace.policy.monitoring import NothingPredicted

BEGIN, DAY, HOUR = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1), timedelta(hours=1)
SIZES = {"grid": 20_000.0, "town": 900.0, "a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
TRAINED = BEGIN + 21 * DAY


def load() -> System:
    return System(
        name="load",
        source=Source(lag="0h"),
        contract=Contract(columns=(Column("t", "time", zone="UTC"), Column("k", "category"), Column("mw", "float"))),
        keys=("k",),
        time="t",
        step="1h",
        horizon="3h",
        target="mw",
        features={"last": lag("mw", "1h")},
        model=Forecaster(seasons=("24h",), n_estimators=3),
        schedule=Schedule(predict="1h", train="never"),
        monitoring=Monitoring(baselines=("24h",), window="3d", rules=(NothingPredicted(),), drift=DriftLimits(least=1)),
    )


def values(first: int, days: int, moved: tuple[str, ...] = ()) -> pl.DataFrame:
    rng, hours = np.random.default_rng(first), np.arange(first * 24, (first + days) * 24)
    season = 1 + 0.1 * np.sin(hours / 24 * 2 * np.pi)
    parts = [
        {
            "t": [BEGIN + int(n) * HOUR for n in hours],
            "k": [name] * hours.size,
            "mw": size * (season + rng.normal(0, 0.02, hours.size) + 0.15 * (name in moved)),
        }
        for name, size in SIZES.items()
    ]
    return pl.concat([pl.DataFrame(part) for part in parts])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load")
    comes(folder, TRAINED, values(0, 21)).run(TRAINED)
    return folder


def comes(folder: Path, time: datetime, frame: pl.DataFrame) -> hr.BoundSystem:
    s = hr.open(folder / "home", clock=lambda: datetime(2027, 1, 1, tzinfo=UTC), quiet=True).system(load())
    path = folder / f"{time:%Y%m%d}.parquet"
    frame.write_parquet(path)
    s.ingest(time, source=f"file:{path}")
    return s


@pytest.mark.parametrize(
    ("moved", "drifted"),
    [((), False), (("grid",), True), (("a", "b", "c", "d"), True), (("d",), True)],
    ids=["none", "a large one", "many small ones", "the smallest"],
)
def test_a_shift_is_found_whatever_the_size_of_a_series(
    trained: Path, tmp_path: Path, moved: tuple[str, ...], drifted: bool
) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    now = TRAINED + 3 * DAY
    s = comes(tmp_path / "copy", now, values(21, 3, moved))
    s.predict(now)
    drift = s.drift(as_of=now + HOUR)
    found = {each.role: each for each in drift.variables}
    assert (drift.reason, found["target"].drifted) == (None, drifted), found["target"]
    assert found["target"].reference["mean"] == pytest.approx(0, abs=0.01)
    assert found["target"].reference["unit"] == found["prediction"].current["unit"]
    assert abs(found["prediction"].reference["mean"]) < 1  # in the same units, not in megawatts
