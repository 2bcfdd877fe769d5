"""The whole command line with a home, a store and a source file on paths that URLs and patterns read otherwise."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.commands import AS_OF, ENERGY, SMALL, energy, headrace, rows, write
from tests.effort import THOROUGH
from tests.servers import serving

PLACES = ["my hömé 100%", "a%20b#c?d=e", "[ab]*{c}\n'\"\\"]
if not THOROUGH:
    PLACES = ["".join(PLACES)]


@pytest.mark.parametrize("name", PLACES)
def test_every_command_works_and_works_again_in_a_home_on_any_path(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    home = folder / "my home"
    uri = write(folder / f"{name}.csv", rows(AS_OF - timedelta(days=30), 30 * 24 + 1))
    first, again = (energy("run", home, "--source", uri).json for _ in range(2))
    assert first["ingested"] > 0
    assert again["ingested"] == 0
    assert again["predictions"] == first["predictions"] > 0
    more = write(folder / f"more {name}.csv", rows(AS_OF + timedelta(hours=1), 24))
    later = energy("run", home, "--source", more, as_of=AS_OF + timedelta(hours=24)).json
    assert later["ingested"] == 4 * 24
    assert later["matured"] > 0
    span = ("--start", (AS_OF + timedelta(hours=3)).isoformat(), "--end", (AS_OF + timedelta(hours=9)).isoformat())
    filled = energy("backfill", home, "--source", uri, *span, "--every", "6h", "--workers", 2, as_of=None)
    assert filled.json["failed"] == [], filled.err
    shown = headrace("predictions", ENERGY, "--home", home, "--json").json
    for command in ("trace", "replay"):
        assert headrace(command, shown[-1]["id"], "--home", home, "--json").code == 0
    assert headrace("models", ENERGY, "--home", home, "--json").json
    assert headrace("doctor", "--home", home, "--json").code == 0
    with serving(home, *SMALL, systems=(ENERGY,)) as server:
        assert len(server.get("/v1/systems/energy/series").json()["series"]) == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", PLACES)
def test_a_store_of_its_own_on_any_path(name, tmp_path, monkeypatch):
    uri = write(tmp_path / "readings.csv", rows(AS_OF - timedelta(days=3), 30))
    monkeypatch.setenv("HEADRACE_STORE_URI", str(tmp_path / name))
    for ingested in (120, 0):
        done = energy("ingest", tmp_path / "home", "--source", uri)
        assert done.json["ingested"] == ingested
    assert Path(tmp_path, name, "energy", "raw").is_dir()
