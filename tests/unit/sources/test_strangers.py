"""Readers that people bring: of a package by its scheme, or an object in `system.py`."""

import json
import pickle
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl
import pytest

from headrace.doctor import examine
from headrace.errors import DeclarationError, PluginError, SourceError
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.sources import Reader, Records, Source, SourceContext, open_source

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PACKAGE = """
import polars as pl
from headrace.sources import Records

class Warm:
    def __init__(self, source, rest, context):
        self.rest, self.cache = rest, context.cache

    def read(self, *, as_of, now, since=None, first=None):
        rows = int(self.rest)
        if rows < 0:
            raise KeyError("rows")
        return Records(pl.DataFrame({"Place": ["a"] * rows}), f"warm:{self.rest}")
"""


@pytest.fixture
def warm(distribution):
    distribution("acme", "1.2", {"headrace.sources": {"warm": "acme_warm:Warm"}})
    (distribution.folder / "acme_warm.py").write_text(PACKAGE)


def test_a_scheme_of_a_package_is_read_under_declared_names(warm):
    records = open_source(Source(columns={"place": "Place"}), "warm:3").read(as_of=NOW, now=NOW)
    assert records.frame.to_dict(as_series=False) == {"place": ["a", "a", "a"]}
    assert (records.origin, records.raw) == ("warm:3", None)


def test_each_scheme_has_a_folder_of_its_own(warm, tmp_path):
    assert open_source(Source(), "warm:1", SourceContext(tmp_path)).reader.cache == tmp_path / "warm"


def test_whatever_a_reader_of_others_raises_is_a_source_error(warm):
    with pytest.raises(SourceError, match="Warm failed: KeyError: 'rows'") as error:
        open_source(Source(), "warm:-1").read(as_of=NOW, now=NOW)
    assert error.value.where == "warm:-1"


def test_a_package_that_cannot_be_imported_is_named(distribution):
    distribution("acme", "1.2", {"headrace.sources": {"warm": "acme_gone:Warm"}})
    with pytest.raises(PluginError) as error:
        open_source(Source(), "warm:1")
    assert error.value.where == "headrace.sources: warm = acme_gone:Warm"


def test_the_doctor_lists_sources_and_says_which_cannot_be_loaded(warm, distribution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {each["what"]: each for each in examine(Home(Settings(home=tmp_path / "home")))}
    names = "api, bigquery, delta, duckdb, file, iceberg, kafka, postgresql, simulated, snowflake, sqlite"
    assert found["sources"]["said"] == f"{names}, warm (acme 1.2)"
    distribution("globex", "3", {"headrace.sources": {"cold": "globex_gone:Cold"}})
    found = {each["what"]: each for each in examine(Home(Settings(home=tmp_path / "home")))}
    assert found["sources"]["status"] == "failed"
    assert "cold: ModuleNotFoundError" in found["sources"]["said"]


@dataclass
class Parts:
    """A reader of frames, the last of which may be something else."""

    frames: list = field(default_factory=list)

    def read(self, *, as_of, now, since=None, first=None):
        first_frame, *more = self.frames
        return Records(first_frame, "parts", more=iter(more))


def test_a_reader_is_declared_as_an_object_and_a_uri_takes_its_place(tmp_path):
    reader = Parts([pl.DataFrame({"x": [1]}), pl.DataFrame({"x": [2]})])
    source = Source(reader=reader)
    assert isinstance(reader, Reader)
    assert source.own
    records = open_source(source).read(as_of=NOW, now=NOW)
    assert [frame["x"].to_list() for frame in (records.frame, *records.more)] == [[1], [2]]
    (tmp_path / "x.csv").write_text("x\n7\n")
    assert open_source(source, f"file:{tmp_path}/x.csv").read(as_of=NOW, now=NOW).frame["x"].to_list() == ["7"]
    with pytest.raises(DeclarationError, match="a reader and a URI"):
        Source(reader=reader, uri="api")
    with pytest.raises(DeclarationError, match="Reader"):
        Source(reader=3)


@pytest.mark.parametrize("frames", [[[1]], [pl.DataFrame({"x": [1]}), {"x": 2}]])
def test_what_is_no_frame_is_refused_in_every_part(frames):
    with pytest.raises(SourceError, match=r"the reader gives a (list|dict) as records") as error:
        list(open_source(Source(reader=Parts(frames))).read(as_of=NOW, now=NOW).more)
    assert error.value.where == "source.reader: Parts"


SYSTEM = """
from headrace import Column, Contract, Forecaster, Source, System
from headrace.features import lag
from .reading import Reading

system = System(
    name="own", source=Source(reader=Reading(3)),
    contract=Contract(columns=(Column("time", "time", zone="UTC"), Column("load", "float"))),
    time="time", step="1h", horizon="2h", target="load", features={"last": lag("load", "1h")}, model=Forecaster(),
)
"""


READING = """
class Reading:
    def __init__(self, rows):
        self.rows = rows

    def read(self, **_):
        pass
"""


def test_a_reader_beside_system_py_goes_to_other_processes_by_reference(tmp_path):
    (tmp_path / "system.py").write_text(SYSTEM)
    (tmp_path / "reading.py").write_text(READING)
    system = load_system(str(tmp_path), ["horizon=4h"])
    sent = pickle.loads(pickle.dumps(system))
    assert (sent.source.reader.rows, sent.steps) == (3, 4)
    json.dumps(system.config())
