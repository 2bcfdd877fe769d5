"""The same rows of a file and of databases are the same facts, with the same predictions, which go back to a table."""

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.commands import headrace
from tests.databases import DuckDBDatabase, PostgreSQLDatabase, SQLiteDatabase

from headrace.home import Home
from headrace.settings import Settings
from headrace.sources import simulated

TITANIC = str(Path(__file__).resolve().parents[3] / "systems" / "titanic")
AS_OF = "2026-03-01T00:00:00Z"
COLUMNS = {
    "PassengerId": "integer",
    "Survived": "integer",
    "Pclass": "integer",
    "Name": "text",
    "Sex": "text",
    "Age": "float",
    "SibSp": "integer",
    "Parch": "integer",
    "Ticket": "text",
    "Fare": "float",
    "Cabin": "text",
    "Embarked": "text",
}


@pytest.fixture(scope="module")
def passengers(tmp_path_factory):
    """A file of passengers, of whom the last wait for a prediction."""
    frame = simulated.passengers(as_of=datetime(2026, 3, 1, tzinfo=UTC)).select(*COLUMNS).sort("PassengerId")[:400]
    waits = pl.int_range(pl.len()) >= 360
    path = tmp_path_factory.mktemp("passengers") / "passengers.csv"
    frame.with_columns(pl.when(~waits).then("Survived").alias("Survived")).write_csv(path)
    return path


def filled(database, path):
    """The rows of the file in a table, with the database's own types."""
    columns = ", ".join(f'"{name}" {database.kinds[kind]}' for name, kind in COLUMNS.items())
    rows = pl.read_csv(path, infer_schema_length=None).select(*COLUMNS).rows()
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    database.write(f"CREATE TABLE passengers ({columns})", f"INSERT INTO passengers VALUES {values}")
    return database


def literal(value):
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def run(command, folder, uri):
    table = [] if uri.startswith("file:") else ["--set", "source.table=passengers"]
    small = ["--set", "schedule.train=7d", "--set", "schedule.predict=1d"]
    place = ["--home", folder, "--source", uri, "--as-of", AS_OF, "--simulated"]
    done = headrace(command, TITANIC, *place, *small, *table, "--json")
    assert done.code == 0, done.err + done.out
    return done.json


def told(folder):
    """What is stored, and what was predicted."""
    home = Home(Settings(home=folder))
    raw, predictions = (home.table("titanic", name) for name in ("raw", "predictions"))
    facts = raw.collect(raw.scan()).sort("PassengerId").drop("_version", "_commit", strict=False)
    answers = predictions.collect(predictions.scan()).sort("PassengerId")
    return facts, answers.select("PassengerId", "probability", "model_version")


def test_a_file_and_three_databases_say_the_same(passengers, postgres_database, tmp_path, monkeypatch):
    server, _, _ = postgres_database.rpartition("/")
    postgres = PostgreSQLDatabase(server)
    monkeypatch.setitem(os.environ, "PGPASSWORD", postgres.password)
    databases = [filled(made, passengers) for made in (SQLiteDatabase(tmp_path), DuckDBDatabase(tmp_path), postgres)]
    outcomes = []
    for place, uri in enumerate([f"file:{passengers}", *(database.uri for database in databases)]):
        run("train", tmp_path / f"home{place}", uri)
        run("predict", tmp_path / f"home{place}", uri)
        outcomes.append(told(tmp_path / f"home{place}"))
    facts, answers = outcomes[0]
    assert (facts.height, answers.height) == (400, 40)
    for other_facts, other_answers in outcomes[1:]:
        assert other_facts.drop("source", strict=False).equals(facts.drop("source", strict=False))
        assert other_answers.equals(answers)
    (tmp_path / "done").mkdir()
    for target in (f"{postgres.owner}/survival", f"duckdb:///{tmp_path}/done/out.duckdb?table=survival"):
        for passed in (40, 0):
            done = headrace("sink", TITANIC, "--home", tmp_path / "home3", "--to", target, "--json")
            assert done.code == 0, done.err + done.out
            assert done.json["passed"] == passed
