"""One trained system for all tests of the stream."""

from __future__ import annotations

import pytest
from tests.worlds import stream as worlds


@pytest.fixture(scope="session")
def world():
    """The module of helpers."""
    return worlds


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home with a trained model."""
    return worlds.trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("stream") / "home")


@pytest.fixture(scope="session")
def champion(home):
    """The model that answers."""
    return worlds.champion(home)
