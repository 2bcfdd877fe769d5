"""Predictions of rows are judged by targets that became known after them, and by no others."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import polars as pl
import pytest

from headrace import Classifier, Column, Contract, Linear, Schedule, Source, System
from headrace.features import col
from headrace.flow.run import Request, run
from headrace.home import Home
from headrace.ledger import Entry
from headrace.lineage import PINNED
from headrace.settings import Settings

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
SYSTEM = System(
    name="coins",
    source=Source(uri="file:coins.parquet"),
    contract=Contract(
        columns=(
            Column("coin", "integer"),
            Column("weight", "float"),
            Column("heads", "integer", values=(0, 1), nullable=True),
        )
    ),
    keys=("coin",),
    target="heads",
    features={"weight": col("weight")},
    model=Classifier(members=(Linear(),), repeats=1),
    schedule=Schedule(predict="never", train="never"),
)


def coins(folder, unknown):
    """60 coins, the heavy half heads; the targets of some are not known yet."""
    frame = pl.DataFrame({"coin": range(60), "weight": [float(n % 7 + 10 * (n % 2)) for n in range(60)]})
    heads = [None if n in unknown else n % 2 for n in range(60)]
    frame.with_columns(pl.Series("heads", heads, dtype=pl.Int64)).write_parquet(folder / "coins.parquet")
    return f"file:{folder / 'coins.parquet'}"


def test_only_a_target_that_came_later_counts(tmp_path):
    home = Home(Settings(home=tmp_path / "home"))
    first = run(SYSTEM, home, Request(FIRST, FIRST, coins(tmp_path, range(50, 60))))
    assert (first.scored.height, first.monitored.matured) == (10, 0)
    # Somebody posts a coin that was trained on: the prediction is logged, and proves nothing.
    pins = home.ledger.pin({name: getattr(first.pins, name) for name in PINNED})
    said = b'{"id": "i", "key": 0, "heads": 1, "probability": 0.9}'
    asked = FIRST + timedelta(hours=1)
    home.ledger.write([Entry("coins", "[0]", str(uuid4()), "d", b'{"coin":0,"weight":0.0}', said, pins, 1, asked)])
    later = FIRST + timedelta(days=1)
    second = run(SYSTEM, home, Request(later, later, coins(tmp_path, range(54, 60))))
    assert second.monitored.matured == 4
    assert second.monitored.completeness == {"predictions": 11, "matured": 4}
    assert second.monitored.overall["accuracy"] == pytest.approx(1.0)
    assert second.monitored.overall["log_loss"] < 0.5
