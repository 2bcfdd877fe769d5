"""What every database of the online side must do: one suite, run over SQLite and over PostgreSQL."""

from __future__ import annotations

import itertools
import math
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.facts import Row, facts, hour, hourly
from tests.postgres import Postgres, new_database

from headrace.errors import ConfigError, NotFoundError, OnlineUnavailableError, StoreError, UsageError
from headrace.store import FeatureGroup, FeatureView, Store
from headrace.store.online import KeyedValues, Online
from headrace.store.online.online import CLOCKS

WORKER = Path(__file__).parents[1] / "system/store/online_worker.py"
numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an online side that is not made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/online.db"
    return request.getfixturevalue("postgres_database")


@pytest.fixture
def online(uri: str) -> Iterator[Online]:
    opened = Online(uri)
    yield opened
    opened.close()


def group(store: str | Path, online: Online | None, keep: int = 1, **given: Any) -> FeatureGroup:
    options: dict[str, Any] = {"keys": ["key"], "time": "time", "columns": {"value": pl.Float64()}} | given
    return FeatureGroup(Store(store, online=online), "energy", "lags", **options, online=keep)


def answer(stored: list[dict[str, Any]], key: str | None, at: float) -> float | None:
    there = [r for r in stored if r["key"] == key and r["known_at"] <= hour(at) and r["time"] <= hour(at)]
    return max(there, key=lambda r: (r["time"], r["known_at"], r["_version"]))["value"] if there else None


def past(stored: list[dict[str, Any]], key: str | None, at: float, last: int) -> list[float | None]:
    there = [r for r in stored if r["key"] == key and r["known_at"] <= hour(at) and r["time"] <= hour(at)]
    best: dict[Any, Any] = {}
    for row in sorted(there, key=lambda r: (r["time"], r["known_at"], r["_version"])):
        best[row["time"]] = row["value"]
    return list(best.values())[-last:]


def test_the_latest_values_by_key(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online)
    lags.write(facts([("a", 1, 2, 1.5), ("b", 1, 2, None), (None, 0, 1, 3.0)]))
    found = online.get(lags, "a")
    assert found == {"value": 1.5}
    assert isinstance(found, KeyedValues)
    assert (found.time, found.known_at, found.version) == (hour(1), hour(2), 1)
    assert found.age(hour(5)) == timedelta(hours=4)
    assert online.get_many(lags, ["b", "x", None, "a", "b"]) == [
        {"value": None},
        None,
        {"value": 3.0},
        found,
        {"value": None},
    ]
    assert online.get_many(lags, []) == []
    assert online.look_up(lags, []).version == online.version(lags) == 1


def test_older_facts_do_not_overwrite_and_corrections_do(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online)
    lags.write(facts([("a", 5, 6, 5.0)]))
    lags.write(facts([("a", 4, 9, 4.0)]))  # an earlier event that became known later
    assert online.get(lags, "a") == {"value": 5.0}
    lags.write(facts([("a", 5, 8, 5.5)]))
    assert online.get(lags, "a") == {"value": 5.5}
    lags.write(facts([("a", 5, 7, 5.2)]))  # what was believed for an hour
    assert online.get(lags, "a") == {"value": 5.5}
    assert online.version(lags) == 4


def test_what_is_too_old_or_not_known_yet_is_no_answer(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online)
    lags.write(facts([("a", 5, 7, 5.0)]))
    asked = {h: online.get(lags, "a", as_of=hour(h)) for h in (4, 6, 7, 9)}
    assert asked == {4: None, 6: None, 7: {"value": 5.0}, 9: {"value": 5.0}}
    aged = {h: online.get_many(lags, ["a"], as_of=hour(h), ttl=timedelta(hours=3)) for h in (8, 9)}
    assert aged == {8: [{"value": 5.0}], 9: [None]}


