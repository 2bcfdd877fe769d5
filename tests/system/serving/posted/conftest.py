"""One trained system for all tests of posted events; each test has a copy of its home."""

from __future__ import annotations

import pytest
from tests.worlds import stream as worlds

from headrace.home import Home


@pytest.fixture(scope="session")
def world():
    """The module of helpers."""
    return worlds


@pytest.fixture(scope="session")
def system(world):
    """The small system, loaded once."""
    return world.system()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a trained model, to be copied."""
    return worlds.trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("posted") / "home")


@pytest.fixture(scope="session")
def champion(home: Home):
    """The model that answers."""
    return worlds.champion(home)
