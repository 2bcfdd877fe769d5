"""A table that holds what is appended to it: its readers see what they would if it were stored."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.errors import NotFoundError
from headrace.store import Store
from headrace.store.between import Between
from headrace.store.held import HeldTable

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOW = {"identity": ("key", "time"), "compare": ("value",), "window": "time"}


def facts(first, count, value=1.0, known=0, **more):
    times = [BEGIN + (first + n) * HOUR for n in range(count)]
    frame = {
        "key": ["a"] * count,
        "time": times,
        "value": [value] * count,
        "known_at": [t + known * HOUR for t in times],
    }
    return pl.DataFrame(frame | more)


def said(table, version=None):
    """All that a reader sees."""
    frame = table.collect(table.scan(version=version))
    return frame.select(sorted(frame.columns)).sort("_version", "time", "known_at", "value")


@pytest.fixture
def tables(tmp_path):
    return Store(tmp_path / "one").table("s", "t"), HeldTable(Store(tmp_path / "two").table("s", "t"))


@pytest.mark.parametrize("seed", [1, 2])
def test_readers_see_what_they_would_if_it_were_stored_and_so_does_everybody_after_the_release(tables, seed):
    plain, held = tables
    chance = random.Random(seed)
    for turn in range(5):
        rows = facts(chance.randrange(6), chance.randrange(1, 6), chance.choice([1.0, 2.0]), chance.randrange(3))
        rows = rows.with_columns(note=pl.lit("x")) if turn == 3 else rows
        assert held.append(rows, **HOW)[:2] == plain.append(rows, **HOW)[:2]
        if turn == 1 and seed == 2:
            assert held.release()  # some of it is stored, some held
        assert held.version() == plain.version()
        assert held.exists()
    assert said(held).equals(said(plain), null_equal=True)
    assert said(held, 2).drop("note", strict=False).equals(said(plain, 2).drop("note", strict=False))
    read = {"identity": HOW["identity"], "as_of": BEGIN + 4 * HOUR, "between": Between("time", BEGIN, BEGIN + 3 * HOUR)}
    assert held.read(**read).select("key", "time", "value").equals(plain.read(**read).select("key", "time", "value"))
    assert held.release()
    assert said(held.beneath).equals(said(plain), null_equal=True)
    assert (held.held, held.version()) == ([], plain.version())


def test_nothing_is_stored_of_what_is_left(tables):
    _, held = tables
    held.append(facts(0, 3), **HOW)
    assert not held.beneath.exists()
    held.leave()
    assert not held.exists()
    with pytest.raises(NotFoundError):
        held.scan()


def test_a_part_is_released_and_that_is_said(tables):
    _, held = tables
    held.append(facts(0, 4), **HOW)
    assert not held.release(pl.col("time") < pl.lit(BEGIN + 2 * HOUR))
    assert held.beneath.collect(held.beneath.scan())["time"].to_list() == [BEGIN, BEGIN + HOUR]


def test_who_else_wrote_meanwhile_is_noticed_and_their_rows_stay(tables):
    _, held = tables
    held.append(facts(0, 2), **HOW)
    held.append(facts(2, 2), **HOW)
    held.beneath.append(facts(1, 2), **HOW)
    assert not held.release()
    assert sorted(said(held)["time"].to_list()) == [BEGIN + n * HOUR for n in range(4)]


def test_what_another_process_held_is_taken_over(tables):
    _, held = tables
    other = HeldTable(held.beneath)
    held.append(facts(0, 2), **HOW)
    other.append(facts(2, 2), **HOW)
    other.append(facts(4, 1), **(HOW | {"compare": ()}))
    held.take(other.held)
    assert (held.version(), said(held)["_version"].to_list()) == (2, [1, 1, 1, 1, 2])
    assert held.release()
    assert said(held.beneath).height == 5
