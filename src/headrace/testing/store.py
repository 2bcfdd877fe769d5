"""What every place of the store's tables must do."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headrace.errors import HeadraceError, NotFoundError
from headrace.store import FeatureGroup, FeatureView, Store, Table, Upkeep, Written, location
from headrace.store.verify import check, restore

START = datetime(2023, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
Place = tuple[str, dict[str, str] | None]


def hourly(n: int, value: float | None = None, known_after: int = 1) -> pl.DataFrame:
    """Three series at hour `n`."""
    time = START + timedelta(hours=n)
    rows = [
        (f"s{i}", time, time + timedelta(hours=known_after), n + i / 10 if value is None else value) for i in range(3)
    ]
    return pl.DataFrame(
        rows, schema={"key": pl.String, "time": TIME, "known_at": TIME, "value": pl.Float64}, orient="row"
    )


def append(table: Table, frame: pl.DataFrame) -> Written:
    """Append with the identity (key, time)."""
    return table.append(frame, identity=["key", "time"], compare=["value"], window="time")


def change(place: Place, name: str, how: str) -> None:
    """Flip a bit of a file of the store, shorten it, or take it away."""
    uri, options = place
    objects = location.objects(uri, options or {})
    content = bytearray(objects.get(name).bytes())
    content[len(content) // 2] ^= 1
    if how == "gone":
        objects.delete(name)
    else:
        objects.put(name, bytes(content if how == "flipped" else content[:-7]))


class StoreSuite:
    """A folder or an object store holds tables that lose and double nothing, and remember every version.

    Give a place where nothing is yet:

        class TestMine(StoreSuite):
            @pytest.fixture
            def place(self, tmp_path): return f"{tmp_path}/store", None
    """

    @pytest.fixture
    def place(self) -> Place:
        """A URI that nothing is at yet, and its storage options; another one for every test."""
        raise NotImplementedError("say where the tables are: override the fixture place")

    @pytest.fixture
    def store(self, place: Place) -> Store:
        """The store there, which tidies up often."""
        uri, options = place
        return Store(uri, options, upkeep=Upkeep(small_files=4, keep_files=timedelta(), keep_log=timedelta()))

    def test_facts_are_appended_once_and_read_by_time_and_version(self, store: Store) -> None:
        table = store.table("energy", "raw")
        assert not table.exists()
        assert table.version() == 0
        with pytest.raises(NotFoundError):
            table.scan()
        for n in range(6):  # compacts on its way
            assert append(table, hourly(n)) == Written(n + 1, 3, 0)
            assert append(table, hourly(n)) == Written(n + 1, 0, 3)
        assert append(table, hourly(2, value=-1.0, known_after=9)) == Written(7, 3, 0)
        by: dict[str, Any] = {"identity": ["key", "time"], "where": pl.col("time") == START + timedelta(hours=2)}
        assert table.read(**by)["value"].to_list() == [-1.0] * 3
        assert table.read(**by, version=6)["value"].to_list() == [2.0, 2.1, 2.2]
        assert table.read(**by, as_of=START + timedelta(hours=10))["value"].to_list() == [2.0, 2.1, 2.2]
        assert table.read(identity=["key", "time"], version=2).height == 6
        assert table.compact()
        assert table.read(identity=["key", "time"], version=2).height == 6
        assert table.versions()["rows"].to_list() == [3] * 7
        assert store.systems() == ["energy"]

    def test_writers_at_once_lose_and_double_nothing(self, place: Place) -> None:
        # Compacts all the time, but keeps what it replaced for the others' reads, as the defaults do.
        store = Store(*place, upkeep=Upkeep(small_files=4))
        failures: list[HeadraceError] = []

        def write(start: int) -> None:
            try:
                for n in range(start, start + 5):
                    append(store.table("energy", "raw"), hourly(n))
            except HeadraceError as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(start,)) for start in (0, 2, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        stored = store.table("energy", "raw").scan().collect()
        assert stored.height == 9 * 3
        assert stored.select("key", "time").is_unique().all()

    def test_features_join_as_they_were_known(self, store: Store) -> None:
        lags = FeatureGroup(store, "energy", "lags", keys=["key"], time="time", columns={"value": pl.Float64()})
        for n in range(3):
            lags.write(hourly(n))
        spine = pl.DataFrame({"key": ["s1", "s0"], "time": [START + timedelta(hours=2), START + timedelta(hours=9)]})
        training_set = FeatureView("v", [(lags, ["value"])]).training_set(spine.cast({"time": TIME}))
        assert training_set.frame["value"].to_list() == [1.1, 2.0]
        assert training_set.pins == {"lags": 3}

    @pytest.mark.parametrize(
        ("what", "how"),
        [("data", "flipped"), ("data", "gone"), ("commit", "shortened"), ("commit", "gone"), ("mark", "flipped")],
    )
    def test_verify_finds_what_changed(self, place: Place, what: str, how: str) -> None:
        table = Store(*place).table("energy", "raw")
        for n in range(5):
            append(table, hourly(n))
        for deep in (False, True):
            assert check(table, deep=deep).problems == ()
            assert check(table, deep=deep).rows == 15
        data = table.files()["path"][0]
        name = {"data": f"raw/{data}", "commit": f"raw/_delta_log/{5:020}.json", "mark": "_tables/raw.json"}[what]
        change(place, f"energy/{name}", how)
        problems = check(table, deep=True).problems
        assert name.removeprefix("raw/") in " ".join(problems) or "behind its records" in problems[0]
        if (what, how) != ("data", "flipped"):  # of which only the bytes tell
            assert check(table).problems
        if what != "data":
            restore(table)
            assert check(table, deep=True).problems == ()
            assert append(table, hourly(9)).added == 3

    def test_a_systems_folder_moves_and_goes_as_a_whole(self, store: Store) -> None:
        table = store.table("energy", "raw")
        for n in range(3):
            append(table, hourly(n))
        before, size = table.collect(table.scan()), store.folders.sizes("energy")["raw"]
        store.note("energy/view-x.json", b"{}")
        store.folders.move("energy", "power")
        store.folders.move("energy", "power")  # again, after a death before it was told
        moved = store.table("power", "raw")
        assert_frame_equal(moved.collect(moved.scan()), before, check_row_order=False)
        assert (store.systems(), store.notes("power"), store.folders.sizes("power")["raw"]) == (
            ["power"],
            ["power/view-x.json"],
            size,
        )
        assert check(moved, deep=True).problems == ()
        assert append(moved, hourly(3)).added == 3
        store.folders.remove("power")
        store.folders.remove("power")
        assert (store.systems(), store.folders.sizes("power")) == ([], {})

    def test_rows_are_removed_from_every_version(self, store: Store) -> None:
        table = store.table("energy", "raw")
        for n in range(3):
            append(table, hourly(n))
        newest = table.version()
        assert table.remove("_version <= 2") == 6
        assert table.remove("_version <= 2") == 0
        assert (table.version(), table.collect(table.scan()).height) == (newest, 3)
        assert check(table, deep=True).problems == ()
        assert append(table, hourly(5)).version == newest + 1
