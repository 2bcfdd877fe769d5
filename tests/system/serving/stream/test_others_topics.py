"""Topics that somebody else made, with names, clocks, keys and settings of their own, over a real broker."""

import json
import secrets
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests import kafka

from headrace.home import Home
from headrace.settings import Settings

pytestmark = pytest.mark.slow

YEAR = 365 * 24 * 3600 * 1000


@pytest.fixture(scope="module")
def broker(kafka_broker):
    return kafka_broker.bootstrap


class Place:
    """A system with a home and topics of its own on the broker."""

    def __init__(self, world, home, bootstrap, **settings):
        self.world, self.bootstrap, self.prefix = world, bootstrap, f"t{secrets.token_hex(4)}."
        self.home = home
        more = {"stream.topics.prefix": self.prefix, **settings}
        self.sets = [*world.SETTINGS, *(f"{name}={value}" for name, value in more.items())]

    def run(self, name, *more, start=False):
        sets = [each for setting in self.sets for each in ("--set", setting)]
        system = str(self.world.ROOT / "systems" / "live_metrics")
        call = kafka.headrace if start else kafka.ran
        return call(*name.split(), system, "--home", self.home.path, "--json", *sets, *more)

    def topic(self, kind):
        return f"{self.prefix}live_metrics.{kind}"

    def make(self, kind, partitions=4, **config):
        from confluent_kafka.admin import AdminClient, NewTopic

        config = {name.replace("_", "."): value for name, value in config.items()}
        new = NewTopic(self.topic(kind), partitions, 1, config=config)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([new])[new.topic].result(30)

    def delete(self, kind):
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_topics([self.topic(kind)])[self.topic(kind)].result(30)

    def send(self, events):
        """Events as (metric, step, value, what else `produce` is told)."""
        from confluent_kafka import Producer

        producer, refused = Producer({"bootstrap.servers": self.bootstrap}), []

        def told(error, _):
            refused.extend([] if error is None else [error.str()])

        for metric, step, value, more in events:
            at = self.world.TRAINED + step * self.world.STEP if isinstance(step, int) else step
            body = self.world.message(0, metric, at, value).value
            producer.produce(self.topic("events"), on_delivery=told, **{"key": metric, "value": body, **more})
        assert producer.flush(30) == 0
        assert not refused

    def stream(self, *more):
        return self.run("stream", "--bootstrap", self.bootstrap, "--stop-when-idle", "2s", *more)

    def archive(self):
        return self.run("archive", "--bootstrap", self.bootstrap)

    def letters(self):
        return [
            dict(m.headers())["reason"].decode() for m in kafka.committed(self.bootstrap, self.topic("dead_letters"))
        ]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    return world.trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("trained") / "home")


@pytest.fixture
def place(world, broker, trained, tmp_path):
    """Each with tables of its own, which start as the trained home's."""
    home = Home(Settings(home=Path(shutil.copytree(trained.path, tmp_path / "home"))))
    return lambda **settings: Place(world, home, broker, **settings)


def test_producers_clocks_do_not_count(place):
    """Stamps a year behind and a year ahead; what is really in the future is set apart all the same."""
    here = place()
    here.make("events", message_timestamp_type="CreateTime", message_timestamp_after_max_ms=str(2 * YEAR))
    now = int(time.time() * 1000)
    stamps = (now - YEAR, now + YEAR, now)
    future = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=100)
    here.send(
        [
            *(("orders", step, 5.0 + step, {"timestamp": stamps[step % 3]}) for step in range(1, 31)),
            ("revenue", future, 5.0, {"timestamp": now + YEAR}),
        ]
    )
    done = here.stream()
    assert (done["predictions"], done["dead_letters"]) == (30, 1), (done, here.letters()[:3])
    assert "is in the future" in here.letters()[0]
    assert here.archive() == {"events": 30, "predictions": 90, "differing": 0, "foreign": 0}


def test_letters_are_chosen_mended_and_let_go(place, tmp_path):
    here = place()
    good = here.world.message(0, "orders", here.world.TRAINED + 2 * here.world.STEP, 5.0).value
    wrong = good.replace(b"5.0", b'"five"')
    here.stream()  # makes the topics
    here.send([("orders", 1, 5.0, {"value": body}) for body in (b"{", wrong, good.replace(b"orders", b"ordrs"), b"[]")])
    assert here.stream()["dead_letters"] == 4

    def letters(*more, do="list"):
        return here.run(f"dead-letters {do}", *more, "--bootstrap", here.bootstrap)

    listed = letters()
    assert (listed["total"], len(listed["reasons"])) == (4, 4)
    assert letters("--reason", "UNKNOWN SERIES")["total"] == 1
    assert letters("--since", "2100-01-01T00:00:00Z")["total"] == 0
    assert letters("--edit", "value=5.0", "--reason", "value: ", do="resend") == {"resent": 1, "expired": 0, "kept": 3}
    typo = letters("--reason", "unknown")["dead_letters"][0]
    shown = letters(f"{typo['partition']}-{typo['offset']}", do="show")
    assert {name: shown[name] for name in typo} == typo
    assert (shown["settled"], shown["headers"]["reason"]) == (False, typo["reason"])
    (tmp_path / "mended.jsonl").write_text(json.dumps({**typo, "value": typo["value"].replace("ordrs", "orders")}))
    assert letters("--from", tmp_path / "mended.jsonl", do="resend") == {"resent": 1, "expired": 0, "kept": 2}
    assert letters("--reason", "JSON", do="expire") == {"resent": 0, "expired": 2, "kept": 0}
    assert letters() == {"dead_letters": [], "reasons": [], "total": 0}
    done = here.stream()
    assert (done["predictions"], done["dead_letters"]) == (2, 0)


def test_topics_are_listed_with_what_is_unwise_about_them(place):
    here = place()
    here.make("events", cleanup_policy="compact", retention_ms="60000", message_timestamp_type="CreateTime")
    told = here.run("stream topics", "--bootstrap", here.bootstrap)
    assert {each["kind"]: each["there"] for each in told["topics"]}["events"] == 4
    said = " ".join(each["said"] for each in told["findings"])
    assert all(part in said for part in ("compacted", "1m only", "producers' times"))
    here.sets.append("stream.topics.create=false")
    process = here.run("stream", "--bootstrap", here.bootstrap, start=True)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "5 topics are missing, and stream.topics.create is off" in json.loads(out)["message"]


def written_differently(here):
    """Four keys of one series, and three of another that agree with each other."""
    forms = (b"orders", b'{"metric": "orders"}', b'"orders"', b"\xff\xfe", b"", b"revenue")
    here.send([("orders", step, 5.0 + step, {"key": forms[step % len(forms)]}) for step in range(1, 61)])
    connect = b'{"schema": {"type": "string"}, "payload": "requests"}'
    here.send([("requests", step, 5.0, {"key": connect}) for step in range(1, 31)])


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_that_are_written_differently_are_refused(place, workers):
    here = place()
    here.make("events")
    written_differently(here)
    done = here.stream("--workers", workers)
    assert done["predictions"] + done["dead_letters"] == 90
    assert done["dead_letters"] > 0
    for m in kafka.committed(here.bootstrap, here.topic("predictions")):
        assert json.loads(m.value())["metric"] == "requests" or m.partition() == home_of(here, "orders")
    assert all("key" in reason for reason in here.letters())
    assert here.archive()["differing"] == 0


def home_of(here, metric):
    found = kafka.committed(here.bootstrap, here.topic("series"))
    return next(int(m.value()) for m in found if json.loads(m.key()) == [metric])


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_that_are_written_differently_are_repartitioned(place, workers):
    here = place(**{"stream.mismatched": "repartition", "stream.allowed_lateness": "100h"})
    here.make("events")
    written_differently(here)
    here.send([("taxi_trips", step, 5.0, {"key": None, "partition": step % 4}) for step in range(1, 21)])
    done = here.stream("--workers", workers)
    assert (done["predictions"], done["dead_letters"], done["late"]) == (110, 0, 0)
    found = kafka.committed(here.bootstrap, here.topic("predictions"))
    homes = {(json.loads(m.value())["metric"], m.partition()) for m in found}
    assert len(homes) == 3
    assert len({(json.loads(m.value())["metric"], json.loads(m.value())["event_time"]) for m in found}) == 110
    archived = here.archive()
    assert (archived["events"], archived["differing"]) == (110, 0)


@pytest.mark.parametrize("mode", ["reject", "repartition"])
def test_partitions_are_added_while_it_runs(place, mode):
    """Series stay where they were: what comes on other partitions is set apart or sent there, and nothing is wrong."""
    from confluent_kafka.admin import AdminClient, NewPartitions

    here = place(**{"stream.mismatched": mode, "stream.allowed_lateness": "100h"})
    here.make("events", partitions=2)
    names = ("orders", "revenue", "requests", "taxi_trips")
    process = here.run("stream", "--bootstrap", here.bootstrap, start=True)
    here.send([(name, step, 5.0 + step, {}) for step in range(1, 11) for name in names])
    outcomes = ("predictions", "dead_letters")

    def done(count):
        kafka.eventually(lambda: sum(len(kafka.committed(here.bootstrap, here.topic(t))) for t in outcomes) >= count)

    done(40)
    admin = AdminClient({"bootstrap.servers": here.bootstrap})
    admin.create_partitions([NewPartitions(here.topic("events"), 5)])[here.topic("events")].result(30)
    here.send([(name, step, 5.0 + step, {}) for step in range(11, 31) for name in names])
    done(120)
    process.terminate()
    told = kafka.finish(process)
    assert told["dead_letters"] == 0 if mode == "repartition" else told["dead_letters"] % 20 == 0
    assert told["predictions"] + told["dead_letters"] == 120
    assert here.archive()["differing"] == 0


def test_events_that_were_sent_twice_have_one_outcome_over_crashes(place):
    """Also beside one event of a clock a year ahead, that its topic's stamp bears out; and after the state was lost."""
    here = place(**{"stream.event_id": "header:id", "stream.clock": "message"})
    here.make("events", message_timestamp_type="CreateTime", message_timestamp_after_max_ms=str(2 * YEAR))
    names = ("orders", "revenue", "requests")
    events = [
        (name, step, 5.0 + step, {"headers": {"id": f"{name} {step}"}}) for step in range(1, 41) for name in names
    ]
    ahead = {"headers": {"id": "ahead"}, "timestamp": int(time.time() * 1000) + YEAR}
    far = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=100)
    process = here.run("stream", "--bootstrap", here.bootstrap, start=True)
    for begin in range(0, 120, 30):
        here.send(events[begin : begin + 30])
        here.send(events[max(begin - 15, 0) : begin + 15])
        if begin == 60:
            kafka.eventually(lambda: kafka.committed(here.bootstrap, here.topic("predictions")))
            here.send([("orders", far, 5.0, ahead), ("orders", far, 5.0, ahead)])
            process.kill()
            process.communicate()
    done = here.stream()
    assert done["repeated"] > 0
    here.send([*events[:30], ("orders", 41, 6.0, {"headers": {"id": "orders 40"}})])
    here.delete("state")
    again = here.stream()
    assert again["predictions"] == 0
    assert again["repeated"] >= 30, "those after the last outcome are read once more"
    here.send(events[90:])
    assert here.stream()["repeated"] == 30
    answers = [json.loads(m.value()) for m in kafka.committed(here.bootstrap, here.topic("predictions"))]
    assert len({a["event_id"] for a in answers}) == len(answers) == 120
    assert {(a["metric"], a["observed"]) for a in answers} == {(name, value) for name, _, value, _ in events}
    reasons = sorted(here.letters())
    assert ["a wrong clock?" in reason for reason in reasons] == [True, False], reasons
    assert reasons[1] == "conflict: another event came under its id"
    assert here.archive() == {"events": 120, "predictions": 360, "differing": 0, "foreign": 0}