def test_values_come_back_as_they_were(online: Online, tmp_path: Path) -> None:
    row = {
        "area": "Zoë \x00 \" '",
        "code": -(2**63),
        "time": hour(0),
        "known_at": hour(1),
        "x": 0.1 + 0.2,
        "inf": -math.inf,
        "n": 2**63 - 1,
        "yes": True,
        "text": "😀 \x00",
        "at": hour(0.123456),
        "list": [1.5, None],
    }
    frame = pl.DataFrame([row])
    columns = {name: frame.schema[name] for name in ("x", "inf", "n", "yes", "text", "at", "list")}
    lags = group(tmp_path, online, keys=["area", "code"], columns=columns)
    lags.write(frame)
    found = online.get(lags, (row["area"], row["code"]))
    assert found == {name: row[name] for name in columns}
    assert list(found) == list(columns)
    nan = frame.with_columns(pl.lit(hour(1)).dt.cast_time_unit("us").alias("time"), pl.lit(math.nan).alias("x"))
    lags.write(nan)
    again = online.get(lags, (row["area"], row["code"]))
    assert again is not None
    assert math.isnan(again["x"])


def test_keyless_features_answer_everyone(online: Online, tmp_path: Path) -> None:
    weather = group(tmp_path, online, 2, keys=[])
    weather.write(hourly(0, series=1).drop("key"))
    weather.write(hourly(1, series=1).drop("key"))
    assert online.get(weather, ()) == {"value": 100.0}
    assert online.history(weather, (), 2) == [{"value": 0.0}, {"value": 100.0}]


def test_the_history_that_lags_need(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online, 3)
    for n in (0, 3, 1, 2, 4):
        lags.write(hourly(n))
    lags.write(facts([("s1", 3, 9, -1.0)]))
    assert online.history(lags, "s0", 3) == [{"value": 200.0}, {"value": 300.0}, {"value": 400.0}]
    assert [each.time for each in online.history(lags, "s1", 2)] == [hour(3), hour(4)]
    assert online.history(lags, "s1", 2) == [{"value": -1.0}, {"value": 401.0}]
    assert online.history(lags, "s1", 2, as_of=hour(2)) == []
    assert online.history(lags, "x", 2) == []
    with pytest.raises(UsageError, match="3 are kept"):
        online.history(lags, "s0", 4)


def pair(store: str | Path, online: Online, keep: int = 3) -> tuple[FeatureGroup, FeatureGroup, FeatureView]:
    """A group by key, one by (key, shop), and a view over both."""
    one = group(store, online, keep)
    two = FeatureGroup(
        one.store, "energy", "shops", keys=["shop", "key"], time="time", columns={"n": pl.Int64()}, online=keep
    )
    return one, two, FeatureView("both", [(one, ["value"]), (two, ["n"])])


def shops(rows: list[Row]) -> pl.DataFrame:
    frame = facts(rows).with_columns(pl.col("value").cast(pl.Int64).alias("n"), pl.lit("x").alias("shop"))
    return frame.select("shop", "key", "time", "known_at", "n")


def test_a_view_is_looked_up_as_it_is_joined(online: Online, tmp_path: Path) -> None:
    chance, (one, two, view) = random.Random(3), pair(tmp_path, online)
    for n in range(4):
        hours = [(4 * n + i, 4 * n + i + chance.randrange(3)) for i in range(4)]
        one.write(facts([(k, *h, chance.random()) for k, h in zip("abca", hours, strict=True)]))
        two.write(shops([(k, *h, h[0]) for k, h in zip("bac", hours[:3], strict=True)]))
    assert view.keys == ("key", "shop")
    asked = [(key, shop) for key in ("a", "b", "z", None) for shop in ("x", "y")]
    for ttl in (None, timedelta(hours=2)):
        some = FeatureView("both", [(one, ["value"]), (two, ["n"])], ttl=ttl)
        spine = pl.DataFrame(asked, schema={"key": pl.String, "shop": pl.String}, orient="row")
        for at in (16, 17, 30):
            frame, _ = some.training_set(spine.with_columns(pl.lit(hour(at)).alias("time")))
            told = [(f["value"], f["n"]) if f else (None, None) for f in some.get_many(asked, as_of=hour(at))]
            assert told == frame.select("value", "n").rows()
            assert some.get(asked[0], as_of=hour(at)) == some.get_many(asked[:1], as_of=hour(at))[0]
    found = view.get(("a", "y"), as_of=hour(30))
    assert found is not None
    assert (found["n"], list(found.parts)) == (None, ["lags"])
    assert found.time == found.parts["lags"].time <= found.known_at
    with pytest.raises(UsageError, match="keys are key, shop"):
        view.get("a", as_of=hour(30))


