"""Rows that are set apart in parts are what they are as a whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.commands import ENERGY, HEADER, headrace

from headrace import Column, Contract
from headrace.contract import check, quarantine
from headrace.home import QUARANTINE
from headrace.pipelines import ingest
from headrace.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = Contract(columns=(Column("a", "category"), Column("x", "float", minimum=3, maximum=7)))
ROWS = pl.DataFrame({"a": ["p", "q", None, "p", "p"] * 7, "x": [n % 9 / 1.0 for n in range(30)] + [0.0] * 5})


@pytest.mark.parametrize("size", [1, 2, 7, 34])
def test_ids_and_reasons_do_not_depend_on_the_parts(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = check(RULES, ROWS, as_of=NOW, now=NOW).bad
    assert whole["id"].is_unique().all()
    assert whole["row"].is_duplicated().any()
    monkeypatch.setattr(quarantine, "_AT_ONCE", size)
    assert check(RULES, ROWS, as_of=NOW, now=NOW).bad.equals(whole)


def test_what_is_filed_in_several_commits_is_filed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"2023-01-{n % 28 + 1:02}T0{n % 7}:00:00Z,DK1,{n},-{n}" for n in range(60)]
    (tmp_path / "bad.csv").write_text("\n".join([HEADER, *lines, ",DK1,1,3", ",DK2,1,4"]) + "\n")
    options = ("--source", f"file:{tmp_path / 'bad.csv'}", "--as-of", "2023-03-01T00:00:00Z", "--json")

    def filed(home: str) -> pl.DataFrame:
        for _ in range(2):
            assert headrace("ingest", ENERGY, "--home", tmp_path / home, *options).code == 3
        table = Store(tmp_path / home / "store").table("energy", QUARANTINE)
        return table.collect(table.scan()).drop("_version").sort("id")

    whole = filed("one")
    assert whole.height == 62
    monkeypatch.setattr(ingest, "_FILED_AT_ONCE", 11)
    assert filed("many").equals(whole)
