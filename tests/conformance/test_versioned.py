"""Tables that keep their versions: what a later version brought, since when it is known, and from a watermark on."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from headrace.errors import SourceError, UsageError
from headrace.sources import Source, SourceContext, open_source
from headrace.testing import SourceSuite

NOW = datetime.now(UTC) + timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(*numbers):
    times = pa.array([START + timedelta(hours=n) for n in numbers], pa.timestamp("us", "UTC"))
    return pa.table({"n": pa.array(numbers, pa.int64()), "shop": ["ab"[n % 2] for n in numbers], "moment": times})


class Delta:
    def __init__(self, folder):
        self.uri = f"delta:{folder / 'sales'}"
        self._path = folder / "sales"

    def append(self, *numbers):
        from deltalake import write_deltalake

        write_deltalake(self._path, rows(*numbers), mode="append", partition_by=["shop"])

    def replace(self, *numbers):
        from deltalake import write_deltalake

        write_deltalake(self._path, rows(*numbers), mode="overwrite")

    def remove(self):
        shutil.rmtree(self._path)


class Iceberg:
    def __init__(self, folder):
        from pyiceberg.catalog import load_catalog

        self.uri = "iceberg:shop/march.sales"
        settings = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
        os.environ.update({f"PYICEBERG_CATALOG__SHOP__{name.upper()}": value for name, value in settings.items()})
        self._catalog = load_catalog("shop", **settings)
        self._catalog.create_namespace("march")
        self._table = self._catalog.create_table("march.sales", rows(1).schema)

    def append(self, *numbers):
        self._table.append(rows(*numbers))

    def replace(self, *numbers):
        self._table.overwrite(rows(*numbers))

    def remove(self):
        self._catalog.drop_table("march.sales")


@pytest.fixture(params=[Delta, Iceberg])
def table(request, tmp_path, monkeypatch):
    for name in ("URI", "WAREHOUSE"):
        monkeypatch.setenv(f"PYICEBERG_CATALOG__SHOP__{name}", "")
    made = request.param(tmp_path)
    made.append(1, 2)
    made.append(3)
    return made


def read(table, cache=None, **fields):
    source = Source(uri=table.uri, **fields)
    return open_source(source, None, SourceContext(cache, time="moment")).read(as_of=NOW, now=NOW)


def numbers(records):
    return sorted(records.frame["n"].to_list())


class TestVersioned(SourceSuite):
    as_of = NOW
    time = "moment"

    @pytest.fixture
    def source(self, table):
        return Source(uri=table.uri)

    @pytest.fixture
    def gone(self, table):
        table.remove()
        return Source(uri=table.uri)


def test_a_later_read_has_what_later_versions_brought(table, tmp_path):
    records = read(table, tmp_path)
    assert numbers(records) == [1, 2, 3]
    assert numbers(read(table, tmp_path)) == [1, 2, 3]  # nothing was stored
    assert records.stored(0) is None
    assert set(numbers(read(table, tmp_path))) <= {1, 2, 3}  # nothing new: what came last comes again
    table.append(4)
    table.append(5)
    records = read(table, tmp_path)
    assert numbers(records) == [4, 5]
    records.stored(1)  # a row is not known yet: all of them come again
    assert numbers(read(table, tmp_path)) == [4, 5]


def test_a_table_that_is_written_anew_is_read_with_its_new_files(table, tmp_path):
    read(table, tmp_path).stored(0)
    table.replace(1, 7)
    assert numbers(read(table, tmp_path)) == [1, 7]


def test_rows_are_known_since_their_commit_unless_they_say_so(table):
    frame = read(table).frame
    known = dict(zip(frame["n"], frame["known_at"], strict=True))
    assert abs(known[1] - known[2]) < timedelta(seconds=1)  # a file each, written for one commit
    assert max(known[1], known[2]) < known[3] < datetime.now(UTC)
    assert "known_at" not in read(table, known_at="moment").frame.columns


def test_a_watermark_counts_if_there_is_one(table, tmp_path):
    read(table, tmp_path, watermark="moment", overlap="30m").stored(0)
    table.append(5)
    records = read(table, tmp_path, watermark="moment", overlap="30m")
    assert numbers(records) == [3, 5]
    records.stored(0)
    table.replace(1)
    assert "went back" in read(table, tmp_path, watermark="moment", overlap="30m").stored(0)
    assert numbers(read(table, tmp_path, watermark="moment")) == [1]


def test_a_version_that_is_not_kept_is_told(table, tmp_path):
    records = read(table, tmp_path)
    records.stored(0)
    (position,) = tmp_path.glob("**/position*")
    position.write_text('{"version": "99"}')
    records = read(table, tmp_path)
    assert numbers(records) == [1, 2, 3]
    assert "not kept" in records.stored(0)
    position.write_text("{")
    with pytest.raises(SourceError, match="is no position"):
        read(table, tmp_path)


def test_what_does_not_fit_is_refused(table):
    with pytest.raises(UsageError, match="takes no query"):
        read(table, query="SELECT 1")
    with pytest.raises(SourceError, match="no column 'colour'"):
        read(table, watermark="colour")
    with pytest.raises(SourceError, match="shop is no number, date or time"):
        read(table, watermark="shop")
