"""What all tests share: data beside the repository, and how hard hypothesis searches."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import kafka
from tests.effort import THOROUGH
from tests.postgres import Postgres, new_database

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"

# Typer sets and removes this for every option that it reads: where commands run in a process with other threads, the
# environment must not move under those that look something up in it (setenv beside getenv ends a process).
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "1"

# fast: new examples on every run. ci: the same on every run, so a red build is red again at the desk.
# thorough: HYPOTHESIS_PROFILE=thorough scripts/test -k property
slow_data = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("fast", max_examples=50, deadline=None, suppress_health_check=slow_data)
settings.register_profile("ci", settings.get_profile("fast"), derandomize=True, print_blob=True)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "fast"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests to thorough runs."""
    if THOROUGH or "long" in config.option.markexpr:
        return
    chosen = [item for item in items if item.get_closest_marker("long") is None]
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long") is not None])
    items[:] = chosen


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


class Distributions:
    """Packages that are installed as far as entry points tell: their modules and metadata lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, version: str, groups: Mapping[str, Mapping[str, str]]) -> None:
        """Install one: `groups` is entry point group to name to ``module:attribute``."""
        info = self.folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in each.items()) for group, each in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        importlib.invalidate_caches()


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    """Installs packages for one test, in this process and in those that it starts."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    before = set(sys.modules)
    yield Distributions(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Cluster]:
    """A Kafka broker of the process that runs tests, which leave it running; the test skips where there is none."""
    broker = kafka.cluster(tmp_path_factory.mktemp("kafka"))
    yield broker
    broker.stop()
