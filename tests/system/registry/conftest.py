"""A home whose tracking database is a copy: making one costs a second."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headrace.registry import ModelVersion, Registry
from headrace.registry.tracking import Tracking
from headrace.store.store import Store

START = datetime(2023, 1, 1, tzinfo=UTC)


def at(days: float) -> datetime:
    return START + timedelta(days=days)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    (home / "model").mkdir()
    (home / "model" / "a").write_text("a")
    tracking = Tracking(f"sqlite:///{home}/mlflow.db", home / "mlruns")
    tracking.log_version("template", home / "model", key="k", params={}, metrics={}, tags={})
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, database: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copyfile(database, home / "mlflow.db")
    return home


@pytest.fixture
def registry(home: Path) -> Registry:
    return Registry(Store(home / "store"), home)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(content: str) -> Path:
        folder = tmp_path / f"trained-{content}"
        (folder / "part").mkdir(parents=True, exist_ok=True)
        (folder / "model.txt").write_text(content)
        (folder / "part" / "scales.json").write_text("{}")
        return folder

    return make


@pytest.fixture
def register(registry: Registry, folder: Callable[[str], Path]) -> Callable[..., ModelVersion]:
    def make(key: str, days: float, created: float | None = None) -> ModelVersion:
        return registry.register(
            "energy",
            folder(key),
            key=key,
            params={"trees": 10, "nested": {"rate": 0.1}},
            metrics={"mape": 0.1, "coverage": None},
            pins={"data": 3},
            as_of=at(days),
            created_at=at(1000 + (days if created is None else created)),
        )

    return make
