"""A truth that arrived stays, whatever file or query without it is read again."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from tests.worlds.flow import NOW, last, system_of

from headrace import Column, Contract, Linear, Regressor, Source, System
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.pipelines.ingest import validate
from headrace.settings import Settings
from headrace.sources import Records

HEADER = "house,price,size"
EMPTY, TRUE = ("1,,10", "2,8,20"), ("1,5,10", "2,8,20")


def houses(**source: object) -> System:
    return System(
        name="houses",
        source=Source(**source),
        contract=Contract(
            columns=(
                Column("house", "integer"),
                Column("price", "float", nullable=True),
                Column("size", "float"),
            )
        ),
        keys=("house",),
        target="price",
        features={"size": col("size")},
        model=Regressor(members=(Linear(),)),
    )


class Door:
    """Ingests rows of houses from a file or a table of SQLite, an hour later each time."""

    def __init__(self, folder: Path, kind: str, **source: object) -> None:
        self.folder, self.kind, self.times = folder, kind, 0
        query = {"query": "SELECT * FROM houses"} if kind == "sqlite" else {}
        self.system, self.home = houses(**query, **source), Home(Settings(home=folder / "home"))

    def __call__(self, *rows: str) -> dict[str, int]:
        path = self.folder / f"houses.{self.kind}"
        if self.kind == "sqlite":
            with sqlite3.connect(path) as database:
                database.execute("DROP TABLE IF EXISTS houses")
                database.execute("CREATE TABLE houses (house INTEGER, price REAL, size REAL)")
                values = [[float(v) if v else None for v in row.split(",")] for row in rows]
                database.executemany("INSERT INTO houses VALUES (?, ?, ?)", values)
        else:
            path.write_text("\n".join([HEADER, *rows]) + "\n")
        self.times += 1
        scheme = "sqlite" if self.kind == "sqlite" else "file"
        as_of = last() + timedelta(hours=self.times)
        done = run(self.system, self.home, RunRequest(as_of, NOW, f"{scheme}:{path}", ("ingest", "validate")))
        assert done.rows["read"] == sum(done.rows.values()) - done.rows["read"]
        return dict(done.rows)

    def known(self, after: int) -> list[tuple[int, float | None, float]]:
        """What was known after so many ingests."""
        as_of = last() + timedelta(hours=after)
        return (
            self.home.raw(self.system).read(identity=["house"], columns=["house", "price", "size"], as_of=as_of).rows()
        )


@pytest.mark.parametrize("kind", ["csv", "sqlite"])
def test_an_old_file_that_is_read_again(tmp_path: Path, kind: str) -> None:
    door = Door(tmp_path, kind)
    assert door(*EMPTY)["ingested"] == 2
    assert door(*TRUE)["ingested"] == 1
    again = door(*EMPTY)
    assert (again["ingested"], again["repeated"]) == (0, 2)
    assert door("1,,11", "2,,20")["ingested"] == 1
    assert door.known(1) == [(1, None, 10.0), (2, 8.0, 20.0)]
    assert door.known(3) == [(1, 5.0, 10.0), (2, 8.0, 20.0)]
    assert door.known(4) == [(1, 5.0, 11.0), (2, 8.0, 20.0)]


def test_a_source_that_takes_truths_back(tmp_path: Path) -> None:
    door = Door(tmp_path, "csv", retracts=True)
    door(*TRUE)
    assert door(*EMPTY)["ingested"] == 1
    assert door.known(2) == [(1, None, 10.0), (2, 8.0, 20.0)]


def reading(load: str, known: str) -> str:
    return f"p0,2026-01-01T01:00:00Z,{load},5,2026-01-01T{known}:00Z"


@pytest.mark.parametrize("door", ["file", "stream"])
def test_readings_in_any_order(tmp_path: Path, door: str) -> None:
    """Readings that say when they became known: an empty one may come before, with or after the truth."""
    told = [reading("", "02:00"), reading("7", "02:00"), reading("", "03:00")]
    for place, order in enumerate(permutations(told)):
        system, home = system_of(), Home(Settings(home=tmp_path / str(place)))
        for row in (*order, *order):
            names = ("place", "time", "load", "warmth", "known_at")
            values = [[value or None] for value in row.split(",")]
            frame = pl.DataFrame(dict(zip(names, values, strict=True)))
            frame = frame.with_columns(pl.col("load", "warmth").cast(pl.Float64))
            records = Records(frame, "kafka:x" if door == "stream" else "rows.csv", streamed=door == "stream")
            assert validate(system, home, records, as_of=last(), now=NOW).validation.bad.height == 0
        table = home.raw(system)
        assert table.read(identity=["place", "time"])["load"].to_list() == [7.0]
        assert table.read(identity=["place", "time"], as_of=last())["load"].to_list() == [7.0]
