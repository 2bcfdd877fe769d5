"""A declaration of another shape than the facts in the home is refused before anything is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.commands import headrace

START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = ("--as-of", "2026-02-01T00:00:00Z")
SYSTEM = """
from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features

system = System(
    name="ts",
    source=Source(),
    contract=Contract(columns=(
        Column("series", {kind!r}), Column("site", "category", nullable=True), Column("time", "time", zone="UTC"),
        Column("other", "time", zone="UTC", nullable=True), Column("value", {target!r}{more}),
    )),
    keys={keys!r},
    time={time!r},
    step={step!r},
    target="value",
    features=seasonal_features("value", step={step!r}, seasons=("24h",)),
    model=Forecaster(seasons=("24h",), n_estimators=5),
    horizon="6h",
    schedule=Schedule(predict="1h", train="7d"),
    monitoring=Monitoring(baselines=("24h",)),
)
"""
GOOD = {"kind": "category", "keys": ("series",), "time": "time", "step": "1h", "target": "float", "more": ""}
CHANGES = {
    "added": ({"keys": ("series", "site")}, "keys"),
    "renamed": ({"keys": ("site",)}, "keys"),
    "retyped": ({"kind": "integer"}, "keys"),
    "event time": ({"time": "other"}, "time"),
    "step": ({"step": "2h"}, "step"),
    "target's type": ({"target": "integer"}, "target"),
    "target's aggregate": ({"more": ", aggregate='sum'"}, "target"),
}
DOORS = (
    "ingest",
    "run",
    "train",
    "predict",
    "monitor",
    "export",
    "serve",
    "backfill",
    "predictions",
    "report",
    "evaluate",
)


def declare(folder: Path, **changes: object) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "system.py").write_text(SYSTEM.format(**GOOD | changes), encoding="utf-8")
    return str(folder)


def write(path: Path, days: int) -> str:
    lines = ["series,site,time,other,value"]
    for hour in range(days * 24):
        time = f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"
        lines += [f"{series},x,{time},{time},{hour % 24 + series}" for series in (1, 2)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"file:{path}"


def contents(home: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(each): each.read_bytes() for each in sorted((home / "store").rglob("*")) if each.is_file()}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_shape_is_refused_at_every_door_before_anything_is_written(change, tmp_path):
    folder, home, uri = tmp_path / "ts", tmp_path / "home", write(tmp_path / "base.csv", 3)
    assert headrace("ingest", declare(folder), "--home", home, "--source", uri, *AS_OF).code == 0
    before, (changes, where) = contents(home), CHANGES[change]
    system = declare(folder, **changes)
    stretch = ("--start", "2026-01-03T00:00:00Z", "--end", "2026-01-03T02:00:00Z", "--every", "1h")
    for door in DOORS:
        more = {
            "export": (),
            "serve": (),
            "predictions": (),
            "report": (),
            "evaluate": stretch,
            "backfill": ("--source", uri, *stretch),
        }.get(door, ("--source", uri, *AS_OF) if door in ("ingest", "run") else AS_OF)
        done = headrace(door, system, "--home", home, "--json", *more)
        assert done.code == 2, (door, done.err)
        said = json.loads(done.out)
        assert said["where"] == where
        assert "new name" in said["hint"]
        assert "--home" in said["hint"]
    assert contents(home) == before
    assert headrace("ingest", declare(folder), "--home", home, "--source", uri, *AS_OF).code == 0


def test_keys_in_another_order_or_fewer_are_refused(tmp_path):
    folder, home, uri = tmp_path / "ts", tmp_path / "home", write(tmp_path / "base.csv", 3)
    assert (
        headrace("ingest", declare(folder, keys=("series", "site")), "--home", home, "--source", uri, *AS_OF).code == 0
    )
    for keys in (("site", "series"), ("series",)):
        done = headrace("ingest", declare(folder, keys=keys), "--home", home, "--source", uri, *AS_OF)
        assert done.code == 2
        assert "the keys of 'ts' changed from (series category, site category) to " in done.err


def test_a_first_ingest_that_stored_nothing_binds_nobody(tmp_path):
    folder, home = tmp_path / "ts", tmp_path / "home"
    done = headrace("ingest", declare(folder), "--home", home, "--source", "file:nothing.csv", *AS_OF)
    assert done.code == 1
    uri = write(tmp_path / "base.csv", 3)
    done = headrace("ingest", declare(folder, keys=("series", "site")), "--home", home, "--source", uri, *AS_OF)
    assert done.code == 0, done.err


@pytest.mark.parametrize("changed", [", aggregate='mean'", ", aggregate='sum', empty='zero'", ""])
def test_what_a_step_s_value_means_does_not_change(changed, tmp_path):
    folder, home, uri = tmp_path / "ts", tmp_path / "home", write(tmp_path / "base.csv", 3)
    summed = declare(folder, more=", aggregate='sum'")
    assert headrace("ingest", summed, "--home", home, "--source", uri, *AS_OF).code == 0
    done = headrace("ingest", declare(folder, more=changed), "--home", home, "--source", uri, *AS_OF)
    assert done.code == 2
    assert "the target of 'ts' changed from value float sum to value float" in done.err


@pytest.mark.parametrize("aggregate", ["", ", aggregate='last'"])
@pytest.mark.parametrize("ahead", ["", ", known_future=True"])
def test_a_column_that_was_added_is_missing_in_the_facts_before_it(aggregate, ahead, tmp_path):
    """No traceback before the first ingest that has it, and none after it."""
    if aggregate and ahead:
        pytest.skip("columns of events are not known in advance")
    folder, home, uri = tmp_path / "ts", tmp_path / "home", write(tmp_path / "base.csv", 20)
    assert headrace("run", declare(folder, more=aggregate), "--home", home, "--source", uri, *AS_OF).code == 0
    text = SYSTEM.format(**GOOD | {"more": aggregate + f'), Column("extra", "float", nullable=True{aggregate}{ahead}'})
    text = text.replace("import seasonal", "import col, lag, seasonal").replace(
        '("24h",)),', '("24h",)) | {"extra": ADDED},', 1
    )
    added = "col('extra')" if ahead else "lag('extra', '24h')"
    (folder / "system.py").write_text(text.replace("ADDED", added), encoding="utf-8")
    stretch = ("--start", "2026-01-18T00:00:00Z", "--end", "2026-01-18T02:00:00Z", "--every", "1h")
    for door, *more in (("predict", *AS_OF), ("train", *AS_OF), ("evaluate", *stretch), ("report",)):
        done = headrace(door, str(folder), "--home", home, "--json", *more)
        assert done.code == 0, (door, done.err)