def test_the_history_of_a_view_is_that_of_its_groups(online: Online, tmp_path: Path) -> None:
    one, two, view = pair(tmp_path, online)
    one.write(facts([("a", h, h, float(h)) for h in (0, 2, 4, 6)]))
    two.write(shops([("a", h, h, h) for h in (3, 4)]))
    told = [(each.time, each["value"], each["n"]) for each in view.history(("a", "x"), 3, as_of=hour(9))]
    assert told == [(hour(3), None, 3), (hour(4), 4.0, 4), (hour(6), 6.0, None)]
    assert view.history(("a", "x"), 2, as_of=hour(3)) == [{"value": 2.0, "n": None}, {"value": None, "n": 3}]
    assert view.history(("z", "x"), 3) == view.history(("a", "x"), 0) == []
    with pytest.raises(UsageError, match="3 are kept"):
        view.history(("a", "x"), 4)


def test_a_view_is_known_by_its_name(online: Online, tmp_path: Path) -> None:
    one, two, view = pair(tmp_path, online)
    with pytest.raises(NotFoundError, match="no such feature group or view"):
        FeatureView.open(one.store, "energy", "both")
    one.write(hourly(0))
    two.write(shops([("s0", 0, 0, 5)]))
    view.declare("energy").declare("energy")
    opened = FeatureView.open(one.store, "energy", "both")
    assert opened.digest == view.digest
    assert opened.get(("s0", "x")) == {"value": 0.0, "n": 5}
    alone = FeatureView.open(one.store, "energy", "lags")  # a group is a view of all its columns
    assert (alone.keys, alone.get("s0")) == (("key",), {"value": 0.0})
    aged = FeatureView("both", [(two, ["n"])], ttl=timedelta(hours=1)).declare("energy")
    assert FeatureView.open(one.store, "energy", "both").digest == aged.digest
    with pytest.raises(UsageError, match="has this name"):
        FeatureView("lags", [(one, ["value"])]).declare("energy")
    offline = FeatureView("v", [(group(tmp_path / "other", None, 0), ["value"])])
    with pytest.raises(NotFoundError, match="online=1"):
        offline.get("a")
    said = one.store.noted("energy/view-both.json")
    assert said is not None
    one.store.note("energy/view-both.json", said.replace(b'"n"', b'"m"'))
    with pytest.raises(NotFoundError, match="no feature 'm' any more"):
        FeatureView.open(one.store, "energy", "both")


class Remembered:
    """A group and its table in memory: what the online side asks of them, without a file for every example."""

    keys, time, columns, system, fed = ("key",), "time", {"value": pl.Float64()}, "energy", False

    def __init__(self, keep: int) -> None:
        self.name, self.online, self.table = f"lags{next(numbers)}", keep, self
        self.frame = facts([]).with_columns(pl.lit(0, pl.Int64).alias("_version"))

    def append(self, rows: list[Row]) -> None:
        """As a table does: the last of several facts about one time that became known at one time counts."""
        new = facts(rows).unique(["key", "time", "known_at"], keep="last", maintain_order=True)
        self.frame = pl.concat([self.frame, new.with_columns(pl.lit(self.version() + 1, pl.Int64).alias("_version"))])

    def id(self) -> str:
        return self.name

    def version(self) -> int:
        return self.frame["_version"].max() or 0

    def scan(self, *, version: int, where: pl.Expr) -> pl.LazyFrame:
        return self.frame.lazy().filter(where, pl.col("_version") <= version)

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        return lazy.collect()


