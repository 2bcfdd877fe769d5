"""What all tests share: data beside the repository, and how hard hypothesis searches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.postgres import Postgres, new_database

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

# fast: new examples on every run. ci: the same on every run, so a red build is red again at the desk.
# thorough: HYPOTHESIS_PROFILE=thorough scripts/test -k property
slow_data = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("fast", max_examples=50, deadline=None, suppress_health_check=slow_data)
settings.register_profile("ci", settings.get_profile("fast"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "fast"))


@pytest.fixture
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A file or folder of the real data kept beside the repository; the test skips where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs the real data {name}: {path} is absent")
        return path

    return find


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a PostgreSQL server; the test skips where there is none."""
    given = os.environ.get("HEADRACE_TEST_POSTGRES")
    if given:
        yield given
        return
    server = Postgres("fsync=off")  # nothing here outlives the machine
    yield server.uri
    server.close()


@pytest.fixture
def postgres_database(postgres_server: str) -> str:
    """The URI of an empty PostgreSQL database of the test's own."""
    return new_database(postgres_server)
