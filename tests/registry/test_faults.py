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


def run(*arguments: object) -> tuple[str, str]:
    command = [sys.executable, str(CRASH), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(arguments, done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout, done.stderr


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


def test_killed_anywhere_a_repeated_register_gives_one_version(tmp_path: Path) -> None:
    run("kill", tmp_path / "home", random.randrange(10**6))
    assert everything(tmp_path / "home") == ([1], [1], 1)


def test_four_processes_at_once_on_a_fresh_home(tmp_path: Path) -> None:
    printed = run("race", tmp_path / "home")
    assert printed == ("", "")  # mlflow and alembic would tell of every migration
    assert everything(tmp_path / "home") == ([1, 2, 3], [1, 2, 3], 3)