KEYS = st.sampled_from([None, "a", "b"])
VALUES = st.sampled_from([None, 0.0, 1.0, 2.0])
BATCH = st.lists(st.tuples(KEYS, st.integers(0, 6), st.integers(0, 8), VALUES), min_size=1, max_size=6)
STEPS = st.lists(st.tuples(BATCH, st.integers(0, 9), st.sampled_from(["follow", "again", "nothing"])), max_size=5)


@given(STEPS, st.integers(1, 3))
@settings(suppress_health_check=[*HealthCheck])
def test_property_any_writes_are_as_in_a_model(
    online: Online, steps: list[tuple[list[Row], int, str]], keep: int
) -> None:
    """Facts in any order, brought at any time, not at all or again: readers from then on get what the facts say."""
    lags, now = Remembered(keep), 0
    for batch, clock, what in steps:
        lags.append(batch)
        now = max(now, clock)
        if what != "nothing":
            online.follow(lags, now=hour(now))
        if what == "again":  # as by a writer that was held up for long
            assert online._bring(lags, max(lags.version() - 2, 0), lags.version(), hour(now))
    online.follow(lags, now=hour(now))
    stored, asked = lags.frame.to_dicts(), ["a", None, "b"]
    for at in range(now, 10):
        found = online.look_up(lags, asked, as_of=hour(at))
        assert found.version == lags.version()
        for key, each in zip(asked, found.found, strict=True):
            known = past(stored, key, at, keep)
            assert each == ({"value": answer(stored, key, at)} if known else None)
            assert online.get(lags, key, as_of=hour(at)) == each
            assert [one["value"] for one in online.history(lags, key, keep, as_of=hour(at))] == known
    before = online.get_many(lags, asked, as_of=hour(now))
    online.rebuild(lags, now=hour(now))
    assert online.get_many(lags, asked, as_of=hour(now)) == before


def test_what_another_left_undone_is_done_by_the_next(online: Online, tmp_path: Path) -> None:
    lags, elsewhere = group(tmp_path, online), group(tmp_path, None, 0)
    with pytest.raises(NotFoundError):
        online.follow(lags, now=hour(0))
    elsewhere.write(hourly(0))
    with pytest.raises(NotFoundError, match="headrace materialize online energy"):
        online.get(lags, "s0")
    assert online.version(lags) is None
    assert lags.write(hourly(0)).added == 0  # the table has it; the online side has not
    assert online.get(lags, "s0") == {"value": 0.0}
    elsewhere.write(hourly(1))
    elsewhere.write(hourly(2))
    assert online.get(lags, "s0") == {"value": 0.0}
    lags.write(hourly(3).filter(pl.col("key") == "s1"))
    assert online.get_many(lags, ["s0", "s1"]) == [{"value": 200.0}, {"value": 301.0}]


def test_another_declaration_makes_it_anew(online: Online, tmp_path: Path) -> None:
    group(tmp_path, online).write(hourly(0))
    group(tmp_path, online).write(hourly(1))
    wider = group(tmp_path, online, 2, columns={"value": pl.Float64(), "other": pl.Int64()})
    wider.write(hourly(2).with_columns(other=7))
    assert online.history(wider, "s0", 2) == [{"value": 100.0, "other": None}, {"value": 200.0, "other": 7}]
    opened = FeatureGroup.open(Store(tmp_path, online=online), "energy", "lags")
    assert (opened.keys, opened.columns, opened.online) == (wider.keys, wider.columns, 2)
    assert online.history(opened, "s0", 2) == online.history(wider, "s0", 2)
    assert FeatureGroup.names(Store(tmp_path), "energy") == ["lags"]


def test_a_table_that_was_begun_again(online: Online, tmp_path: Path) -> None:
    for folder, hours in (("a", range(3)), ("b", [0]), ("c", [5])):
        fresh = group(tmp_path / folder, online)
        for n in hours:
            fresh.write(hourly(n))
        assert online.get(fresh, "s0") == {"value": max(hours) * 100.0}
        assert online.version(fresh) == fresh.table.version() == len(hours)


