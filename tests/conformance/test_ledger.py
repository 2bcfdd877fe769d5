"""What every database of the ledger must do: one suite, run over SQLite and over PostgreSQL."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from tests.ledger.helpers import NOW, PINS, entry

from headrace.errors import (
    ConfigError,
    KeyConflictError,
    LedgerError,
    LedgerUnavailableError,
    NotFoundError,
    StoreError,
)
from headrace.ledger import Alert, Entry, Ledger, Writer
from headrace.ledger.ledger import Standing
from headrace.ledger.shadows import Shadow


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of a ledger that is not made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/ledger.db"
    return request.getfixturevalue("postgres_database")


@pytest.fixture
def ledger(uri: str) -> Iterator[Ledger]:
    opened = Ledger.open(uri)
    yield opened
    opened.close()


def keys(ledger: Ledger, system: str = "titanic", after: int = 0) -> list[str]:
    return [e.key for _, e in ledger.read(system, after=after)]


def test_a_prediction_is_found_as_it_was_answered(ledger: Ledger, uri: str) -> None:
    made = entry(ledger, "892", inputs='{"Name":"Zoë \\u0000 😀"}'.encode(), answer=b'{"p":0.1000000000000000055}')
    assert ledger.write([made]) == [made]
    other = Ledger.open(uri)
    assert other.find("titanic", "892") == made
    assert other.get(made.id) == (made, PINS)
    assert other.read("titanic") == [(1, made)]
    assert other.find("titanic", "893") is None
    assert other.find("energy", "892") is None
    assert other.get("no such id") is None
    other.close()


def test_the_same_key_is_one_row(ledger: Ledger) -> None:
    first, again, other = entry(ledger, "1"), entry(ledger, "1"), entry(ledger, "1", "b")
    assert ledger.write([first, again]) == [first, first]
    assert ledger.write([again, entry(ledger, "2")])[0] == first
    conflict, neighbour = ledger.write([other, new := entry(ledger, "3")])
    assert isinstance(conflict, KeyConflictError)
    assert neighbour == new
    elsewhere = other._replace(system="energy")
    assert ledger.write([elsewhere]) == [elsewhere]
    twice = entry(ledger, "4")
    assert ledger.write([twice, twice]) == [twice, twice]
    assert keys(ledger) == ["1", "2", "3", "4"]
    assert ledger.write([]) == []


def test_batches_of_every_length(ledger: Ledger) -> None:
    wanted: list[str] = []
    for length in (1, 2, 3, 7, 64, 100, 513, 1500):
        batch = [entry(ledger, f"{length}/{i}") for i in range(length)]
        assert ledger.write(batch) == batch
        wanted += [e.key for e in batch]
    assert keys(ledger) == wanted


def test_a_batch_that_the_database_refuses_leaves_nothing(ledger: Ledger) -> None:
    one = entry(ledger, "1")
    for bad in (entry(ledger, "2", id=one.id), entry(ledger, "2", pins="unknown"), entry(ledger, "2\ud800")):
        with pytest.raises(LedgerError) as caught:
            ledger.write([one, bad])
        assert not isinstance(caught.value, LedgerUnavailableError)
    assert ledger.read("titanic") == []


def test_reading_goes_on_where_it_ended(ledger: Ledger) -> None:
    for key in "abcdef":
        ledger.write([entry(ledger, key), entry(ledger, key, system="energy")])
    seen: list[str] = []
    last = 0
    while page := ledger.read("titanic", after=last, limit=2):
        seen += [e.key for _, e in page]
        last = page[-1][0]
    assert seen == list("abcdef")


def test_a_reader_misses_nothing_while_many_write(ledger: Ledger) -> None:
    seen: list[str] = []
    last, done = 0, threading.Event()

    def write(name: int) -> None:
        for i in range(25):
            ledger.write([entry(ledger, f"{name}/{i}/{j}") for j in range(3)])

    def follow() -> None:
        nonlocal last
        while True:
            ended = done.is_set()
            page = ledger.read("titanic", after=last)
            seen.extend(e.key for _, e in page)
            last = page[-1][0] if page else last
            if ended:
                return

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
    finally:
        done.set()
        reader.join()
    assert len(seen) == 300
    assert seen == keys(ledger)


def test_pins_are_stored_once(ledger: Ledger, uri: str) -> None:
    digest = ledger.pin({"a": 1, "b": [2.5, None]})
    assert ledger.pin({"b": [2.5, None], "a": 1}) == digest
    assert Ledger.open(uri).pin({"a": 1, "b": [2.5, None]}) == digest
    assert ledger.pin({"a": 2}) != digest


def test_alerts(ledger: Ledger) -> None:
    alert = Alert("a1", "energy", "warning", "mape", "MAPE is 0.4, it may be 0.3", NOW, details={"mape": 0.4})
    assert ledger.raise_alert(alert)
    assert not ledger.raise_alert(replace(alert, message="another time"))
    later = replace(alert, id="a2", severity="alarm", opened_at=NOW + timedelta(hours=1))
    ledger.raise_alert(later)
    assert ledger.alerts("energy") == [later, alert]
    ledger.close_alert("a1", NOW + timedelta(hours=2))
    ledger.close_alert("a1", NOW + timedelta(hours=3))
    assert ledger.alerts("energy", only_open=True) == [later]
    assert ledger.alerts("energy")[1] == replace(alert, closed_at=NOW + timedelta(hours=2))
    with pytest.raises(NotFoundError):
        ledger.close_alert("a3", NOW)
    with pytest.raises(LedgerError, match="refused"):
        ledger.raise_alert(replace(alert, id="a4", severity="fatal"))


def test_opened_by_many_at_once(uri: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(Ledger.open, [uri] * 8))
    made = entry(opened[0], "1")
    opened[0].write([made])
    assert [each.find("titanic", "1") for each in opened] == [made] * 8
    for each in opened:
        each.close()


def test_a_newer_ledger_is_refused(ledger: Ledger, uri: str) -> None:
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger_format SET version = 99"))
    engine.dispose()
    with pytest.raises(LedgerError, match="99"):
        Ledger.open(uri)


def test_one_refused_submission_does_not_touch_its_neighbours(ledger: Ledger) -> None:
    outcomes: dict[str, object] = {}
    held = threading.Event()
    writer = Writer(ledger)
    writer.submit([entry(ledger, "first")], lambda _: held.wait(60))  # so that the others wait together
    good = [entry(ledger, "good"), entry(ledger, "better")]
    writer.submit(good[:1], lambda outcome: outcomes.update(good=outcome))
    writer.submit([entry(ledger, "bad", pins="unknown")], lambda outcome: outcomes.update(bad=outcome))
    writer.submit(good[1:], lambda outcome: outcomes.update(better=outcome))
    held.set()
    writer.close()
    assert outcomes["good"] == good[:1]
    assert outcomes["better"] == good[1:]
    assert isinstance(outcomes["bad"], LedgerError)


WRITE = st.tuples(st.sampled_from("st"), st.sampled_from("abcdé\x01 \"'"), st.sampled_from("xyz"))
WRITES = st.lists(st.lists(WRITE, max_size=9), max_size=6)


@given(WRITES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_property_any_writes_are_as_in_a_dictionary(ledger: Ledger, batches: list[list[tuple[str, str, str]]]) -> None:
    tag = str(len(ledger.read("s", limit=100_000))) + "/" + str(len(ledger.read("t", limit=100_000))) + "/"
    model: dict[tuple[str, str], object] = {}
    for batch in batches:
        entries = [entry(ledger, tag + key, row, system=system) for system, key, row in batch]
        for one, outcome in zip(entries, ledger.write(entries), strict=True):
            stands = model.setdefault((one.system, one.key), one)
            if stands.digest == one.digest:
                assert outcome == stands
            else:
                assert isinstance(outcome, KeyConflictError)
    for system in "st":
        stored = [e for _, e in ledger.read(system, limit=100_000) if e.key.startswith(tag)]
        assert stored == [e for (name, _), e in model.items() if name == system]
    for (system, key), one in model.items():
        assert ledger.find(system, key) == one
        assert ledger.get(one.id) == (one, PINS)


@pytest.mark.parametrize(
    "bad",
    ["", "ledger.db", "mysql://u:sesame@h/d", "sqlite://", "sqlite:///:memory:", "postgresql://u:sesame@h:port/d"],
)
def test_what_is_no_ledger_is_refused_without_its_secrets(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger.open(bad)
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


def test_of_a_group_all_is_stored_or_nothing(ledger: Ledger) -> None:
    ledger.write([entry(ledger, "a")])
    free, taken, other = entry(ledger, "b"), entry(ledger, "a", "another row"), entry(ledger, "c")
    first, second = ledger.write_groups([[free, taken], [other]])
    assert isinstance(first[1], KeyConflictError)
    assert second == [other]
    assert ledger.find("titanic", "b") is None
    assert ledger.find("titanic", "c") == other


def test_what_follows_from_the_log_is_logged_with_nothing_between(ledger: Ledger) -> None:
    """Many extend the log by the number of its entries: each number comes once, in order."""
    ledger.pin(PINS)

    def extend(name: int) -> None:
        known = after = 0
        for i in range(10):

            def make(newer: list[tuple[int, Entry]], standing: Standing) -> list[tuple[str, Entry]]:
                nonlocal known
                known += len(newer) + 1
                return [(f"series {name}", entry(ledger, f"{name}/{i}", str(known - 1), system="live"))]  # noqa: B023

            after = ledger.extend("live", after, make)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(extend, range(4)))
    log = ledger.read("live")
    assert [e.digest for _, e in log] == [str(i).encode().hex() for i in range(40)]
    assert ledger.last("live") == log[-1][0]
    assert (ledger.last("titanic"), ledger.last("nothing")) == (0, 0)
    third = [numbered for numbered in log if numbered[1].key.startswith("3/")]
    assert ledger.events("live", "series 3", until=log[-1][0], limit=100) == third[::-1]
    assert ledger.events("live", "series 3", until=third[4][0], limit=2) == [third[4], third[3]]
    assert ledger.events("live", "series 9", until=log[-1][0], limit=2) == []


def test_extending_sees_what_keys_stand_for_and_may_add_nothing(ledger: Ledger) -> None:
    first = entry(ledger, "1", system="live")
    after = ledger.extend("live", 0, lambda newer, standing: [("a", first)])
    seen: list[object] = []

    def make(newer: list[tuple[int, Entry]], standing: Standing) -> list[tuple[str, Entry]]:
        seen.extend([newer, standing(["1", "2"])])
        return []

    assert ledger.extend("live", after, make) == after
    assert ledger.extend("live", 0, make) == after
    assert seen == [[], {"1": first}, [(after, first)], {"1": first}]


def test_a_failure_while_extending_leaves_nothing(ledger: Ledger) -> None:
    def fail(newer: list[tuple[int, Entry]], standing: Standing) -> list[tuple[str, Entry]]:
        raise StoreError("away")

    with pytest.raises(StoreError):
        ledger.extend("live", 0, fail)
    bad = entry(ledger, "1", system="live", pins="unknown")
    with pytest.raises(LedgerError):
        ledger.extend("live", 0, lambda newer, standing: [("a", entry(ledger, "0", system="live")), ("a", bad)])
    assert ledger.read("live") == []
    assert ledger.write([entry(ledger, "2")])[0].key == "2"  # type: ignore[union-attr]


def test_a_version_follows_the_log(ledger: Ledger) -> None:
    ledger.write([entry(ledger, "before")])
    begun = ledger.shadows.begin("titanic", 2)
    assert ledger.shadows.begin("titanic", 2) == begun
    ledger.write([entry(ledger, key) for key in "abc"])
    ledger.write([entry(ledger, "a", system="energy")])
    (found,) = ledger.shadows.followers("titanic")
    assert found == (begun, 3)
    log = ledger.read("titanic", after=begun.position)
    assert [each.key for _, each in log] == list("abc")
    said = [Shadow(number, f"s-{each.key}", None, b"{}", each.pins) for number, each in log[:2]]
    moved = begun._replace(position=log[1][0], scored=2)
    assert ledger.shadows.go_on("titanic", begun, moved, said)
    # Another process that was where this one was stores nothing.
    assert not ledger.shadows.go_on("titanic", begun, moved, said)
    assert ledger.shadows.followers("titanic") == [(moved, 1)]
    assert ledger.shadows.read("titanic", 2) == [(s, each) for s, (_, each) in zip(said, log, strict=False)]
    assert ledger.shadows.read("titanic", 2, after=log[0][0])[0][1].key == "b"
    found_by_id = ledger.shadows.get("s-b")
    assert found_by_id is not None
    assert (found_by_id[0], found_by_id[1]) == (said[1], log[1][1])
    assert ledger.shadows.get("s-c") is None
    assert ledger.get("s-b") is None
    assert keys(ledger) == ["before", "a", "b", "c"]
