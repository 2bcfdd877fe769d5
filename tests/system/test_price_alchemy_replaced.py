"""What the replaced system got wrong cannot happen here; and a listing has one price, wherever it lies."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.commands import headrace
from tests.servers import PRICES, PRICES_SMALL

from headrace.features.expression import CompileTarget
from headrace.home import PREDICTIONS, RAW, Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.sources import simulated
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.predictor import RowPredictor
from headrace.tasks.rows.training import fit

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
SMALL = [word for word in PRICES_SMALL if word != "--set"]


@pytest.fixture(scope="module")
def listed() -> pl.DataFrame:
    rows = simulated.listings(as_of=AS_OF - timedelta(days=2), rows=300, unsold=0, zero=0).drop("known_at")
    return rows.with_columns(train_id=pl.int_range(pl.len()))


@pytest.fixture(scope="module")
def model(listed: pl.DataFrame) -> RowModel:
    return fit(load_system(PRICES, SMALL), listed).model


def ran(command: str, home: Path, *arguments: object) -> Any:
    return headrace(command, PRICES, "--home", home, "--json", *PRICES_SMALL, "--as-of", AS_OF.isoformat(), *arguments)


def home_of(folder: Path) -> Home:
    return Home(Settings(home=folder))


def written(folder: Path, rows: pl.DataFrame) -> str:
    rows.write_csv(folder / "rows.tsv", separator="\t")
    return f"file:{folder / 'rows.tsv'}"


def test_a_missing_brand_is_the_same_in_training_and_when_it_is_asked(model: RowModel, listed: pl.DataFrame) -> None:
    without = listed.filter(pl.col("brand_name").is_null())
    assert without.height > 50
    table = model.features.over(without, CompileTarget())
    assert table["brand"].unique().to_list() == ["unbranded"]
    row = without.row(0, named=True)
    asked = dict(zip(model.row.names, model.row.call(row), strict=True))
    assert asked["brand"] == "unbranded"
    assert asked["of_brand"] == table["of_brand"][0]
    assert model.answer(row)["price"] == model.numbers(without.head(1))[0, 0]


def test_the_model_that_is_served_is_fitted_on_all_rows(model: RowModel, listed: pl.DataFrame) -> None:
    (by_top,) = [means for name, means in model.encoder.groups.items() if name == "of_category"]
    counted = {key: count for key, (_, count) in by_top.sums[0].items()}
    assert sum(counted.values()) == listed["category_name"].drop_nulls().len()


def test_no_file_is_served_for_being_the_newest(tmp_path: Path, listed: pl.DataFrame) -> None:
    home = tmp_path / "home"
    assert ran("run", home, "--source", written(tmp_path, listed)).code == 0
    registry = home_of(home).registry
    first = registry.champion("price_alchemy")
    worse = ("--set", "model.members=[{kind: linear, C: 0.000001}]", "--set", "model.notes={}")
    later = (AS_OF + timedelta(days=1)).isoformat()
    assert headrace("train", PRICES, "--home", home, "--json", *PRICES_SMALL, *worse, "--as-of", later).code == 0
    assert [version.version for version in registry.versions("price_alchemy")] == [1, 2]
    for path in home.rglob("*"):
        if path.is_file() and "artefacts" in str(path):
            os.utime(path)
    assert registry.champion("price_alchemy") == first
    assert RowPredictor.load(registry.fetch(registry.champion("price_alchemy"))).model.names == ("0_linear",)


def test_nothing_is_trained_on_a_batch_that_is_refused(tmp_path: Path, listed: pl.DataFrame) -> None:
    cents = listed.with_columns(pl.col("price").clip(upper_bound=25) * 100)
    told = ran("run", tmp_path / "home", "--source", written(tmp_path, cents))
    assert (told.code, told.json["error"]) == (3, "ContractBroken")
    assert "price: the geometric mean is" in told.json["message"]
    home = home_of(tmp_path / "home")
    assert not home.registry.versions("price_alchemy")
    assert not home.table("price_alchemy", RAW).exists()


def test_a_small_healthy_batch_passes_though_nothing_is_dear(tmp_path: Path, listed: pl.DataFrame) -> None:
    few = listed.filter(pl.col("price") < 100).head(40)
    told = ran("ingest", tmp_path / "home", "--source", written(tmp_path, few))
    assert (told.code, told.json["ingested"]) == (0, 40), told.err
    report = json.loads((tmp_path / "home" / "reports" / "price_alchemy" / "validation.json").read_text())
    assert [finding for finding in report["findings"] if not finding["passed"]] == []


def test_a_query_that_fails_or_finds_nothing_is_told_and_trains_nothing(tmp_path: Path, listed: pl.DataFrame) -> None:
    database = tmp_path / "shop.sqlite"
    with sqlite3.connect(database) as connection:
        connection.execute("create table listings (train_id integer, name text)")
    home = tmp_path / "home"
    for query, code, error in (
        ("select nothing from nowhere", 1, "SourceError"),
        ("select * from listings", 3, "ContractBroken"),
    ):
        told = ran("run", home, "--source", f"sqlite:{database}", "--set", f"source.query={query}")
        assert (told.code, told.json["error"]) == (code, error), told.err
    assert not home_of(home).registry.versions("price_alchemy")


def predicted(home: Path, source: str, *settings: str) -> list[dict[str, Any]]:
    more = [word for each in settings for word in ("--set", each)]
    told = ran("run", home, "--source", source, *more)
    assert told.code == 0, told.err
    table = home_of(home).table("price_alchemy", PREDICTIONS)
    rows = table.collect(table.scan()).sort("train_id")
    return rows.select("train_id", "price", "lower", "upper").to_dicts()


@pytest.fixture(scope="module")
def some_unpriced(listed: pl.DataFrame) -> pl.DataFrame:
    return listed.with_columns(pl.when(pl.col("train_id") < 280).then("price"))


@pytest.fixture(scope="module")
def from_file(some_unpriced: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("file")
    answers = predicted(folder / "home", written(folder, some_unpriced))
    assert len(answers) == 20
    return answers


def test_duckdb_gives_the_same_prices(tmp_path: Path, some_unpriced: pl.DataFrame, from_file: list[Any]) -> None:
    duckdb = pytest.importorskip("duckdb")
    some_unpriced.write_parquet(tmp_path / "rows.parquet")
    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.execute(f"create table listings as select * from '{tmp_path / 'rows.parquet'}'")
    source = f"duckdb:{tmp_path / 'shop.duckdb'}"
    assert predicted(tmp_path / "home", source, "source.table=listings") == from_file


def test_postgresql_gives_the_same_prices(
    postgres_database: str, tmp_path: Path, some_unpriced: pl.DataFrame, from_file: list[Any]
) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(
            "create table listings (train_id bigint, name text, item_condition_id int, category_name text,"
            " brand_name text, price double precision, shipping smallint, item_description text)"
        )
        with connection.cursor().copy("copy listings from stdin") as copy:
            for row in some_unpriced.iter_rows():
                copy.write_row(row)
    assert predicted(tmp_path / "home", postgres_database.replace(":sesame", ""), "source.table=listings") == from_file
