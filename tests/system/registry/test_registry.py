from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from tests.system.registry.conftest import at

from headrace.errors import ArtefactError, NotFoundError, RegistryError, UsageError
from headrace.registry import ModelVersion, Registry
from headrace.store.store import Store

Register = Callable[..., ModelVersion]


def champion(registry: Registry, days: float) -> int | None:
    found = registry.champion("energy", at(days))
    return found.version if found else None


def test_register_is_idempotent_and_keeps_everything(registry: Registry, register: Register) -> None:
    first = register("k1", 1)
    assert register("k1", 1, created=50) == first
    second = register("k2", 2)
    assert [v.version for v in registry.versions("energy")] == [first.version, second.version] == [1, 2]
    assert first.params == {"trees": 10, "nested": {"rate": 0.1}}
    assert first.metrics == {"mape": 0.1, "coverage": None}
    assert first.pins == {"data": 3}
    assert (first.key, first.as_of, first.created_at) == ("k1", at(1), at(1001))
    assert registry.get("energy", 1).state == "archived"
    assert second.state == "challenger"
    assert registry.versions("energy", as_of=at(1)) == [first]
    assert (registry.fetch(first) / "model.txt").read_text() == "k1"


def test_an_empty_system_has_no_models(registry: Registry) -> None:
    assert registry.versions("energy") == []
    assert registry.champion("energy", at(1)) is None
    assert registry.timeline("energy").challenger(at(1)) is None
    assert registry.timeline("energy").latest_trained(at(1)) is None
    with pytest.raises(NotFoundError, match="headrace train energy"):
        registry.promote("energy", 1, created_at=at(1))


def test_champion_as_of(registry: Registry, register: Register) -> None:
    one, two = register("k1", 1), register("k2", 5)
    registry.promote("energy", one.version, as_of=at(1), created_at=at(1000), reason="first")
    registry.promote("energy", two.version, as_of=at(6), created_at=at(1001))
    assert [champion(registry, d) for d in (0, 1, 5, 6, 99)] == [None, 1, 1, 2, 2]
    # A backfill comes later and trains on earlier data: it changes its own time only.
    three = register("k3", 2, created=99)
    registry.promote("energy", three.version, as_of=at(3), created_at=at(1100))
    assert [champion(registry, d) for d in (0, 1, 2, 3, 5, 6, 99)] == [None, 1, 1, 3, 3, 2, 2]
    assert registry.timeline("energy").challenger(at(2)) == registry.versions("energy", at(2))[1]
    latest = registry.timeline("energy").latest_trained(at(4))
    assert latest is not None
    assert latest.version == 3
    assert {v.version: v.state for v in registry.versions("energy")} == {
        1: "archived",
        2: "champion",
        3: "archived",
    }
    assert registry.get("energy", 1).reason == "first"


def test_promote_without_a_time_counts_from_the_latest_known(registry: Registry, register: Register) -> None:
    register("k1", 1)
    register("k2", 5)
    registry.promote("energy", 1, created_at=at(3000))
    assert [champion(registry, d) for d in (4.9, 5)] == [None, 1]


def test_promote_refuses_the_future_and_the_unknown(registry: Registry, register: Register) -> None:
    register("k1", 5)
    with pytest.raises(UsageError, match="later"):
        registry.promote("energy", 1, as_of=at(4), created_at=at(1000))
    with pytest.raises(NotFoundError, match="there are: 1"):
        registry.promote("energy", 7, created_at=at(1000))
    with pytest.raises(NotFoundError, match="no earlier champion"):
        registry.rollback("energy", created_at=at(1000))
    with pytest.raises(UsageError, match="time zone"):
        registry.champion("energy", datetime(2023, 1, 1))  # noqa: DTZ001


def test_rollback_goes_further_back_each_time(registry: Registry, register: Register) -> None:
    for number in (1, 2, 3):
        register(f"k{number}", number)
        registry.promote("energy", number, as_of=at(number), created_at=at(1000))
    assert registry.rollback("energy", as_of=at(4), created_at=at(1000)).version == 2
    assert registry.rollback("energy", created_at=at(1000)).version == 1
    with pytest.raises(NotFoundError):
        registry.rollback("energy", created_at=at(1000))
    assert [champion(registry, d) for d in (1, 2, 3, 4)] == [1, 2, 3, 1]
    registry.promote("energy", 2, created_at=at(1000))
    assert champion(registry, 4) == 2
    assert registry.rollback("energy", created_at=at(1000)).version == 1
    assert registry.get("energy", 1).state == "champion"


def test_reject(registry: Registry, register: Register) -> None:
    register("k1", 1)
    registry.promote("energy", 1, created_at=at(1000))
    with pytest.raises(UsageError, match="is the champion"):
        registry.reject("energy", 1, created_at=at(1000))
    register("k2", 2)
    assert registry.reject("energy", 2, created_at=at(1000), reason="no better").reason == "no better"
    assert registry.timeline("energy").challenger(at(9)) is None
    assert champion(registry, 9) == 1


