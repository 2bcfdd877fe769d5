"""What every database of the ledger must do."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.errors import KeyConflictError, LedgerError, LedgerUnavailableError, StoreError, UsageError
from headrace.ledger import Entry, Ledger, LedgerWriter
from headrace.ledger.latencies import LatencyWindow
from headrace.ledger.ledger import Standing
from headrace.ledger.notices import Notice
from headrace.ledger.shadows import Shadow
from headrace.ledger.simulations import GONE, KEPT, LARGEST, SILENT, WAITING, QueuedSimulation

NOW = datetime(2026, 3, 2, 12, 30, 15, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PINS = {"model_version": 3, "feature_version": "4c1f", "as_of": "2026-03-02T12:00:00Z"}


def entry(ledger: Ledger, key: str, row: str = "a", **other: Any) -> Entry:
    """A prediction for a row that is told from others by one word."""
    values: dict[str, Any] = {
        "system": "titanic",
        "key": key,
        "id": str(uuid.uuid4()),
        "digest": row.encode().hex(),
        "inputs": f'{{"row": "{row}"}}'.encode(),
        "answer": b'{"Survived": 1}',
        "pins": ledger.pin(PINS),
        "model_version": 3,
        "created_at": NOW,
    }
    return Entry(**values | other)


def notice(alert: str, event: str, channel: str = "mail") -> Notice:
    """Something to be told."""
    return Notice("energy", alert, event, channel, NOW, "MAPE is 0.4")


def simulation(name: str, minute: int) -> QueuedSimulation:
    """Something to be tried on the past."""
    return QueuedSimulation(name, "energy", "anna", {"every": "1d"}, "queued", NOW + minute * MINUTE)


def keys(ledger: Ledger, system: str = "titanic", after: int = 0) -> list[str]:
    """The keys that are logged, in order."""
    return [e.key for _, e in ledger.read(system, after=after)]


class LedgerSuite:
    """A database keeps answers durably, each key once, in an order that a reader can follow.

    Give the address of an empty database:

        class TestMine(LedgerSuite):
            @pytest.fixture
            def uri(self, tmp_path): return f"sqlite:///{tmp_path}/ledger.db"
    """

    @pytest.fixture
    def uri(self) -> str:
        """The URI of a ledger that is not made yet, a new one for every test."""
        raise NotImplementedError("say where the ledger is: override the fixture uri")

    @pytest.fixture
    def ledger(self, uri: str) -> Iterator[Ledger]:
        """The ledger there, open."""
        opened = Ledger.open(uri)
        yield opened
        opened.close()

    def test_a_prediction_is_found_as_it_was_answered(self, ledger: Ledger, uri: str) -> None:
        written = entry(
            ledger, "892", inputs='{"Name":"Zoë \\u0000 😀"}'.encode(), answer=b'{"p":0.1000000000000000055}'
        )
        assert ledger.write([written]) == [written]
        other = Ledger.open(uri)
        assert other.find("titanic", "892") == written
        assert other.get(written.id) == (written, PINS)
        assert other.read("titanic") == [(1, written)]
        assert other.find("titanic", "893") is None
        assert other.find("energy", "892") is None
        assert other.get("no such id") is None
        other.close()

    def test_the_same_key_is_one_row(self, ledger: Ledger) -> None:
        first, repeated, other = entry(ledger, "1"), entry(ledger, "1"), entry(ledger, "1", "b")
        assert ledger.write([first, repeated]) == [first, first]
        assert ledger.write([repeated, entry(ledger, "2")])[0] == first
        conflict, neighbour = ledger.write([other, new := entry(ledger, "3")])
        assert isinstance(conflict, KeyConflictError)
        assert neighbour == new
        elsewhere = other._replace(system="energy")
        assert ledger.write([elsewhere]) == [elsewhere]
        twice = entry(ledger, "4")
        assert ledger.write([twice, twice]) == [twice, twice]
        assert keys(ledger) == ["1", "2", "3", "4"]
        assert ledger.write([]) == []

    def test_batches_of_every_length(self, ledger: Ledger) -> None:
        errors: list[str] = []
        for length in (1, 2, 3, 7, 64, 100, 513, 1500):
            batch = [entry(ledger, f"{length}/{i}") for i in range(length)]
            assert ledger.write(batch) == batch
            errors += [e.key for e in batch]
        assert keys(ledger) == errors

    def test_a_batch_that_the_database_refuses_leaves_nothing(self, ledger: Ledger) -> None:
        one = entry(ledger, "1")
        for bad in (entry(ledger, "2", id=one.id), entry(ledger, "2", pins="unknown"), entry(ledger, "2\ud800")):
            with pytest.raises(LedgerError) as caught:
                ledger.write([one, bad])
            assert not isinstance(caught.value, LedgerUnavailableError)
        assert ledger.read("titanic") == []

    def test_reading_goes_on_where_it_ended(self, ledger: Ledger) -> None:
        for key in "abcdef":
            ledger.write([entry(ledger, key), entry(ledger, key, system="energy")])
        results: list[str] = []
        last = 0
        while page := ledger.read("titanic", after=last, limit=2):
            results += [e.key for _, e in page]
            last = page[-1][0]
        assert results == list("abcdef")

    def test_reading_in_parts_ends_though_more_is_logged(self, ledger: Ledger) -> None:
        for key in "abcde":
            ledger.write([entry(ledger, key), entry(ledger, key, system="energy")])
        pages = []
        for page in ledger.parts("titanic", limit=2):
            pages.append([e.key for _, e in page])
            ledger.write([entry(ledger, f"while reading {len(pages)}/{i}") for i in range(3)])
        assert pages == [["a", "b"], ["c", "d"], ["e"]]

    def test_a_reader_misses_nothing_while_many_write(self, ledger: Ledger) -> None:
        results: list[str] = []
        last, finished = 0, threading.Event()

        def write(name: int) -> None:
            for i in range(25):
                ledger.write([entry(ledger, f"{name}/{i}/{j}") for j in range(3)])

        def follow() -> None:
            nonlocal last
            while True:
                ended = finished.is_set()
                page = ledger.read("titanic", after=last)
                results.extend(e.key for _, e in page)
                last = page[-1][0] if page else last
                if ended:
                    return

        reader = threading.Thread(target=follow)
        reader.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(write, range(4)))
        finally:
            finished.set()
            reader.join()
        assert len(results) == 300
        assert results == keys(ledger)

    def test_pins_are_stored_once(self, ledger: Ledger, uri: str) -> None:
        digest = ledger.pin({"a": 1, "b": [2.5, None]})
        assert ledger.pin({"b": [2.5, None], "a": 1}) == digest
        assert Ledger.open(uri).pin({"a": 1, "b": [2.5, None]}) == digest
        assert ledger.pin({"a": 2}) != digest

    def test_a_message_waits_until_it_is_sent_and_is_sent_once(self, ledger: Ledger, uri: str) -> None:
        messages = [notice("a1", "raised"), notice("a1", "raised", "pager"), notice("a2", "raised")]
        assert ledger.notices.put(messages) == 3
        assert ledger.notices.put([messages[0]._replace(text="otherwise"), notice("a1", "closed")]) == 1
        (first, second, third), minute = ledger.notices.claim("energy", "mail", now=NOW, until=NOW + MINUTE), MINUTE
        assert {first.key, second.key, third.key} == {messages[0].key, messages[2].key, notice("a1", "closed").key}
        assert first.text == "MAPE is 0.4"
        reopened = Ledger.open(uri)  # another process, at the same time
        assert reopened.notices.claim("energy", "mail", now=NOW, until=NOW + minute) == []
        ledger.notices.sent([first], NOW)
        ledger.notices.failed([second], "it is away", NOW + 2 * minute)
        later = NOW + minute  # by which the claim of the third ends: whoever had it is gone
        assert reopened.notices.claim("energy", "mail", now=later, until=later + minute) == [third]
        reopened.notices.release([third])
        assert reopened.notices.waiting("energy") == [("mail", 2, 1, "it is away"), ("pager", 1, 0, None)]
        assert reopened.notices.claim("energy", "mail", now=later, until=later, force=True) == [second, third]
        reopened.notices.sent([second, third], later)
        ledger.notices.failed([third], "it is away", later)  # told by one that was slow: it is sent
        assert ledger.notices.waiting("energy") == [("pager", 1, 0, None)]
        assert {sent for stored, sent in ledger.notices.read("energy") if stored.channel == "mail"} == {NOW, later}
        reopened.close()

    def test_many_claim_at_once_and_each_message_is_had_once(self, ledger: Ledger) -> None:
        ledger.notices.put([notice(f"a{n}", "raised") for n in range(40)])

        def claim(_: int) -> list[Notice]:
            return ledger.notices.claim("energy", "mail", now=NOW, until=NOW + MINUTE)

        with ThreadPoolExecutor(4) as pool:
            claimed = [found for part in pool.map(claim, range(8)) for found in part]
        assert sorted(found.alert for found in claimed) == sorted(f"a{n}" for n in range(40))

    def test_an_address_that_took_a_message_is_kept_once_and_is_no_message_that_waits(self, ledger: Ledger) -> None:
        addresses = [notice(f"a{n}", "raised", "mail 0a1b2c3d") for n in range(2)]
        ledger.notices.taken(addresses[:1], NOW)
        ledger.notices.taken(addresses, NOW + MINUTE)
        assert ledger.notices.known(addresses) == {address.key for address in addresses}
        assert ledger.notices.waiting("energy") == []
        assert ledger.notices.claim("energy", addresses[0].channel, now=NOW, until=NOW + MINUTE, force=True) == []
        assert dict(ledger.notices.read("energy")) == {addresses[0]: NOW, addresses[1]: NOW + MINUTE}

    def test_a_message_put_off_by_a_clock_that_has_gone_back_is_due(self, ledger: Ledger) -> None:
        ledger.notices.put([notice("a1", "raised"), notice("a2", "raised")])
        first, second = ledger.notices.claim("energy", "mail", now=NOW, until=NOW + MINUTE)
        ledger.notices.failed([first], "it is away", NOW + 60 * MINUTE)
        ledger.notices.failed([second], "it is away", NOW + 9000 * MINUTE)
        now, until, latest = (NOW + minutes * MINUTE for minutes in (1, 2, 61))
        assert ledger.notices.claim("energy", "mail", now=now, until=until) == []
        assert ledger.notices.claim("energy", "mail", now=now, until=until, latest=latest) == [second]

    def test_what_waits_for_a_channel_that_is_no_more_is_given_up_for_good(self, ledger: Ledger, uri: str) -> None:
        messages = [notice("a1", "raised"), notice("a2", "raised"), notice("a1", "raised", "pager")]
        ledger.notices.put(messages)
        (sent, sending) = ledger.notices.claim("energy", "mail", now=NOW, until=NOW + MINUTE)
        ledger.notices.sent([sent], NOW)
        assert ledger.notices.give_up("energy", ["mail", "pager"], NOW) == []
        assert ledger.notices.give_up("energy", ["pager"], NOW) == [("mail", 1, NOW)]
        reopened = Ledger.open(uri)
        assert reopened.notices.give_up("energy", ["pager"], NOW + MINUTE) == []
        assert reopened.notices.given_up("energy") == [("mail", 1, NOW)]
        assert reopened.notices.waiting("energy") == [("pager", 1, 0, None)]
        assert reopened.notices.put(messages) == 0
        assert reopened.notices.claim("energy", "mail", now=NOW, until=NOW + MINUTE, force=True) == []
        ledger.notices.sent([sending], NOW)  # by one that was at it
        assert reopened.notices.given_up("energy") == []
        reopened.close()

    def test_what_stands_of_an_alert_by_what_was_put(self, ledger: Ledger) -> None:
        closed = [notice("a2", "raised"), notice("a2", "closed")._replace(time=NOW + MINUTE)]
        ledger.notices.put(
            [notice("a1", "raised"), notice("a1", "escalated"), *closed, notice("a3", "raised", "pager")]
        )
        stands = ("a1", "mail", 1, 0, NOW, "MAPE is 0.4")
        assert ledger.notices.reported("energy", ["mail"]) == [stands]
        both = [stands, ("a2", "mail", 1, 1, NOW + MINUTE, "MAPE is 0.4")]
        assert ledger.notices.reported("energy", ["mail"], ["a1", "a2", "a9"]) == both
        ledger.notices.give_up("energy", ["mail"], NOW)
        assert ledger.notices.reported("energy", ["mail", "pager"]) == [stands]
        assert ledger.notices.reported("energy", []) == []

    def test_messages_go_with_their_system(self, ledger: Ledger) -> None:
        ledger.notices.put([notice("a1", "raised"), notice("a1", "raised")._replace(system="titanic")])
        ledger.owned.rename("energy", "power")
        assert ledger.owned.systems() == ["power", "titanic"]
        assert ledger.notices.waiting("energy") == []
        ledger.owned.forget("power")
        assert ledger.notices.read("power") == []
        assert len(ledger.notices.read("titanic")) == 1

    def test_latencies_are_kept_once_and_go_with_their_system(self, ledger: Ledger) -> None:
        first, second = LatencyWindow("energy", NOW, "a", {3: 2, 70: 1}), LatencyWindow("energy", NOW, "b", {4: 1})
        old = LatencyWindow("energy", NOW - 91 * 1440 * MINUTE, "a", {0: 1})
        ledger.latencies.put([old], old.begin)
        ledger.latencies.put([first, second], NOW)
        ledger.latencies.put([first], NOW)
        assert ledger.latencies.read("energy", old.begin, NOW + MINUTE) == [first, second]
        assert ledger.latencies.read("energy", old.begin, NOW) == []
        ledger.owned.rename("energy", "power")
        assert ledger.latencies.read("power", NOW, NOW + MINUTE) == [
            one._replace(system="power") for one in (first, second)
        ]
        ledger.owned.forget("power")
        assert ledger.latencies.read("power", NOW, NOW + MINUTE) == []

    def test_simulations_are_done_one_at_a_time_and_none_for_ever(self, ledger: Ledger, uri: str) -> None:
        queue, systems = ledger.simulations, ["energy"]
        first, second = (simulation(f"s{n}", n) for n in (1, 2))
        assert queue.put(first) == queue.put(first) == first
        assert queue.put(second) == second
        claimed = queue.claim(NOW, systems)
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.request) == ("s1", "running", {"every": "1d"})
        reopened = Ledger.open(uri)  # another server
        assert reopened.simulations.claim(NOW, systems) is None
        assert queue.beat("s1", NOW)
        queue.progress("s1", "predict", 3, 7)
        lost = NOW + SILENT + MINUTE
        (_, seen), (_, later) = queue.newest("energy", NOW), queue.newest("energy", lost)
        assert (seen.state, seen.stage, seen.count) == ("running", "predict", 3)
        assert (later.state, later.reason) == ("failed", GONE)
        assert reopened.simulations.claim(lost, ["titanic"]) is None
        taken = reopened.simulations.claim(lost, systems)
        assert taken is not None
        assert taken.id == "s2"
        assert not queue.beat("s1", lost)  # by one that was slow: it is over
        assert not queue.settle("s1", lost, result=b"{}")
        assert reopened.simulations.settle("s2", lost, result=b'{"a": 1}')
        assert (queue.result("energy", "s2"), queue.result("energy", "s1")) == (b'{"a": 1}', None)
        over = queue.cancel("energy", "s2", lost, "anna")
        assert over is not None
        assert over.state == "done"
        assert queue.cancel("titanic", "s2", lost, "anna") is None
        reopened.close()

    def test_many_claim_at_once_and_one_has_the_simulation_asked_for_first(self, ledger: Ledger) -> None:
        queue = ledger.simulations
        for name, minute in (("s2", 2), ("s1", 1)):
            queue.put(simulation(name, minute))
        assert queue.claim(NOW, ["titanic"]) is None
        with ThreadPoolExecutor(4) as pool:
            claimed = [found for found in pool.map(lambda _: queue.claim(NOW, ["energy"]), range(8)) if found]
        assert [found.id for found in claimed] == ["s1"]
        assert [seen.state for seen in queue.newest("energy", NOW)] == ["queued", "running"]
        assert queue.settle("s1", NOW, reason="it failed")
        following = queue.claim(NOW, ["titanic", "energy"])
        assert following is not None
        assert following.id == "s2"

    def test_few_simulations_wait_and_few_are_kept(self, ledger: Ledger) -> None:
        queue = ledger.simulations
        for number in range(KEPT + WAITING):
            assert queue.put(simulation(f"s{number}", number)) is not None
            cancelled = queue.cancel("energy", f"s{number}", NOW, "anna")
            assert cancelled is not None
            assert (cancelled.state, cancelled.reason) == ("cancelled", "by anna")
        assert len(queue.newest("energy", NOW)) == KEPT
        waiting = [queue.put(simulation(f"w{number}", 100 + number)) for number in range(WAITING + 1)]
        assert [each is None for each in waiting] == [False] * WAITING + [True]
        with pytest.raises(UsageError, match="MiB"):
            queue.settle("w0", NOW, result=random.Random(0).randbytes(LARGEST + 2**16))

    def test_opened_by_many_at_once(self, uri: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(Ledger.open, [uri] * 8))
        written = entry(opened[0], "1")
        opened[0].write([written])
        assert [connection.find("titanic", "1") for connection in opened] == [written] * 8
        for opened_ledger in opened:
            opened_ledger.close()

    def test_one_refused_submission_does_not_touch_its_neighbours(self, ledger: Ledger) -> None:
        outcomes: dict[str, object] = {}
        held = threading.Event()
        writer = LedgerWriter(ledger)

        def hold(_: object) -> None:
            held.wait(60)  # so that the others wait together

        writer.submit([entry(ledger, "first")], hold)
        good = [entry(ledger, "good"), entry(ledger, "better")]
        writer.submit(good[:1], lambda outcome: outcomes.update(good=outcome))
        writer.submit([entry(ledger, "bad", pins="unknown")], lambda outcome: outcomes.update(bad=outcome))
        writer.submit(good[1:], lambda outcome: outcomes.update(better=outcome))
        held.set()
        writer.close()
        assert outcomes["good"] == good[:1]
        assert outcomes["better"] == good[1:]
        assert isinstance(outcomes["bad"], LedgerError)

    def test_of_a_group_all_is_stored_or_nothing(self, ledger: Ledger) -> None:
        ledger.write([entry(ledger, "a")])
        free, used, other = entry(ledger, "b"), entry(ledger, "a", "another row"), entry(ledger, "c")
        first, second = ledger.write_groups([[free, used], [other]])
        assert isinstance(first[1], KeyConflictError)
        assert second == [other]
        assert ledger.find("titanic", "b") is None
        assert ledger.find("titanic", "c") == other

    def test_what_follows_from_the_log_is_logged_with_nothing_between(self, ledger: Ledger) -> None:
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

    def test_extending_sees_what_keys_stand_for_and_may_add_nothing(self, ledger: Ledger) -> None:
        first = entry(ledger, "1", system="live")
        after = ledger.extend("live", 0, lambda newer, standing: [("a", first)])
        results: list[object] = []

        def make(newer: list[tuple[int, Entry]], standing: Standing) -> list[tuple[str, Entry]]:
            results.extend([newer, standing(["1", "2"])])
            return []

        assert ledger.extend("live", after, make) == after
        assert ledger.extend("live", 0, make) == after
        assert results == [[], {"1": first}, [(after, first)], {"1": first}]

    def test_a_failure_while_extending_leaves_nothing(self, ledger: Ledger) -> None:
        def fail(newer: list[tuple[int, Entry]], standing: Standing) -> list[tuple[str, Entry]]:
            raise StoreError("away")

        with pytest.raises(StoreError):
            ledger.extend("live", 0, fail)
        bad = entry(ledger, "1", system="live", pins="unknown")
        with pytest.raises(LedgerError):
            ledger.extend("live", 0, lambda newer, standing: [("a", entry(ledger, "0", system="live")), ("a", bad)])
        assert ledger.read("live") == []
        assert ledger.write([entry(ledger, "2")])[0].key == "2"  # type: ignore[union-attr]

    def test_a_version_follows_the_log(self, ledger: Ledger) -> None:
        ledger.write([entry(ledger, "before")])
        begun = ledger.shadows.begin("titanic", 2)
        assert ledger.shadows.begin("titanic", 2) == begun
        ledger.write([entry(ledger, key) for key in "abc"])
        ledger.write([entry(ledger, "a", system="energy")])
        (follower,) = ledger.shadows.followers("titanic")
        assert follower == (begun, 3)
        log = ledger.read("titanic", after=begun.position)
        assert [logged.key for _, logged in log] == list("abc")
        shadows = [Shadow(number, f"s-{logged.key}", None, b"{}", logged.pins) for number, logged in log[:2]]
        moved = begun._replace(position=log[1][0], scored=2)
        assert ledger.shadows.go_on("titanic", begun, moved, shadows)
        # Another process that was where this one was stores nothing.
        assert not ledger.shadows.go_on("titanic", begun, moved, shadows)
        assert ledger.shadows.followers("titanic") == [(moved, 1)]
        assert ledger.shadows.read("titanic", 2) == [(s, logged) for s, (_, logged) in zip(shadows, log, strict=False)]
        assert ledger.shadows.read("titanic", 2, after=log[0][0])[0][1].key == "b"
        found_by_id = ledger.shadows.get("s-b")
        assert found_by_id is not None
        assert (found_by_id[0], found_by_id[1]) == (shadows[1], log[1][1])
        assert ledger.shadows.get("s-c") is None
        assert ledger.get("s-b") is None
        assert keys(ledger) == ["before", "a", "b", "c"]

    def test_a_system_takes_its_rows_along_to_another_name(self, ledger: Ledger, uri: str) -> None:
        entries = [entry(ledger, str(n), trace=f"{n:032x}-{n:016x}") for n in range(3)]
        ledger.write(entries)
        other = entry(ledger, "0", system="energy")
        ledger.write([other])
        ledger.owned.rename("titanic", "ship")
        ledger.owned.rename("titanic", "ship")  # again, after a death before it was told
        reopened = Ledger.open(uri)
        assert reopened.owned.systems() == ["energy", "ship"]
        assert [e for _, e in reopened.read("ship")] == [logged._replace(system="ship", trace="") for logged in entries]
        assert reopened.get(entries[0].id) == (entries[0]._replace(system="ship", trace=""), PINS)
        assert reopened.trace_of(entries[1].id) == entries[1].trace
        assert keys(reopened) == []
        assert reopened.owned.model_versions("ship") == {3}
        with pytest.raises(UsageError, match="has rows of 'energy'"):
            reopened.owned.rename("ship", "energy")
        reopened.close()

    def test_a_deleted_system_leaves_others_alone(self, ledger: Ledger, uri: str) -> None:
        ledger.write([entry(ledger, "1"), entry(ledger, "2", trace=f"{1:032x}-{1:016x}")])
        other = entry(ledger, "1", system="energy")
        ledger.write([other])
        assert ledger.owned.counts("titanic") == {"predictions": 2, "shadows": 0}
        assert ledger.owned.forget("titanic")["predictions"] == 2
        assert ledger.owned.forget("titanic")["predictions"] == 0
        reopened = Ledger.open(uri)
        assert (reopened.owned.systems(), keys(reopened), keys(reopened, "energy")) == (["energy"], [], ["1"])
        assert reopened.get(other.id) == (other, PINS)  # their pins were the same record
        reopened.close()
