"""A source read in parts leaves what it leaves when it is read as a whole."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.commands import ENERGY

import headrace.sources.consumption as consumption
from headrace.errors import ContractBroken
from headrace.home import QUARANTINE, RAW, Home
from headrace.loading import load_system
from headrace.pipelines import ingest
from headrace.settings import Settings

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PARTED, WHOLE = 1, 10**9


def stored(home: Home, as_of: datetime, bad: float = 0.02) -> ingest.Validated:
    system = load_system(str(ENERGY))
    uri = f"simulated:?series=3&days=12&corrections=0.2&bad={bad}"
    records = ingest.read(system, home, source=uri, as_of=as_of, now=NOW)
    return ingest.validate(system, home, records, as_of=as_of, now=NOW)


def rows(home: Home, name: str) -> pl.DataFrame:
    table = home.table("energy", name)
    return table.collect(table.scan()).sort(pl.all())


def test_parts_leave_what_the_whole_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (Home(Settings(home=tmp_path / name)) for name in ("parted", "whole"))
    for hours in (0, 1, 30):
        said = []
        for home, size in ((one, PARTED), (two, WHOLE)):
            monkeypatch.setattr(consumption, "_BLOCK", size)
            done = stored(home, FIRST + timedelta(hours=hours))
            report = json.loads((home.reports("energy") / "validation.json").read_text())
            said.append((done.added, done.version, done.validation.bad.height, report))
        assert said[0] == said[1]
        assert said[0][0]
    for name in (RAW, QUARANTINE):
        assert rows(one, name).equals(rows(two, name))
        assert rows(one, name).height


def test_a_broken_contract_is_found_in_the_last_part_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumption, "_BLOCK", PARTED)
    home = Home(Settings(home=tmp_path))
    with pytest.raises(ContractBroken):
        stored(home, FIRST, bad=0.3)
    assert not home.table("energy", RAW).exists()
    assert rows(home, QUARANTINE).height