def test_many_threads_and_connections(online: Online, uri: str, tmp_path: Path) -> None:
    lags = group(tmp_path, online, 5)
    lags.write(hourly(0))
    other: Online = pickle.loads(pickle.dumps(Online(uri)))

    def write(n: int) -> None:
        group(tmp_path, other, 5).write(hourly(n))

    def read(_: int) -> None:
        found = online.get_many(lags, ["s0", "s3"])
        assert None not in found
        assert found[0]["value"] + 3 == found[1]["value"]

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(write, n) for n in range(1, 7)]
        list(pool.map(read, range(60)))
        for each in writes:
            each.result()
    assert [f["value"] for f in other.history(lags, "s0", 5)] == [200.0, 300.0, 400.0, 500.0, 600.0]
    other.close()
    assert other.get(lags, "s0") == {"value": 600.0}
    other.close()


def processes(count: int, *arguments: list[str]) -> list[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen([sys.executable, WORKER, *each], text=True, **pipes) for each in arguments[:count]]
    for each in started:
        assert each.stdout.readline() == "ready\n", each.communicate()
    for each in started:
        each.stdin.write("go\n")
        each.stdin.flush()
    return started


def check_whole(online: Online, lags: FeatureGroup) -> None:
    stored = lags.table.collect(lags.table.scan()).to_dicts()
    assert online.version(lags) == lags.table.version()
    for key in ("s0", "s1", "s2", "s3"):
        assert [f["value"] for f in online.history(lags, key, 3)] == past(stored, key, 10_000, 3)


