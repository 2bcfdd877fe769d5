"""A learning curve is made from the pins of a version, once, and kept beside its card."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import headrace as hr
from headrace import Column, Contract, Linear, Regressor, System
from headrace.errors import ArtefactError, UsageError
from headrace.features import col
from headrace.pipelines import learning_curves

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def house(model: object) -> System:
    columns = (
        Column("id", "integer"),
        Column("y", "float", nullable=True),
        Column("size", "float"),
    )
    return System(
        name="house",
        contract=Contract(columns=columns),
        keys=("id",),
        target="y",
        features={"size": col("size")},
        model=model,
    )


def test_a_curve_is_made_from_the_pins_and_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    size = random.uniform(1, 10, 240)
    rows = pl.DataFrame({"id": range(240), "y": 3 * size + random.normal(size=240), "size": size})
    rows.write_csv(tmp_path / "rows.csv")
    model = Regressor(members=(Linear(),), repeats=1, folds=2)
    home = hr.open(tmp_path / "home", clock=lambda: NOW, quiet=True)
    system = home.system(house(model))
    system.run(source=f"file:{tmp_path / 'rows.csv'}")
    assert system.card().as_dict()["learning_curve"] is None
    copied = Path(shutil.copytree(tmp_path / "home", tmp_path / "copied"))
    curve = system.learning_curve()
    assert [point.count for point in curve.points] == [24, 48, 96, 192]
    assert (curve.judged, curve.judged_unit, curve.measure) == (48, "rows", "rmse")
    assert curve.points[-1].error < 2
    assert "## Learning curve" in system.card(1).markdown()
    # It is made from the pins: what came since changes nothing.
    again = hr.open(copied, clock=lambda: NOW, quiet=True)
    rows.with_columns(pl.col("y") * 5).write_csv(tmp_path / "rows.csv")
    again.system(house(model)).ingest(source=f"file:{tmp_path / 'rows.csv'}")
    with pytest.raises(UsageError, match=r"another declaration \(model\)"):
        again.system(house(Regressor(members=(Linear(C=2.0),), repeats=1, folds=2))).learning_curve()
    assert again.system(house(model)).learning_curve() == curve


def test_a_curve_that_was_changed_is_refused() -> None:
    row = {"document": '{"measure": "rmse"}', "digest": "0" * 64}
    version = SimpleNamespace(system="house", version=1)
    with pytest.raises(ArtefactError, match="differs from its digest"):
        learning_curves._read(row, version)  # type: ignore[arg-type]
