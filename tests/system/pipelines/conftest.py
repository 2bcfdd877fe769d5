"""A home with a trained model: MLflow's first start is slow, so it is made once and copied."""

from pathlib import Path

import pytest
from tests.commands import copy_of_trained


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return copy_of_trained(template, tmp_path / "home")