def test_several_processes_lose_nothing(online: Online, uri: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    started = processes(3, *([store, uri, str(start), "8"] for start in (0, 4, 8)))
    for each in started:
        out, err = each.communicate(timeout=300)
        assert each.returncode == 0, err
        assert len(out.split()) == 8
    lags = group(store, online, 3)
    assert lags.read().height == 16 * 4
    check_whole(online, lags)


@pytest.mark.fault
def test_killed_at_any_moment_the_next_write_heals(online: Online, uri: str, tmp_path: Path) -> None:
    store, chance, start = str(tmp_path / "store"), random.Random(1), 0
    lags = group(store, online, 3)
    for _ in range(2):
        (process,) = processes(1, [store, uri, str(start), "10000"])
        assert process.stdout.readline() == f"{start}\n"
        time.sleep(chance.uniform(0.02, 0.3))
        process.kill()
        told = [start, *map(int, process.communicate()[0].split())]
        version = online.version(lags)
        assert version is not None
        assert version <= lags.table.version()
        found = online.get(lags, "s2")
        assert found is not None
        assert found["value"] >= told[-1] * 100 + 2  # what was told to be written can be looked up
        start = told[-1] + 3
        lags.write(hourly(start - 1))
        check_whole(online, lags)


def test_mistakes_are_named(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online)
    lags.write(hourly(0))
    with pytest.raises(UsageError, match="has 2 values"):
        online.get(lags, ("a", "b"))
    with pytest.raises(UsageError, match="time zone"):
        online.get(lags, "a", as_of=hour(0).replace(tzinfo=None))
    with pytest.raises(UsageError, match="when it is asked"):
        online.get(lags, "a", ttl=timedelta(1))
    with pytest.raises(UsageError, match="no online side"):
        group(tmp_path, None)
    with pytest.raises(UsageError, match=":day"):
        group(tmp_path, online, columns={"day": pl.Date()})
    with pytest.raises(NotFoundError, match="no such feature group"):
        FeatureGroup.open(Store(tmp_path), "energy", "nope")


def test_a_database_that_is_away_is_named_without_its_secrets(tmp_path: Path) -> None:
    for bad in ("mysql://u:sesame@h/d", "sqlite://", "sesame.db"):
        with pytest.raises(ConfigError) as refused:
            Online(bad).version(group(tmp_path, Online(bad)))
        assert "u:sesame" not in "".join(traceback.format_exception(refused.value))
    away = Online("postgresql://u:sesame@127.0.0.1:1/d")
    lags = group(tmp_path, away)
    with pytest.raises(OnlineUnavailableError) as caught:
        lags.write(hourly(0))
    assert "sesame" not in str(caught.value)
    assert lags.read().height == 4  # the truth is there
    whole = Online(f"sqlite:///{tmp_path}/online.db")
    group(tmp_path, whole).write(hourly(0))
    assert whole.get(lags, "s1") == {"value": 1.0}
    whole.close()


def test_connections_that_the_server_ended_are_replaced(postgres_database: str, tmp_path: Path) -> None:
    import psycopg

    online = Online(postgres_database)
    lags = group(tmp_path, online)
    for n in range(3):
        lags.write(hourly(n))
        assert online.get(lags, "s0") == {"value": n * 100.0}
        with psycopg.connect(postgres_database, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'")
    online.close()


@pytest.mark.fault
def test_a_server_that_stands_still_is_given_up(tmp_path: Path) -> None:
    server = Postgres("fsync=off")
    try:
        online = Online(new_database(server.uri), timeout=1)
        lags = group(tmp_path, online)
        lags.write(hourly(0))
        server.signal(signal.SIGSTOP)
        for use in (lambda: online.get(lags, "s0"), lambda: lags.write(hourly(1))):
            with pytest.raises(OnlineUnavailableError):
                use()
        server.signal(signal.SIGCONT)
        lags.write(hourly(2))
        assert online.get(lags, "s0") == {"value": 200.0}
        online.close()
    finally:
        server.close()


def test_a_locked_file_is_read_and_written_later(tmp_path: Path) -> None:
    online = Online(f"sqlite:///{tmp_path}/online.db", timeout=0.1)
    lags = group(tmp_path, online)
    lags.write(hourly(0))
    other = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OnlineUnavailableError, match="locked"):
        lags.write(hourly(1))
    assert online.get(lags, "s0") == {"value": 0.0}
    other.close()
    lags.write(hourly(1))
    assert online.get(lags, "s0") == {"value": 100.0}
    online.close()


def test_a_file_that_was_removed_is_not_read_on(tmp_path: Path) -> None:
    online = Online(f"sqlite:///{tmp_path}/online.db")
    lags = group(tmp_path, online)
    lags.write(hourly(0))
    for path in tmp_path.glob("online.db*"):
        path.unlink()
    with pytest.raises(NotFoundError):
        online.get(lags, "s0")
    lags.write(hourly(0))
    assert online.get(lags, "s0") == {"value": 0.0}
    online.close()


def test_a_damaged_or_newer_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Online(f"sqlite:///{path}").version(group(tmp_path, Online(f"sqlite:///{path}")))
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="99"):
        Online(f"sqlite:///{tmp_path}/newer.db").version(group(tmp_path, Online("sqlite:///x.db")))


def test_the_clock_of_a_reader_may_be_a_little_behind(online: Online, tmp_path: Path) -> None:
    truth, lags = group(tmp_path, None, 0), group(tmp_path, online)
    truth.write(facts([("a", 1, 1, 1.0), ("a", 2, 2, 2.0)]))
    online.follow(lags, now=hour(2))
    assert online.get(lags, "a", as_of=hour(2) - CLOCKS) == {"value": 1.0}


def test_a_deleted_system_is_online_no_more(online: Online, tmp_path: Path) -> None:
    lags = group(tmp_path, online)
    lags.write(facts([("a", 1, 2, 1.5)]))
    online.forget("energ")  # another one
    assert online.get(lags, "a") == {"value": 1.5}
    online.forget("energy")
    online.forget("energy")
    with pytest.raises(NotFoundError):
        online.get(lags, "a")
    online.rebuild(lags, now=hour(9))
    assert online.get(lags, "a") == {"value": 1.5}
