from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from headrace.registry import Registry
from headrace.store.store import Store

CRASH = Path(__file__).with_name("crash.py")


pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where crash.py was; one run for all tests, since it imports mlflow."""
    folder = tmp_path_factory.mktemp("crash")
    command = [sys.executable, str(CRASH), str(folder), str(random.randrange(10**6))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, (command, done.stderr)
    # mlflow and alembic would tell of every migration.
    assert (done.stdout.count("\n"), done.stderr) == (1, ""), command
    assert sorted(path.name for path in folder.iterdir()) == ["killed", "race"]
    return folder


def everything(home: Path) -> tuple[list[int], list[int], int]:
    """Versions by the facts, versions at the tracking server, number of facts."""
    store = Store(home / "store")
    registry = Registry(store, home)
    client = MlflowClient(f"sqlite:///{home}/mlflow.db", f"sqlite:///{home}/mlflow.db")
    table = store.table("energy", "models")
    facts = table.collect(table.scan()).height
    versions = registry.versions("energy")
    assert all((registry.fetch(version) / "model.txt").is_file() for version in versions)
    served = sorted(int(v.version) for v in client.search_model_versions("name = 'energy'"))
    return [v.version for v in versions], served, facts


def test_killed_anywhere_a_repeated_register_gives_one_version(crashed: Path) -> None:
    assert everything(crashed / "killed") == ([1], [1], 1)
    assert not list((crashed / "killed").glob("models/.placing-*"))


def test_four_processes_at_once_on_a_fresh_home(crashed: Path) -> None:
    assert everything(crashed / "race") == ([1, 2, 3], [1, 2, 3], 3)
