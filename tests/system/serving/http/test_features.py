"""Rows that are logged with their features."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import SMALL, TITANIC, passengers, ran, serving, titanic_template

from headrace.errors import ConfigError
from headrace.home import Home
from headrace.identity import features_of
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.tasks.rows import skew
from headrace.tasks.rows.logged_features import TABLE
from headrace.tasks.rows.predictor import RowPredictor


def test_features_are_logged_exported_and_compared(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))
    rows = passengers(12, first=300_000)
    with serving(home) as server:
        plain = server.post(rows[0]).json()
    with serving(home, "--set", "log_features=true") as server:
        assert server.post(rows[0]).json() == plain, "the same row is the same, however it was logged"
        one = server.post(rows[1]).json()
        many = server.post(rows[2:]).json()["predictions"]
        again = server.post(rows[1]).json()
        trace = server.get(f"/v1/predictions/{one['id']}").json()
    assert again == one
    place = Home(Settings(home=home))
    system = load_system(TITANIC, [each for each in SMALL[TITANIC] if each != "--set"])
    predictor = RowPredictor.load(place.registry.fetch(place.registry.champion("titanic")))
    entries = {entry.id: entry for _, entry in place.ledger.read("titanic")}
    logged = {name: features_of(entry.inputs.decode()) for name, entry in entries.items()}
    assert logged[plain["id"]] is None
    assert trace["prediction"]["inputs"]["_features"] == logged[one["id"]]
    assert {*logged[one["id"]]} <= {*predictor.model.features.names}
    assert len(logged[one["id"]]) > 3
    other_home = Path(shutil.copytree(home, tmp_path / "other"))
    assert ran("export", TITANIC, home).json["exported"] == 12
    assert ran("export", TITANIC, home).json["exported"] == 0
    table = place.table("titanic", TABLE)
    stored = {row["id"]: row for row in table.collect(table.scan()).to_dicts()}
    assert {*stored} == {each["id"] for each in [one, *many]}
    for name, row in stored.items():
        found = {n.removeprefix("f_"): v for n, v in row.items() if n.startswith("f_") and v is not None}
        assert found == logged[name]
    for name in (plain["id"], one["id"], many[-1]["id"]):
        done = headrace("replay", name, "--home", home, "--json")
        assert (done.code, done.json["identical"]) == (0, True)
    assert done.json["features"]["replayed"] == logged[name]
    told = ran("skew", TITANIC, home).json
    assert (told["rows"], told["differing"]) == (11, 0)
    assert {each["feature"] for each in told["features"]} == {*predictor.model.features.names}
    assert {each["rows"] for each in told["features"]} == {11}
    other = json.loads(entries[one["id"]].inputs)
    name = next(n for n, v in other["_features"].items() if isinstance(v, float))
    other["_features"][name] += 1.0
    shutil.rmtree(home / "store" / "titanic" / "predictions")
    with closing(sqlite3.connect(home / "ledger.db")) as ledger, ledger:
        ledger.execute("update predictions set inputs = ? where id = ?", (json.dumps(other).encode(), one["id"]))
    assert headrace("replay", one["id"], "--home", home, "--json").code == 1
    served = entries[one["id"]].inputs.decode()
    with monkeypatch.context() as patched:  # as if another definition was served
        patched.setattr(skew, "features_of", lambda text: other["_features"] if text == served else features_of(text))
        differs(other_home, one["id"], name)
    assert system.log_features is False


def differs(home: Path, tampered: str, feature: str) -> None:
    """One feature of one prediction is told, in the document and on the terminal."""
    done = headrace("skew", TITANIC, "--home", home, *SMALL[TITANIC], "--json")
    assert (done.code, done.json["differing"], done.json["rows"]) == (1, 1, 11)
    first, *rest = done.json["features"]
    assert (first["feature"], first["differing"], first["largest"]) == (feature, 1, 1.0)
    assert first["example"]["id"] == tampered
    assert not any(each["differing"] for each in rest)
    shown = headrace("skew", TITANIC, "--home", home, *SMALL[TITANIC])
    assert "1 of 11 predictions differ" in shown.out
    assert feature in shown.out
    assert headrace("skew", TITANIC, "--home", home, *SMALL[TITANIC], "--since", "2100-01-01T00:00:00Z").code == 2


def test_a_system_that_forecasts_has_none_to_log() -> None:
    with pytest.raises(ConfigError, match="log_features"):
        load_system(TITANIC.replace("titanic", "live_metrics"), ["log_features=true"])
