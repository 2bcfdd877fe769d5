"""Homes of their own for tests that need many."""

import shutil

import pytest
from tests.worlds.flow import NOW, last, system_of, world

from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.settings import Settings


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Makes homes whose tracking database is a copy, because making one takes a second."""
    first = tmp_path_factory.mktemp("first")
    world(0).write_parquet(first / "facts.parquet")
    run(system_of(), Home(Settings(home=first)), RunRequest(last(), NOW, f"file:{first}/facts.parquet"))

    def make(name):
        home = tmp_path_factory.mktemp(name)
        shutil.copyfile(first / "mlflow.db", home / "mlflow.db")
        return Home(Settings(home=home))

    return make