def test_rollback_passes_over_what_was_rejected(registry: Registry, register: Register) -> None:
    for number in (1, 2, 3):
        register(f"k{number}", number)
        registry.promote("energy", number, as_of=at(number), created_at=at(1000))
    registry.reject("energy", 2, created_at=at(1001), reason="it priced shoes as cars", by="ann")
    assert [v.state for v in registry.versions("energy")] == ["archived", "rejected", "champion"]
    assert registry.rollback("energy", created_at=at(1002)).version == 1
    rejected = registry.get("energy", 2)
    assert (rejected.state, rejected.decided_by, rejected.decision) == ("rejected", "ann", "it priced shoes as cars")
    registry.promote("energy", 3, created_at=at(1003))
    registry.reject("energy", 1, created_at=at(1004), by="ann")
    with pytest.raises(NotFoundError, match=r"no earlier champion .*: 1 was rejected") as raised:
        registry.rollback("energy", created_at=at(1005))
    assert raised.value.hint == "headrace promote energy V takes one that was rejected"
    assert champion(registry, 9) == 3
    assert registry.promote("energy", 2, created_at=at(1006)).state == "champion"


def test_a_decision_taken_again_changes_nothing(registry: Registry, register: Register) -> None:
    register("k1", 1)
    registry.promote("energy", 1, created_at=at(1000), reason="the first version")
    register("k2", 2)
    registry.reject("energy", 2, created_at=at(1001), reason="10 % worse")
    first = registry.reject("energy", 2, created_at=at(1002), reason="odd", by="ann")
    assert (first.reason, first.decision, first.decided_by, first.decided_at) == ("10 % worse", "odd", "ann", at(1002))
    assert registry.reject("energy", 2, created_at=at(1003), reason="again", by="bob") == first
    second = registry.promote("energy", 2, created_at=at(1004), reason="it is known", by="ann")
    assert (second.state, second.reason, second.decision) == ("champion", "10 % worse", "it is known")
    assert registry.promote("energy", 2, created_at=at(1005), reason="again", by="bob") == second


def test_aliases_show_the_latest_state(registry: Registry, register: Register, home: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    register("k1", 1)
    assert client.get_registered_model("energy").aliases == {"challenger": 1}
    registry.promote("energy", 1, created_at=at(1000))
    assert client.get_registered_model("energy").aliases == {"champion": 1}
    register("k2", 2)
    assert client.get_registered_model("energy").aliases == {"champion": 1, "challenger": 2}
    registry.promote("energy", 2, created_at=at(1000))
    registry.rollback("energy", created_at=at(1000))
    assert client.get_registered_model("energy").aliases == {"champion": 1}
    run = client.get_run(registry.get("energy", 1).run_id)
    assert run.data.params == {"trees": "10", "nested.rate": "0.1"}
    assert run.data.metrics == {"mape": 0.1}
    assert json.loads(run.data.tags["headrace.pins"]) == {"data": 3}


def test_fetch_mends_the_cache_or_says_so(registry: Registry, register: Register, home: Path) -> None:
    version = register("k1", 1)
    cached = registry.fetch(version)
    (cached / "model.txt").write_text("damaged")
    assert (registry.fetch(version) / "model.txt").read_text() == "k1"
    (cached / "model.txt").unlink()
    assert (registry.fetch(version) / "model.txt").read_text() == "k1"
    for kept in home.glob("mlruns/**/model.txt"):
        kept.write_text("damaged too")
    assert (registry.fetch(version) / "model.txt").read_text() == "k1"
    (cached / "model.txt").write_text("damaged")
    with pytest.raises(ArtefactError, match="digest"):
        registry.fetch(version)


def test_a_version_that_another_program_removed_is_named_as_that(
    registry: Registry, register: Register, home: Path
) -> None:
    from mlflow import MlflowClient

    register("k1", 1)
    uri = f"sqlite:///{home}/mlflow.db"
    MlflowClient(uri, uri).delete_model_version("energy", "1")
    with pytest.raises(RegistryError, match="was it removed there"):
        registry.promote("energy", 1, created_at=at(1000))


def test_a_tracking_server_that_was_reset_is_noticed(
    registry: Registry, register: Register, home: Path, database: Path, folder: Callable[[str], Path]
) -> None:
    register("k1", 1)
    (home / "other.db").write_bytes(database.read_bytes())
    other = Registry(Store(home / "store"), home, f"sqlite:///{home}/other.db")
    with pytest.raises(RegistryError, match="another model has already"):
        other.register("energy", folder("k2"), key="k2", params={}, metrics={}, pins={}, as_of=at(2), created_at=at(2))
    assert len(registry.versions("energy")) == 1


WARM = """
import sys, json
from datetime import datetime, UTC
from pathlib import Path
from headrace.registry import Registry
from headrace.store.store import Store
home = Path(sys.argv[1])
registry = Registry(Store(home / "store"), home)
registry.fetch(registry.champion("energy", datetime(2023, 2, 1, tzinfo=UTC)))
names = ("mlflow", "sqlalchemy", "alembic", "lightgbm", "sklearn", "pandas")
print(json.dumps([name for name in names if name in sys.modules]))
"""


def test_a_warm_champion_needs_no_tracking_server(registry: Registry, register: Register, home: Path) -> None:
    register("k1", 1)
    registry.promote("energy", 1, created_at=at(1000))
    run = subprocess.run([sys.executable, "-c", WARM, str(home)], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []
