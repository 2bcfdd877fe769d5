"""Feature groups that events feed, on both databases: each event once, and the table says what was told."""

from __future__ import annotations

import json
import random
import threading
import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.worlds.features import cards, folded, payments

from headrace.errors import OnlineUnavailableError, StoreError, StreamError
from headrace.features import rolling_sum
from headrace.home import Home
from headrace.pipelines.messages import opener
from headrace.serving.engine.batch import Message, MessageBatch
from headrace.serving.stream.features import margin
from headrace.serving.stream.features.feeding import Elsewhere, Feeding, forget
from headrace.serving.stream.features.folding import Folds
from headrace.serving.stream.features.group import group_of, prepared
from headrace.serving.stream.features.places import Places
from headrace.settings import Settings
from headrace.sources.broker import TopicLog
from headrace.sources.events import EventDecoder
from headrace.store import FeatureView
from headrace.store.fed import settle, waiting
from headrace.store.online.feeds import Feed

KEYS = [f"c{i}" for i in range(5)]
PARTITIONS = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request, tmp_path):
    """A home with an online side that is not made yet."""
    uri = None if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    made = Home(Settings(home=tmp_path / "home", online_uri=uri))
    yield made
    made.online.close()


class Topic:
    """A log of events in two partitions, of which each card has its own."""

    def __init__(self, events, named="one"):
        self.events, self.named, self.parts = events, named, [[] for _ in range(PARTITIONS)]
        for each in events:
            self.parts[int(each["card"][1:]) % PARTITIONS].append(json.dumps(each).encode())

    @property
    def log(self):
        return TopicLog(
            self.named, dict.fromkeys(range(PARTITIONS), 0), {p: len(part) for p, part in enumerate(self.parts)}
        )

    def batch(self, partition, place, size):
        stamp = int(time.time() * 1000)
        values = self.parts[partition][place : place + size]
        return MessageBatch.of([Message(partition, place + i, b"", value, stamp) for i, value in enumerate(values)])


class Worker:
    """What a worker is, but for Kafka."""

    def __init__(self, system, home, topic):
        self.group = prepared(system, home)
        shape = system.events.event_shape(home.grid(system.events))
        decode = EventDecoder(shape, opener(system.events, home))
        self.feeding = Feeding(system, self.group, "cards.events", Folds(system, shape.grid), decode)
        self.places = Places(system, self.group, "cards.events", self.feeding, accept_loss=False)
        self.topic = topic
        self.take_up()

    def take_up(self):
        self.at = self.places.take_up(list(range(PARTITIONS)), self.topic.log)

    def step(self, size, partition):
        """One batch; False: there is no more."""
        batch = self.topic.batch(partition, self.at[partition].place, size)
        if not len(batch):
            return False
        try:
            self.at |= self.feeding(batch, self.at).positions
        except Elsewhere:
            self.take_up()
        return True

    def all(self, size=64):
        for partition in range(PARTITIONS):
            while self.step(size, partition):
                pass


def expected(system, topic):
    """Card, event time and features of every row, partition by partition."""
    rows = []
    for part in topic.parts:
        events = [json.loads(value) for value in part]
        rows += folded(system, events, [len(events)])
    return sorted((json.loads(key)[0], time, *map(str, values)) for key, time, values in rows)


def stored(system, group):
    frame = group.table.collect(group.table.scan())
    values = [[None if v is None else v for v in frame[name].to_list()] for name in system.features.names]
    times = frame["at"].to_physical().to_list()
    found = zip(frame["card"].to_list(), times, *values, strict=True)
    return sorted((card, at, *(str(float("nan") if v is None else v) for v in rest)) for card, at, *rest in found)


def newest(group):
    frame = group.table.collect(group.table.scan()).sort("at", "known_at")
    return {row["card"]: row["event"] for row in frame.iter_rows(named=True)}


def online(home, group):
    later = datetime.now(UTC) + timedelta(minutes=1)
    found = home.online.get_many(group, KEYS, as_of=later)
    return {key: each["event"] for key, each in zip(KEYS, found, strict=True) if each is not None}


def test_each_event_is_once_in_the_table_whatever_breaks_off(home, monkeypatch):
    system, topic, chance = cards(), Topic(payments(600, seed=4)), random.Random(5)
    workers = [Worker(system, home, topic) for _ in range(2)]
    seen: dict[str, tuple] = {}

    def breaking(method):
        def broken(self, *arguments):
            if chance.random() < 0.2:
                raise OnlineUnavailableError("breaks off before", where="here")
            found = method(self, *arguments)
            if chance.random() < 0.2:
                raise OnlineUnavailableError("breaks off after", where="here")
            return found

        return broken

    for name in ("put", "move", "remember", "done"):
        monkeypatch.setattr(Feed, name, breaking(getattr(Feed, name)))
    left = True
    while left:
        left = False
        for partition in random.Random(6).sample(range(PARTITIONS), PARTITIONS):
            worker = chance.choice(workers)  # one of them may think that it has what the other one has
            try:
                left |= worker.step(chance.randrange(1, 40), partition)
                if chance.random() < 0.3:
                    settle(worker.group)
            except OnlineUnavailableError:
                left = True
        for key, each in zip(KEYS, home.online.get_many(workers[0].group, KEYS), strict=True):
            if each is not None:  # it never goes back
                assert seen.get(key, (datetime.min.replace(tzinfo=UTC),) * 2) <= (each.time, each.known_at)
                seen[key] = (each.time, each.known_at)
    monkeypatch.undo()
    group = workers[0].group
    settle(group)
    assert waiting(group) == 0
    assert stored(system, group) == expected(system, topic)
    events = group.table.collect(group.table.scan())["event"]
    assert events.n_unique() == events.len()
    assert online(home, group) == newest(group)
    apart = home.table("cards", "quarantine")
    late = apart.collect(apart.scan())
    assert late["id"].n_unique() == late.height == 600 - events.len()


def test_a_training_set_is_what_was_told_at_that_time(home, monkeypatch):
    monkeypatch.setattr(margin, "LEAST", 0.3)  # the machine of a test may be slow
    system = cards(stream={"allowed_lateness": "2h"})
    begin = datetime.now(UTC) - timedelta(minutes=30)
    topic = Topic(payments(900, seed=7, begin=begin, pace=1.0))
    worker, told, stop = Worker(system, home, topic), [], threading.Event()
    names = [*system.features.names, "event"]

    def ask():
        while not stop.is_set():
            at = datetime.now(UTC)
            for key, found in zip(KEYS, home.online.get_many(worker.group, KEYS, as_of=at), strict=True):
                told.append((key, at, *(None if found is None else found[name] for name in names)))
            time.sleep(0.002)

    asking = threading.Thread(target=ask)
    asking.start()
    exposed = 0
    for n in range(60):
        partition = n % PARTITIONS
        batch = topic.batch(partition, worker.at[partition].place, 15)
        if len(batch):
            done = worker.feeding(batch, worker.at)
            worker.at |= done.positions
            exposed += done.exposed
        time.sleep(0.005)
    time.sleep(1.1)  # the last of them are known by then
    stop.set()
    asking.join()
    settle(worker.group)
    asked = {"card": pl.String, "time": pl.Datetime("us", "UTC")}
    spine = pl.DataFrame([row[:2] for row in told], schema=asked, orient="row")
    frame = FeatureView("told", [(worker.group, names)]).training_set(spine).frame
    differing = sum(row[2:] != again for row, again in zip(told, frame.select(names).rows(), strict=True))
    assert (differing, exposed) == (0, 0)
    assert len({row[-1] for row in told}) > 40


def test_what_the_database_forgot_is_made_anew_from_the_topic_and_the_table(home):
    system, topic = cards(), Topic(payments(300, seed=8))
    worker = Worker(system, home, topic)
    for _ in range(3):
        worker.step(30, 0)
    worker.step(50, 1)
    settle(worker.group)
    worker.step(10, 1)  # the table lacks these
    forget(worker.group)
    for table in ("pending", "facts", "groups"):
        statement = f"DELETE FROM {table} WHERE name = ?"
        home.online.session(worker.group, lambda session, name, s=statement: session.rows(s, (name,)) and None)
    another = Worker(system, home, topic)
    assert [another.at[p].quiet for p in range(PARTITIONS)] > [0, 0]
    another.all()
    settle(another.group)
    assert stored(system, another.group) == expected(system, topic)
    assert online(home, another.group) == newest(another.group)


def test_a_topic_that_was_made_anew_begins_again_and_keeps_what_is_remembered(home):
    system, events = cards(), payments(200, seed=9)
    first, second = Topic(events[:120], "one"), Topic(events[120:], "two")
    Worker(system, home, first).all()
    worker = Worker(system, home, second)
    assert {each.log for each in worker.at.values()} == {2}
    worker.all()
    settle(worker.group)
    names = worker.group.table.collect(worker.group.table.scan())["event"].to_list()
    logs = {name.rpartition("-")[0] for name in names}
    assert logs == {f"cards.events{log}-{p}" for log in ("", "@2") for p in (0, 1)}
    assert stored(system, worker.group) == expected(system, Topic(events))


def test_made_anew_while_rows_wait_for_the_table_nothing_is_lost(home):
    system, topic = cards(), Topic(payments(200, seed=10))
    worker = Worker(system, home, topic)
    worker.step(40, 0)
    settle(worker.group)
    worker.all()
    before = online(home, worker.group)
    home.online.rebuild(worker.group, now=datetime.now(UTC))
    assert online(home, worker.group) == before
    settle(worker.group)
    assert online(home, worker.group) == before == newest(worker.group)
    assert home.online.version(worker.group) == worker.group.table.version()


def test_a_clock_that_was_ahead_is_told(home, caplog):
    system, topic = cards(), Topic(payments(60, seed=4))
    worker = Worker(system, home, topic)
    worker.feeding._clock = lambda: time.time() + 3600
    assert worker.step(5, 0)
    assert not caplog.messages
    worker.feeding._clock = time.time
    while worker.step(5, 0):
        pass
    assert any("clock was ahead" in message for message in caplog.messages)


def test_what_is_gone_or_another_is_told(home):
    system, topic = cards(), Topic(payments(100, seed=11))
    worker = Worker(system, home, topic)
    worker.step(30, 0)
    settle(worker.group)
    end = topic.log.ends
    for log, said in (
        (TopicLog("one", {0: 40, 1: 0}, end), "events from offset 30 to 39 are gone"),
        (TopicLog("one", {0: 0, 1: 0}, {0: 20, 1: 0}), "it was cut off"),
    ):
        with pytest.raises(StreamError, match=said):
            worker.places.take_up([0, 1], log)
        assert worker.feeding.positions()[0].place == 30
    accepting = Places(system, worker.group, "cards.events", worker.feeding, accept_loss=True)
    assert accepting.take_up([0], TopicLog("one", {0: 40}, end))[0].place == 40
    assert accepting.lost == 10
    other = cards(features={"spent": rolling_sum("spent", "2h")})
    with pytest.raises(StreamError, match="declared otherwise"):
        Places(other, worker.group, "cards.events", worker.feeding, accept_loss=True).take_up([0], topic.log)
    with pytest.raises(StreamError, match="a topic feeds it"):
        group_of(system, home, fed=False)
    forget(worker.group)
    with pytest.raises(StreamError, match="what is remembered is gone"):
        worker.places.take_up([0], TopicLog("one", {0: 5}, end))


def test_a_feature_is_added_while_events_come(home):
    events = payments(120, seed=12)
    few = {name: each for name, each in cards().features.items() if name != "largest_1h"}
    worker = Worker(cards(features=few), home, Topic(events))
    worker.step(30, 0)
    settle(worker.group)
    worker.step(5, 1)  # the table lacks these
    system = cards()
    another = Worker(system, home, Topic(events))
    another.all()
    settle(another.group)
    frame = another.group.table.collect(another.group.table.scan())
    assert frame["event"].n_unique() == frame.height == len(expected(system, Topic(events)))
    assert 0 < frame["largest_1h"].null_count() <= 35
    assert online(home, another.group) == newest(another.group)
    assert set(home.online.get(another.group, "c0")) == {*system.features.names, "event"}
    other = {"values": {"spent": ("amount", "sum")}, "features": {"spent": rolling_sum("spent", "1h")}}
    with pytest.raises(StreamError, match="was declared with keys card"):
        prepared(cards(keys=("abroad",), **other), home)


@pytest.mark.parametrize("table", ["states", "pending"])
def test_a_byte_that_was_flipped_is_told(home, table):
    worker = Worker(cards(), home, Topic(payments(100, seed=13)))
    worker.step(40, 0)
    column = f"SELECT payload FROM {table} WHERE name = ?"
    ((payload,),) = home.online.session(worker.group, lambda session, name: session.rows(f"{column} LIMIT 1", (name,)))
    wrong = bytearray(payload)
    wrong[20] ^= 1
    change = f"UPDATE {table} SET payload = ? WHERE name = ?"
    home.online.session(worker.group, lambda session, name: session.rows(change, (bytes(wrong), name)) and None)
    with pytest.raises(StoreError, match="is not what was written"):
        settle(worker.group) if table == "pending" else worker.step(40, 0)
    forget(worker.group)
    worker.take_up()
    worker.all()
    settle(worker.group)
    assert stored(cards(), worker.group) == expected(cards(), worker.topic)


def test_made_anew_while_rows_wait_for_the_table_none_is_there_twice(home):
    system, topic = cards(), Topic(payments(200, seed=14))
    worker = Worker(system, home, topic)
    worker.step(40, 0)
    home.online.session(worker.group, lambda session, name: Feed(session, name).forget(pending=False))
    another = Worker(system, home, topic)
    assert another.at[0].quiet > 0
    another.all()
    settle(another.group)
    assert stored(system, another.group) == expected(system, topic)
    forget(another.group)
    another.take_up()
    another.all()
    settle(another.group)
    assert stored(system, another.group) == expected(system, topic)


def test_a_key_that_no_index_takes_is_set_apart_and_holds_nothing_up(home):
    system, long = cards(), "c" + "".join(random.Random(1).choices("0123456789", k=4_000))
    events = payments(8, cards=1)
    topic = Topic([*events[:4], {**events[3], "card": long}, *events[4:]])
    worker = Worker(system, home, topic)
    worker.all()
    settle(worker.group)
    assert stored(system, worker.group) == expected(system, topic)
    apart = home.table("cards", "quarantine")
    reasons = apart.collect(apart.scan())["reasons"].explode().to_list()
    assert reasons.count("has a key of more than 2,000 bytes") == 1
