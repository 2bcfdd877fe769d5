"""Systems that score rows by keys of every type: batch, request, export, truth, replay."""

from __future__ import annotations

import csv
import json
import random
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.commands import headrace
from tests.effort import THOROUGH
from tests.servers import serving

import headrace as hr

SYSTEM = """
from headrace import Classifier, Column, Contract, Linear, Schedule, Source, System
from headrace.features import col

system = System(
    name="shop",
    source=Source(),
    contract=Contract(
        columns=({keys}, Column("x", "float"), Column("bought", "integer", values=(0, 1), nullable=True)),
    ),
    keys={names},
    target="bought",
    features={{"x": col("x")}},
    model=Classifier(members=(Linear(),), folds=2, repeats=1),
    schedule=Schedule(predict="never", train="never"),
)
"""
ROWS = 120
COLUMN_NAMES = ["x", "order", "bought", "known_at", "_version", "a,b", 'q"q', "new\nline", "ünï", " lead", "%41", "*"]
ORDERS: dict[str, list[Any]] = {
    "text": [*COLUMN_NAMES, *(f"ord-{n:04}" for n in range(ROWS))],
    "category": [f"{n:08x}-0000-4000-8000-{'f' * 90}{n}" for n in range(ROWS)],
    "integer": [-5, 0, 2**53 + 1, *range(1, ROWS)],
    "float": [-1.5, 0.0, 1e300, *(n / 7 for n in range(1, ROWS))],
    "time": [f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(ROWS)],
}


def declare(folder: Path, columns: dict[str, str]) -> str:
    """A system with these key columns, name to type; with ``?`` behind it the key may be missing."""
    folder.mkdir()
    keys = ", ".join(
        f'Column("{name}", "{kind.rstrip("?")}", nullable={kind.endswith("?")})' for name, kind in columns.items()
    )
    (folder / "system.py").write_text(SYSTEM.format(keys=keys, names=repr(tuple(columns))), encoding="utf-8")
    return str(folder)


def rows_of(keys: list[tuple[Any, ...]], truth: bool) -> list[list[Any]]:
    """Rows by key; each eighth has no target, unless all are to have one."""
    chance = random.Random(1)
    found = []
    for n, key in enumerate(keys):
        x = round(chance.random(), 3)
        found.append([*key, x, "" if n % 8 == 0 and not truth else int(x > 0.5)])
    return found


def write(path: Path, names: list[str], rows: list[list[Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*names, "x", "bought"], *rows])
    return f"file:{path}"


def kept(name: str) -> str:
    """The name under which a key stands in answers."""
    return name


def goes_round(folder: Path, columns: dict[str, str], keys: list[tuple[Any, ...]], posted: dict[str, Any]) -> None:
    """The whole way of some rows and of one more that is posted: every step twice, nothing doubled or lost."""
    system, home = declare(folder / "shop", columns), folder / "home"
    uri = write(folder / "rows.csv", list(columns), rows_of(keys, truth=False))
    asked = len(keys[::8])
    for ingested in (len(keys), 0):
        done = headrace("run", system, "--home", home, "--json", "--source", uri)
        assert done.code == 0, done.err
        assert (done.json["ingested"], done.json["predictions"]) == (ingested, asked)
    with serving(home, systems=(system,)) as server:
        path, row = f"{server.url}/v1/systems/shop/predict", posted | {"x": 0.7}
        first, again = (httpx.post(path, json=row).json() for _ in range(2))
        assert first == again
        assert httpx.post(path, json=row | {"x": 0.1}).status_code == 409
        many = httpx.post(path, json=[row]).json()["predictions"]
        assert [each["id"] for each in many] == [first["id"]]
    for added in (1, 0):
        assert headrace("export", system, "--home", home, "--json").json["exported"] == added
    truth = write(folder / "truth.csv", list(columns), rows_of(keys, truth=True))
    later = headrace("run", system, "--home", home, "--json", "--source", truth)
    assert later.code == 0, later.err
    assert later.json["ingested"] == asked
    assert later.json["matured"] == asked
    rows = headrace("predictions", system, "--home", home, "--json").json
    assert len(rows) == asked + 1
    assert len({json.dumps([row[kept(name)] for name in columns]) for row in rows}) == asked + 1
    for row in (*rows[:3], *rows[-2:]):
        assert headrace("replay", row["id"], "--home", home, "--json").json["identical"]
        assert headrace("trace", row["id"], "--home", home).code == 0


@pytest.mark.parametrize("kind", ORDERS if THOROUGH else ("text", "time"))
def test_rows_by_one_key_of_any_type(kind, tmp_path):
    posted = {"text": "one more", "category": "one more", "integer": 7_000, "float": 7000.5}
    keys = [(value,) for value in ORDERS[kind]]
    goes_round(tmp_path, {"order": kind}, keys, {"order": posted.get(kind, "2027-01-01T00:00:00Z")})


def test_rows_by_several_keys_some_of_them_missing(tmp_path):
    keys = [(text, n % 2 == 0, n) for n, text in enumerate(["", "y", "order"] * (ROWS // 3))]
    columns = {"order": "category?", "gift": "boolean", "line": "integer"}
    goes_round(tmp_path, columns, keys, {"order": None, "gift": True, "line": 1})


def test_a_repeated_run_gives_the_predictions_as_they_are_stored(tmp_path):
    rows = rows_of([(n,) for n in range(ROWS)], truth=False)
    uri = write(tmp_path / "rows.csv", ["line"], rows)
    system = hr.open(tmp_path / "home", quiet=True).system(declare(tmp_path / "shop", {"line": "integer"}))
    first = system.run(source=uri).predictions
    assert system.run(source=uri).predictions.equals(first)
    rows[8][1] += 1  # of the second that is predicted
    third = system.run(source=write(tmp_path / "rows.csv", ["line"], rows)).predictions
    assert third["line"].to_list() == first["line"].to_list()
    assert [row for row, (id_, old) in enumerate(zip(third["id"], first["id"], strict=True)) if id_ != old] == [1]
    assert {system.trace(id_)["system"] for id_ in third["id"]} == {"shop"}
    told = headrace("run", str(tmp_path / "shop"), "--home", tmp_path / "home", "--source", uri).out
    assert re.search(r"headrace trace (\S+)", told)[1] in first["id"]


def test_a_row_needs_one_key_that_is_always_there(tmp_path):
    system = declare(tmp_path / "shop", {"order": "text?", "line": "integer?"})
    done = headrace("ingest", system, "--home", tmp_path / "home", "--source", "file:rows.csv")
    assert done.code == 2
    assert "one key at least must never be missing" in done.err
