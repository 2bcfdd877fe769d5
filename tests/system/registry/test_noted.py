"""The facts beside the table are the table's, or are not believed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.registry.conftest import at

from headrace.registry import ModelVersion, Registry, records
from headrace.store.store import Store

Register = Callable[..., ModelVersion]
ALONE = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from headrace.registry import Registry
from headrace.store.store import Store
home = Path(sys.argv[1])
found = Registry(Store(home / "store"), home).champion("energy", datetime(2024, 1, 1, tzinfo=UTC))
print(found.version, *sorted({"polars", "deltalake", "mlflow"} & set(sys.modules)))
"""


def note_of(home: Path) -> Path:
    return home / "store" / "energy" / "models" / "_facts.json"


def test_they_are_those_of_the_table(registry: Registry, register: Register, home: Path) -> None:
    register("k1", 1)
    registry.promote("energy", 1, created_at=at(1000), reason="better — and Ünicode")
    noted = registry.timeline("energy")
    note_of(home).unlink()
    stored = registry.timeline("energy")
    assert sorted(noted.facts, key=lambda f: f.order) == sorted(stored.facts, key=lambda f: f.order)
    assert noted.registered == stored.registered
    assert len(noted.facts) == 2


def test_a_writer_that_was_killed_before_it_noted_is_seen(
    registry: Registry, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("k1", 1)
    with monkeypatch.context() as patch:
        patch.setattr(records, "_note", lambda store, system: None)
        registry.promote("energy", 1, as_of=at(1), created_at=at(1000))
    found = registry.champion("energy", at(2))
    assert found is not None
    assert found.version == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"commit": 1}', b'{"commit": 1, "rows": [{}]}'])
def test_damaged_ones_are_not_believed(registry: Registry, register: Register, home: Path, damage: bytes) -> None:
    register("k1", 1)
    note_of(home).write_bytes(damage)
    assert [version.version for version in registry.versions("energy")] == [1]
    registry.promote("energy", 1, created_at=at(1000))
    assert records.read(Store(home / "store"), "energy").champion(at(1000)) is not None
    assert note_of(home).read_bytes() != damage


def test_they_outlive_a_clean_up_and_are_not_the_tables(registry: Registry, register: Register, home: Path) -> None:
    register("k1", 1)
    before = note_of(home).read_bytes()
    table = Store(home / "store").table("energy", "models")
    assert table.compact()
    assert note_of(home).read_bytes() == before
    assert table.version() == 1
    assert [version.version for version in registry.versions("energy")] == [1]


def test_the_champion_is_found_without_opening_a_table(registry: Registry, register: Register, home: Path) -> None:
    register("k1", 1)
    registry.promote("energy", 1, created_at=at(2))
    done = subprocess.run([sys.executable, "-c", ALONE, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
