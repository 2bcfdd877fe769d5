"""Five systems as people write them in an afternoon, each on real data through all that headrace does with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.commands import headrace
from tests.servers import serving

from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.tasks.forecast.inference import read_predictions

FOLDER = Path(__file__).resolve().parents[1] / "afternoon"
STEEL = "steel_industry/Steel_industry_data.csv.gz"
WHEN = {"data_version", "run_id", "created_at"}
"""What a backfill and a live run may say differently: when they were made, and from which state of the tables."""

ROWS: dict[str, tuple[str, str, int, int]] = {
    "loads": (STEEL, "Load_Type", 900, 200),
    "energy_use": (STEEL, "Usage_kWh", 900, 200),
    "prices": ("flipkart_products/flipkart_products.csv.gz", "discounted_price", 1200, 300),
}
UNKNOWN = 40
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
SERIES = {
    "bikes": ("bike_sharing/hour.csv.gz", "2012-06-13T04:00:00+00:00", 1, "Washington"),
    "shop": ("online_retail/OnlineRetail_sample.csv.gz", "2011-06-20T00:00:00+01:00", 4, "home"),
}
"""Its data, the first run, how many days from one to the next, and a series."""
PART = {
    "bikes": pl.col("instant").cast(pl.Int64).is_between(9_000, 12_700),
    "shop": pl.col("InvoiceDate") < "2011-07-01",
}
"""The part of the data that is used: 150 days of hours, and the lines of seven months."""


def does(home: Path, command: str, *arguments: object) -> Any:
    """The JSON of a command that succeeds."""
    ran = headrace(command, *arguments, "--home", home, "--json")
    assert ran.code == 0, ran.err
    return ran.json


def cut(path: Path, target: str, trained: int, later: int, folder: Path) -> dict[str, pl.DataFrame]:
    """Rows to learn from and others without a target; these with it; and more for a test. Each as a file of its own."""
    rows = pl.read_csv(path, infer_schema=False).filter(pl.col(target).is_not_null())
    rows = rows.sample(trained + UNKNOWN + later, shuffle=True, seed=3).with_row_index("place")
    hidden = pl.when(pl.col("place") < trained).then(pl.col(target)).alias(target)
    parts = {
        "first": rows.head(trained + UNKNOWN).with_columns(hidden),
        "truth": rows.slice(trained, UNKNOWN),
        "test": rows.slice(trained + UNKNOWN),
    }
    parts = {name: part.drop("place") for name, part in parts.items()}
    for name, part in parts.items():
        part.write_csv(folder / f"{name}.csv")
    return parts


def posted(system: Any, row: dict[str, Any], key: str) -> dict[str, Any]:
    """A row as a client posts it, by the names and types of the contract and without a target."""
    source = {name: system.source.columns.get(name, name) for name in system.contract.names}
    kinds = {column.name: column.type for column in system.contract.columns}
    read = {"float": float, "integer": int, "boolean": bool}
    return {
        name: read.get(kinds[name], str)(row[source[name]])
        for name in source
        if name != system.target and row.get(source[name]) is not None
    } | {system.keys[0]: key}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "prices" else name for name in ROWS]
)
def test_a_system_of_rows(name: str, shared_data: Any, tmp_path: Path) -> None:
    data, target, trained, later = ROWS[name]
    parts = cut(shared_data(data), target, trained, later, tmp_path)
    folder, home = str(FOLDER / name), tmp_path / "home"
    system = load_system(folder)
    ran = does(home, "run", folder, "--source", f"file:{tmp_path / 'first.csv'}")
    assert ran["ingested"] == trained + UNKNOWN
    assert ran["predictions"] == UNKNOWN, "rows without a target are predicted"
    assert ran["model"]["promoted"]
    assert ran["model"]["verdict"]["better"]

    stored = does(home, "predictions", folder)
    assert len({row["id"] for row in stored}) == UNKNOWN
    if name == "energy_use":
        assert all(row["lower"] <= row["kwh"] <= row["upper"] for row in stored)
    assert all(does(home, "replay", row["id"])["identical"] for row in stored[:3])

    prepared = parts["truth"].with_columns(rated=pl.lit(value=False))
    asked = [posted(system, row, f"asked {place}") for place, row in enumerate(prepared.head(3).to_dicts())]
    with serving(home, systems=(folder,)) as server:
        answers = server.post(asked, f"/v1/systems/{name}/predict")
        assert answers.status_code == 200, answers.text
        again = server.post(asked[0], f"/v1/systems/{name}/predict").json()
    first = answers.json()["predictions"][0]
    assert again["id"] == first["id"], "the same key and row is one prediction"
    assert does(home, "replay", first["id"])["identical"]

    scores = does(home, "evaluate", folder, "--data", tmp_path / "test.csv")
    measure = "log_loss" if name == "loads" else "rmsle" if name == "prices" else "rmse"
    assert scores["rows"] == later
    assert scores["metrics"][measure] < min(each[measure] for each in scores["baselines"].values())
    does(home, "ingest", folder, "--source", f"file:{tmp_path / 'truth.csv'}")
    monitored = does(home, "monitor", folder)
    assert monitored["matured"] == UNKNOWN
    assert monitored["metrics"][measure] < scores["baselines"][next(iter(scores["baselines"]))][measure]
    refused = headrace("backfill", folder, "--home", home, *between(JUNE, JUNE + timedelta(days=1), "1d"))
    assert refused.code == 2
    assert "scores rows" in refused.err


def between(start: datetime, end: datetime, every: str) -> tuple[str, ...]:
    """The arguments of a span of time."""
    return "--start", start.isoformat(), "--end", end.isoformat(), "--every", every


def frame_of(folder: str, home: Path) -> pl.DataFrame:
    """The stored predictions in order, without what says when they were made."""
    system = load_system(folder)
    return read_predictions(system, Home(Settings(home=home))).drop(WHEN).sort("as_of", *system.keys, system.time)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "shop" else name for name in SERIES]
)
def test_a_system_of_series(name: str, shared_data: Any, tmp_path: Path) -> None:
    data, begin, days, key = SERIES[name]
    pl.read_csv(shared_data(data), infer_schema=False).filter(PART[name]).write_csv(tmp_path / "part.csv")
    source, folder, start = f"file:{tmp_path / 'part.csv'}", str(FOLDER / name), datetime.fromisoformat(begin)
    live, filled, every = tmp_path / "live", tmp_path / "filled", timedelta(days=days)
    times = [start, start + every, start + 2 * every]
    runs = [does(live, "run", folder, "--source", source, "--as-of", time.isoformat()) for time in times]
    assert [run["trained"] for run in runs] == [True, False, False]
    assert all(run["predictions"] for run in runs)
    assert {run["quarantined"] for run in runs} == {0}
    assert runs[-1]["matured"] > 0
    assert runs[-1]["metrics"]["wape"] > 0
    assert does(live, "monitor", folder, "--as-of", times[-1].isoformat())["metrics"] == runs[-1]["metrics"]

    backfill = does(
        filled, "backfill", folder, "--source", source, "--workers", 2, *between(start, times[-1], f"{days}d")
    )
    assert (backfill["runs"], backfill["failed"]) == (3, [])
    frame = frame_of(folder, live)
    assert_frame_equal(frame_of(folder, filled), frame)
    assert frame.height == sum(run["predictions"] for run in runs)
    assert (frame["lower"] <= frame["value"]).all()
    assert (frame["value"] <= frame["upper"]).all()
    for home in (live, filled):
        assert all(does(home, "replay", id_)["identical"] for id_ in frame["id"].gather([0, -1]))

    system = load_system(folder)
    with serving(live, systems=(folder,)) as server:
        answer = server.get(f"/v1/systems/{name}/predictions", params={system.keys[0]: key}).json()
    newest = frame.filter(pl.col("as_of") == times[-1], pl.col(system.keys[0]) == key)
    served = answer["predictions"][-newest.height :]
    assert [(row["id"], row["value"]) for row in served] == newest.select("id", "value").rows()

    scores = does(live, "evaluate", folder, *between(start - 8 * every, start, f"{days}d"))
    assert scores["origins"] == 9
    assert scores["metrics"]["wape"] < min(baseline["wape"] for baseline in scores["baselines"].values())


def test_each_declaration_is_short() -> None:
    lines = {name: len((FOLDER / name / "system.py").read_text().splitlines()) for name in (*ROWS, *SERIES)}
    assert max(lines.values()) < 60, lines
