"""Everyday names, the framework's own among them, as keys, event time, target, feature and further columns."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands import headrace
from tests.effort import rounds
from tests.servers import serving
from tests.system import test_row_keys as rows

from headrace.contract.apart import ROWS, SERIES, apart, called
from headrace.home import METRICS, PREDICTIONS, Home
from headrace.settings import Settings

SYSTEM = """
from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import col, lag, seasonal_features

system = System(
    name="ts",
    source=Source(),
    contract=Contract(columns=(
        Column({key!r}, "category"), Column({time!r}, "time", zone="UTC"), Column({target!r}, "float"),
        Column({extra!r}, "float", nullable=True),
    )),
    keys=({key!r},),
    time={time!r},
    step="1h",
    target={target!r},
    features=seasonal_features({target!r}, step="1h", seasons=("24h",)) | {{{feature!r}: lag({target!r}, "24h")}},
    model=Forecaster(seasons=("24h",), n_estimators=5),
    horizon="3h",
    schedule=Schedule(predict="1h", train="7d"),
    monitoring=Monitoring(baselines=("24h",)),
)
"""
START = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = {"key": "shop", "time": "at", "target": "sold", "extra": "weather", "feature": "yesterday"}
EVERYDAY = ["id", "origin", "value", "time", "as_of", "known_at", "actual", "_version", "key", "n", "shop"]


def test_names_are_told_apart_and_called_as_declared():
    for name in SERIES | ROWS:
        assert called(apart([name], SERIES | ROWS)[name]) == name
    for name in ("series", "metric", "key.part", "PriceArea", "store", "baseline"):
        assert apart([name], SERIES | ROWS) == {}
        assert called(name) == name


def goes_round(folder: Path, **names: str) -> Home:
    """Ingest, train, predict, measure, trace, replay and serve a system with these names."""
    said = PLAIN | names
    system, home = folder / "ts", folder / "home"
    system.mkdir()
    (system / "system.py").write_text(SYSTEM.format(**said), encoding="utf-8")
    columns = [said[each] for each in ("key", "time", "target", "extra")]

    def write(first: int, last: int) -> str:
        with (folder / f"{last}.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(columns)
            for hour in range(first, last):
                moment = f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"
                out.writerows([shop, moment, hour % 24 + place, hour] for place, shop in enumerate("ab"))
        return f"file:{folder / f'{last}.csv'}"

    for hours, begin in ((15 * 24, 0), (15 * 24 + 3, 15 * 24)):
        as_of = (START + timedelta(hours=hours - 1)).isoformat()
        for again in (False, True):
            done = headrace("run", system, "--home", home, "--source", write(begin, hours), "--as-of", as_of, "--json")
            assert done.code == 0, done.err
            assert done.json["ingested"] == (0 if again else 2 * (hours - begin))
            assert done.json["predictions"] == 6
    assert done.json["matured"] > 0
    key = apart([said["key"]], SERIES).get(said["key"], said["key"])
    found = headrace("predictions", system, "--home", home, "--where", f"{said['key']}=a", "--json").json
    assert {each[key] for each in found} == {"a"}
    assert len({each["id"] for each in found}) == len(found) == 6
    for command in ("trace", "replay"):
        assert headrace(command, found[0]["id"], "--home", home, "--json").code == 0
    assert headrace("predictions", system, "--home", home).code == 0
    span = (
        "--start",
        (START + timedelta(days=14)).isoformat(),
        "--end",
        (START + timedelta(days=14, hours=2)).isoformat(),
    )
    measured = headrace("evaluate", system, "--home", home, *span, "--every", "1h", "--json")
    assert measured.code == 0, measured.err
    assert headrace("report", system, "--home", home, "--out", folder / "report.html").code == 0
    return Home(Settings(home=home))


@pytest.mark.parametrize("first", range(0, len(EVERYDAY), rounds(few=len(PLAIN), many=1)))
def test_everyday_names_in_every_role(first, tmp_path):
    """Each name takes each role once, or in a quick run one; the roles of a system are next to one another."""
    names = {role: EVERYDAY[(first + place) % len(EVERYDAY)] for place, role in enumerate(PLAIN)}
    home = goes_round(tmp_path, **names)
    own = {*apart([*names.values()], SERIES).values(), *names.values()}
    for table in (PREDICTIONS, METRICS):
        columns = {each for each in home.table("ts", table).schema() if not each.startswith(("baseline_", "naive_"))}
        assert columns - own - SERIES == set(), "an own column that no declared name is kept apart from"


@pytest.mark.parametrize("name", ["id", "as_of", "origin"][: rounds(few=1, many=3)])
def test_a_served_series_is_asked_for_by_its_own_name(name, tmp_path):
    home = goes_round(tmp_path, key=name)
    key = apart([name], SERIES)[name]
    with serving(home.path, systems=(str(tmp_path / "ts"),)) as server:
        found = server.get("/v1/systems/ts/series").json()["series"]
        assert {each[key] for each in found} == {"a", "b"}
        asked = key if name == "as_of" else name
        assert server.get(f"/v1/systems/ts/predictions?{asked}=a").json()["predictions"]
        event = {name: "a", "at": (START + timedelta(days=15, hours=3)).isoformat(), "sold": 3.0}
        answer = server.post(event, "/v1/systems/ts/predict")
        assert answer.status_code == 200, answer.text
    assert headrace("export", tmp_path / "ts", "--home", home.path, "--json").json["exported"] == 1


@pytest.mark.parametrize(
    "name", ["id", "known_at", "value", "probability", "door", "key", "inputs"][: rounds(few=3, many=7)]
)
def test_rows_keyed_by_an_everyday_name(name, tmp_path, monkeypatch):
    keys = [(n,) for n in range(rows.ROWS)]
    kept: dict[str, Any] = apart([name], ROWS)
    monkeypatch.setattr(rows, "kept", lambda each: kept.get(each, each))
    rows.goes_round(tmp_path, {name: "integer"}, keys, {name: 7_000})
    assert json.dumps(kept)
