"""The readers that headrace brings do what every reader must, and so does one that is brought."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.system.sources.service import Service, records

from headrace.sources import Records, Source
from headrace.sources.energidataservice import EnergiDataService
from headrace.sources.http import Politeness
from headrace.sources.simulated import consumption
from headrace.testing import SourceSuite

START = datetime(2023, 1, 1, tzinfo=UTC)
QUICK = Politeness(interval="0s", pause="0.01s", timeout="60s", attempts=1)


@pytest.fixture(scope="module")
def service():
    service = Service(records(START.replace(tzinfo=None), 24 * 20))
    yield service
    service.close()


class TestFile(SourceSuite):
    as_of = START

    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "rows.csv").write_text("time,value\n2023-01-01,1\n2023-01-02,\n")
        return Source(uri=f"file:{tmp_path}/rows.csv")

    @pytest.fixture
    def gone(self, tmp_path):
        return Source(uri=f"file:{tmp_path}/gone.csv")


class TestSimulated(SourceSuite):
    as_of = START
    time = "time"

    @pytest.fixture
    def source(self):
        return Source(simulate=consumption, uri="simulated:?days=20&seed=3", columns={"time": "HourUTC"})


class TestApi(SourceSuite):
    as_of = START + timedelta(days=20)
    time = "time"

    @pytest.fixture
    def source(self, service):
        api = EnergiDataService(url=service.url, history="30d", politeness=QUICK)
        return Source(uri="api", api=api, columns={"time": "HourUTC"})

    @pytest.fixture
    def gone(self):
        api = EnergiDataService(url="http://127.0.0.1:9/", politeness=QUICK)
        return Source(uri="api", api=api)


@dataclass
class Mine:
    """A reader of one's own."""

    path: Path

    def read(self, *, as_of, now, since=None, first=None):
        return Records(pl.read_csv(self.path), f"mine:{self.path}")


class TestStranger(SourceSuite):
    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
        return Source(reader=Mine(tmp_path / "rows.csv"))

    @pytest.fixture
    def gone(self, tmp_path):
        return Source(reader=Mine(tmp_path / "gone.csv"))
