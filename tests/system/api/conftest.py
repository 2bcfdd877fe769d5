"""A home with a trained model, opened from Python; the command line's tests have the same one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from tests.commands import AS_OF, ENERGY, SMALL, copy_of_trained, rows, write

import headrace as hr


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def copies(template: Path, tmp_path: Path) -> Iterator[hr.BoundSystem]:
    """The energy system, each time in a home of its own with one trained model, which nothing was done in since."""

    readings = write(
        tmp_path / "readings.csv", rows(AS_OF - timedelta(days=30), 30 * 24 + 1)
    )  # what it was filled from

    def made(number: int) -> hr.BoundSystem:
        path = copy_of_trained(template, tmp_path / str(number) / "home")
        home = hr.open(path, clock=lambda: datetime(2023, 2, 1, tzinfo=UTC), quiet=True)
        source = f"source.uri={readings}"
        return home.system(ENERGY, [*(each for each in SMALL if each != "--set"), source])

    return map(made, count())


@pytest.fixture
def s(copies: Iterator[hr.BoundSystem]) -> hr.BoundSystem:
    return next(copies)
