"""Homes with trained systems, made once and copied, and one server for the tests that change nothing of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving.http.helpers import ENERGY, SOURCE, Server, live_template, ran, serving, titanic_template


@pytest.fixture(scope="session")
def titanic_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return titanic_template(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def energy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("energy") / "home"
    for hour in (10, 12):
        ran("run", ENERGY, home, "--source", SOURCE[ENERGY], "--as-of", f"2026-03-02T{hour}:00:00Z")
    return home


@pytest.fixture(scope="session")
def live_template_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_template(tmp_path_factory.getbasetemp())


@pytest.fixture
def live_home(live_template_home: Path, tmp_path: Path) -> Path:
    """A copy of the live_metrics home, the test's own."""
    return Path(shutil.copytree(live_template_home, tmp_path / "live"))


@pytest.fixture
def home(titanic_home: Path, tmp_path: Path) -> Path:
    """A copy of the titanic home, the test's own."""
    return Path(shutil.copytree(titanic_home, tmp_path / "home"))


@pytest.fixture(scope="session")
def titanic(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of titanic that tests share: each takes keys of its own."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("served") / "home"))
    with serving(home, "--cors", "https://shop.example") as server:
        yield server


@pytest.fixture(scope="session")
def energy(energy_home: Path) -> Iterator[Server]:
    """A server of energy that tests share."""
    with serving(energy_home, systems=(ENERGY,)) as server:
        yield server
