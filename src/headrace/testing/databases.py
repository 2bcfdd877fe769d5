"""What every database as a source must do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import ClassVar, Protocol

import polars as pl
import pytest

from headrace.errors import SourceError, UsageError
from headrace.sources import Records, Source, SourceContext, arrow, open_source

NOW = datetime(2026, 2, 1, tzinfo=UTC)
ODD = 'tab\t, "quotes", it\'s; two\nlines, U+2028 \u2028, 🚰, :name, %s, $1, -- no comment'


class WritableDatabase(Protocol):
    """A database that tests may write to.

    Attributes:
        uri: As a source names it.
        kinds: How it calls types: ``text integer float time`` at least; what it lacks is left out:
            ``decimal(9, 2)``, ``date``, ``clock``, ``boolean``, ``json``, ``list``, ``bytes``.
    """

    uri: str
    kinds: Mapping[str, str]

    def write(self, *statements: str) -> None:
        """Run statements, each a transaction of its own."""


class DatabaseSuite:
    """A query of a database gives all its rows once, of one moment, and later what is new; nothing is ever written.

    Give a database that is empty, which the fixture makes anew for every test:

        class TestMine(DatabaseSuite):
            @pytest.fixture
            def database(self, tmp_path): return MyDatabase(tmp_path)

    Attributes:
        values: What literals of each kind are when they have come: a statement's text, and the value.
    """

    values: ClassVar[Mapping[str, tuple[str, object]]] = {
        "text": ("'007'", "007"),
        "integer": ("-9007199254740993", -9007199254740993),
        "float": ("0.1", 0.1),
        "decimal": ("1234567.50", "1234567.50"),
        "date": ("'2026-01-31'", date(2026, 1, 31)),
        "clock": ("'23:59:58'", time(23, 59, 58)),
        "time": ("'2026-01-01 01:02:03.000004+00:00'", datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)),
        "boolean": ("TRUE", True),
    }

    @pytest.fixture
    def database(self) -> WritableDatabase:
        """An empty database."""
        raise NotImplementedError("say which: override the fixture database")

    @pytest.fixture
    def sales(self, database: WritableDatabase) -> WritableDatabase:
        """Four rows of two shops, with a number and a time that grow."""
        kinds = database.kinds
        columns = f"n {kinds['integer']}, shop {kinds['text']}, moment {kinds['time']}"
        database.write(f"CREATE TABLE sales ({columns})")
        self.add(database, *range(1, 5))
        return database

    def add(self, database: WritableDatabase, *numbers: int) -> None:
        """Add rows, each of the hour of its number."""
        rows = ", ".join(f"({n}, '{'ab'[n % 2]}', '{self.hour(n)}')" for n in numbers)
        database.write(f"INSERT INTO sales VALUES {rows}")  # noqa: S608  # numbers

    def hour(self, number: int) -> str:
        """An hour of January, in UTC, as a literal."""
        return f"2026-01-{1 + number // 24:02} {number % 24:02}:00:00+00:00"

    def read(self, database: WritableDatabase, cache: Path | None = None, **fields: object) -> Records:
        """A read of the query that the fields declare; by default of the whole table."""
        given = fields if "query" in fields or "table" in fields else {"table": "sales", **fields}
        source = Source.model_validate({"uri": database.uri, **given})
        return open_source(source, None, SourceContext(cache, time="moment")).read(as_of=NOW, now=NOW)

    def numbers(self, records: Records) -> list[int]:
        """The numbers of all rows, in order."""
        return sorted(n for frame in (records.frame, *records.more) for n in frame["n"].to_list())

    def stored(self, database: WritableDatabase, cache: Path, **fields: object) -> tuple[list[int], str | None]:
        """The numbers of a read whose rows are stored, and what people are told."""
        records = self.read(database, cache, **fields)
        return self.numbers(records), records.stored(0)

    def test_values_lose_nothing_and_have_the_same_types_everywhere(self, database: WritableDatabase) -> None:
        kinds = {kind: declared for kind, declared in database.kinds.items() if kind in self.values}
        database.write(f"CREATE TABLE kinds ({', '.join(f'a_{kind} {name}' for kind, name in kinds.items())})")
        rows = ", ".join(self.values[kind][0] for kind in kinds), ", ".join("NULL" for _ in kinds)
        database.write(*(f"INSERT INTO kinds VALUES ({row})" for row in rows))  # noqa: S608  # literals
        columns = ", ".join(f"a_{kind}" for kind in kinds)
        frame = self.read(database, query=f"SELECT {columns} FROM kinds ORDER BY a_text IS NULL").frame  # noqa: S608
        expected = {f"a_{kind}": [self.values[kind][1], None] for kind in kinds}
        assert frame.to_dict(as_series=False) == expected
        for name in ("a_date", "a_time"):
            assert frame.schema.get(name) in (None, pl.Date, pl.Datetime("us", "UTC"), pl.String)

    def test_text_comes_as_it_is(self, database: WritableDatabase) -> None:
        records = self.read(database, query="SELECT :odd AS said", parameters={"odd": ODD})
        assert records.frame["said"].to_list() == [ODD]

    def test_what_a_frame_cannot_hold_is_refused_by_name(self, database: WritableDatabase) -> None:
        if "bytes" not in database.kinds:
            pytest.skip("it has no bytes")
        database.write(f"CREATE TABLE pictures (picture {database.kinds['bytes']})")
        with pytest.raises(SourceError, match="picture holds bytes"):
            self.read(database, table="pictures")

    def test_json_and_lists_are_text(self, database: WritableDatabase) -> None:
        kinds, frames = database.kinds, []
        for kind in ("json", "list"):
            if kind in kinds:
                database.write(f"CREATE TABLE of_{kind} (v {kinds[kind]})")
                frames.append(self.read(database, table=f"of_{kind}").frame)
        assert all(frame.dtypes == [pl.String] for frame in frames)

    def test_a_column_of_nulls_and_no_rows_at_all_keep_their_columns(self, sales: WritableDatabase) -> None:
        nulls = self.read(sales, query="SELECT n, NULL AS empty FROM sales").frame
        assert nulls["empty"].to_list() == [None] * 4
        records = self.read(sales, query="SELECT * FROM sales WHERE n > :n", parameters={"n": 99})
        assert (records.frame.height, list(records.more)) == (0, [])
        assert records.frame.columns == ["n", "shop", "moment"]

    def test_a_table_is_what_a_query_of_it_gives(self, sales: WritableDatabase) -> None:
        query = "SELECT * FROM sales -- all; of it)\n;"
        assert self.numbers(self.read(sales)) == self.numbers(self.read(sales, query=query)) == [1, 2, 3, 4]

    def test_parts_have_no_event_time_in_common(self, sales: WritableDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arrow, "PART", 2)
        self.add(sales, 2, 3, 3)
        records = self.read(sales)
        times = [frame["moment"].to_list() for frame in (records.frame, *records.more)]
        assert sum(map(len, times)) == 7
        assert len(times) > 1
        assert sum(len(set(part)) for part in times) == len({at for part in times for at in part})

    def test_parameters_are_values_and_never_sql(self, sales: WritableDatabase) -> None:
        query = "SELECT * FROM sales WHERE shop = :shop AND n >= :n AND :n > 0"
        assert self.numbers(self.read(sales, query=query, parameters={"shop": "a", "n": 3})) == [4]
        hostile = {"shop": "a' OR 'a' = 'a", "n": 1}
        assert self.numbers(self.read(sales, query=query, parameters=hostile)) == []
        with pytest.raises(UsageError, match=":n has no value"):
            self.read(sales, query=query, parameters={"shop": "a"})

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT 1 AS n; DROP TABLE sales",
            "SELECT 1 AS n) AS r; DELETE FROM sales; SELECT * FROM (SELECT 1 AS n",
            "DELETE FROM sales",
            "WITH gone AS (DELETE FROM sales RETURNING *) SELECT * FROM gone",
            "UPDATE sales SET n = 0",
            "",
        ],
    )
    def test_a_query_writes_nothing(self, sales: WritableDatabase, query: str) -> None:
        with pytest.raises((SourceError, UsageError)):
            self.numbers(self.read(sales, query=query))
        assert self.numbers(self.read(sales)) == [1, 2, 3, 4]

    @pytest.mark.parametrize("query", ["SELECT colour FROM sales", "SELECT * FROM nowhere"])
    def test_a_wrong_query_says_what_is_wrong(self, sales: WritableDatabase, query: str) -> None:
        with pytest.raises(SourceError) as caught:
            self.read(sales, query=query)
        assert "cannot be read" in caught.value.message
        assert caught.value.where == self.read(sales).origin.partition("#")[0]

    def test_a_query_that_begins_as_none_is_refused(self, sales: WritableDatabase) -> None:
        with pytest.raises(UsageError, match="begins with 'SELEKT'") as caught:
            self.read(sales, query="SELEKT 1")
        assert caught.value.where == "source.query"

    def test_a_column_that_has_gone_is_told(self, sales: WritableDatabase, tmp_path: Path) -> None:
        self.stored(sales, tmp_path, watermark="n")
        sales.write("ALTER TABLE sales DROP COLUMN n")
        with pytest.raises(SourceError, match="no column 'n'"):
            self.read(sales, tmp_path, watermark="n")

    def test_a_later_read_begins_at_the_watermark(self, sales: WritableDatabase, tmp_path: Path) -> None:
        assert self.stored(sales, tmp_path, watermark="n") == ([1, 2, 3, 4], None)
        self.add(sales, 5, 6)
        assert self.stored(sales, tmp_path, watermark="n") == ([4, 5, 6], None)
        assert self.stored(sales, tmp_path, watermark="n", overlap=2)[0] == [4, 5, 6]

    def test_rows_that_were_read_and_not_stored_come_again(self, sales: WritableDatabase, tmp_path: Path) -> None:
        assert self.numbers(self.read(sales, tmp_path, watermark="n")) == [1, 2, 3, 4]
        assert self.numbers(self.read(sales, tmp_path, watermark="n")) == [1, 2, 3, 4]
        assert not list(tmp_path.rglob("position*"))

    def test_a_row_that_is_committed_late_comes_within_the_overlap(
        self, sales: WritableDatabase, tmp_path: Path
    ) -> None:
        self.add(sales, 40)
        self.stored(sales, tmp_path, watermark="moment", overlap="12h")
        self.add(sales, 30)  # stamped ten hours before the newest that is stored
        assert self.stored(sales, tmp_path, watermark="moment", overlap="12h")[0] == [30, 40]
        assert self.stored(sales, tmp_path, watermark="moment")[0] == [40]

    def test_an_overlap_of_another_kind_is_refused(self, sales: WritableDatabase, tmp_path: Path) -> None:
        self.stored(sales, tmp_path, watermark="n")
        with pytest.raises(UsageError, match="is a time, and the watermark a number"):
            self.read(sales, tmp_path, watermark="n", overlap="1h")

    def test_a_watermark_that_goes_back_is_told_and_all_is_read_again(
        self, sales: WritableDatabase, tmp_path: Path
    ) -> None:
        self.stored(sales, tmp_path, watermark="n")
        sales.write("DELETE FROM sales WHERE n > 2")
        numbers, message = self.stored(sales, tmp_path, watermark="n")
        assert numbers == []
        assert message is not None
        assert "went back" in message
        self.add(sales, 3)
        assert self.stored(sales, tmp_path, watermark="n") == ([1, 2, 3], None)

    def test_two_who_read_at_once_see_the_same(self, sales: WritableDatabase) -> None:
        with ThreadPoolExecutor(2) as pool:
            reads = list(pool.map(lambda _: self.numbers(self.read(sales)), range(4)))
        assert reads == [[1, 2, 3, 4]] * 4

    def test_of_two_columns_of_one_name_none_is_lost(self, sales: WritableDatabase) -> None:
        try:
            frame = self.read(sales, query="SELECT n AS a, shop AS a FROM sales").frame
        except SourceError:
            return
        assert (frame.width, sorted(frame.row(0), key=str)[1]) == (2, "b")

    def test_nothing_says_who_logs_in(self, sales: WritableDatabase) -> None:
        secrets = [value for name, value in os.environ.items() if "PASSWORD" in name and value]
        origin = self.read(sales).origin
        assert "@" not in origin
        assert not any(secret in origin for secret in secrets)
