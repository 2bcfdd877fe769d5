"""A stream in this process over a real broker: events, workers in threads, and whether each event had its outcome."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec
from tests import kafka
from tests.worlds import stream as worlds

from headrace.errors import StreamError
from headrace.serving.engine.engine import Message
from headrace.serving.engine.seeding import Seeding
from headrace.serving.stream.offline import refuse_while_live
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.worker import StreamWorker
from headrace.sources.broker import BEGINNING, Broker

SERIES = ("orders", "revenue", "cost_per_click", "requests", "taxi_trips", "metric_0005", "metric_0006", "metric_0007")
TOPIC, GROUP = "live_metrics.events", "headrace.live_metrics"
OPTIONS = WorkerOptions(session=4.0, idle=1.0)


class Stream:
    """The topics of one system, empty at first."""

    def __init__(self, bootstrap, home):
        self.bootstrap, self.home = bootstrap, home
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
        self.broker, self.system = Broker(bootstrap), worlds.system()
        self.sent, self.step, self.expected = [], 0, {}
        self.clear()

    def clear(self):
        kafka.clear(self.bootstrap, "live_metrics")
        self.broker.ensure(self.system.topics, 4)

    def forget_group(self, group=GROUP):
        def deleted():
            try:
                self.admin.delete_consumer_groups([group])[group].result(20)
            except TimeoutError:  # a broker that has just begun may have no coordinator yet
                return False
            except KafkaException as error:
                return error.args[0].name() == "GROUP_ID_NOT_FOUND"
            return True

        kafka.eventually(deleted)

    def remake(self, topic=TOPIC, partitions=4):
        """Delete a topic, and make it anew."""
        self.admin.delete_topics([topic])[topic].result(30)
        self.make(topic, partitions)

    def make(self, topic=TOPIC, partitions=4):
        """Make a topic whose deletion may still be under way."""
        config = {"cleanup.policy": "compact"} if topic.endswith("state") else {}

        def made():
            try:
                self.admin.create_topics([NewTopic(topic, partitions, config=config)])[topic].result(30)
            except (KafkaException, TimeoutError):
                return False
            return True

        kafka.eventually(made)

    def grow(self, partitions, topic=TOPIC):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)

    def cut_before(self, offsets):
        """Delete the records of partitions before some offsets."""
        done = self.admin.delete_records([TopicPartition(TOPIC, p, o) for p, o in offsets.items()])
        for future in done.values():
            future.result(30)

    def reset_group(self, offsets):
        there = [TopicPartition(TOPIC, p, o) for p, o in offsets.items()]

        def altered():
            asked = [ConsumerGroupTopicPartitions(GROUP, there)]
            try:
                found = self.admin.alter_consumer_group_offsets(asked)[GROUP].result(20)
            except (KafkaException, TimeoutError):  # it has a member still
                return False
            return all(each.error is None for each in found.topic_partitions)

        kafka.eventually(altered)

    def group_offsets(self):
        asked = [ConsumerGroupTopicPartitions(GROUP)]
        found = self.admin.list_consumer_group_offsets(asked)[GROUP].result(20)
        return {t.partition: t.offset for t in found.topic_partitions if t.offset >= 0}

    def ends(self, topic=TOPIC):
        kafka.eventually(lambda: topic in self.broker.partitions())  # one that was made anew is told of a little later
        return self.broker.ends(topic, list(range(self.broker.partitions()[topic])))

    def send(self, steps, series=SERIES, late=True):
        """The next steps of all series, of which some come late or twice."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2, "linger.ms": 5})
        for _ in range(steps):
            self.step += 1
            for i, metric in enumerate(series):
                back = 2 if late and (self.step + i) % 7 == 0 else 0
                at = worlds.TRAINED + (self.step - back) * worlds.STEP
                value = 100.0 + (self.step * 37 + i * 11) % 50
                body = worlds.message(0, metric, at, value).value
                producer.produce(TOPIC, key=metric, value=body)
        assert producer.flush(30) == 0
        return steps * len(series)

    def send_late(self, steps):
        """The last steps of all series once more, long after; an engine of the test says what comes of each."""
        at, self.step = self.step, self.step - 30
        self.send(steps, late=False)
        self.step = at

    @contextmanager
    def working(self, count=1, options=OPTIONS, names=None):
        """Workers in threads; ends with all having stopped."""
        workers = [Running(self, name, options) for name in names or [f"worker-{i}" for i in range(count)]]
        try:
            yield workers[0] if count == 1 else workers
        finally:
            for each in workers:
                each.stop()

    def drain(self, **more):
        """Answer what there is, and stop."""
        running = Running(self, "worker-0", OPTIONS, **more)
        running.thread.join(90)
        return running.done()

    def messages(self, topic):
        return kafka.committed(self.bootstrap, f"live_metrics.{topic}")

    def predictions(self):
        return [json.loads(m.value()) for m in self.messages("predictions")]

    def outcomes(self):
        """How often each event had one, by log, partition and offset as its id says them."""
        counts = Counter(answer["event_id"] for answer in self.predictions())
        for topic in ("dead_letters", "late"):
            for message in self.messages(topic):
                head = {name: (value or b"").decode() for name, value in message.headers()}
                counts["-".join(head[f"source_{part}"] for part in ("topic", "partition", "offset"))] += 1
        return counts

    def log(self, name=TOPIC):
        """The events that the topic has now, as of one of its logs, by partition."""
        found = {}
        for m in kafka.committed(self.bootstrap, TOPIC):
            message = Message(m.partition(), m.offset(), m.key(), m.value(), m.timestamp()[1])
            found.setdefault(m.partition(), []).append((name, message))
        return found

    def check(self, *logs, missing=()):
        """Each event of some logs has one outcome, and its answer is that of an engine that saw one after the other."""
        who = worlds.champion(self.home)
        engine = worlds.engine(who, seed=Seeding("live_metrics", self.home, worlds.shape()))
        expected, every = {}, set()
        for log in logs or (self.log(),):
            for partition, some in log.items():
                named = {message.offset: name for name, message in some}
                messages = [message for _, message in some]
                ids = {o: f"{name}-{partition}-{o}" for o, name in named.items()}
                every |= set(ids.values())
                done = engine.answer([m for m in messages if ids[m.offset] not in missing])
                expected |= {ids[m.offset]: json.loads(body) for m, body in done.outputs}
        outcomes = self.outcomes()
        assert set(outcomes) == every - set(missing), (len(every), len(outcomes))
        assert {event: n for event, n in outcomes.items() if n != 1} == {}, "doubled"
        wrong = [
            a["event_id"]
            for a in self.predictions()
            if {**a, "event_id": 0} != {**expected[a["event_id"]], "event_id": 0}
        ]
        assert wrong == [], f"{len(wrong)} of {len(expected)} are wrong"
        return len(every)

    def put_state(self, key, value, partition):
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 2})
        producer.produce("live_metrics.state", key=key, value=value, partition=partition)
        assert producer.flush(30) == 0

    def state(self, partition):
        """Last value by key."""
        read = self.broker.read("live_metrics.state", {partition: BEGINNING})
        return {m.key(): m.value() for m in read}


class Running:
    """A worker in a thread."""

    def __init__(self, stream, name, options, **more):
        self.halt, self.failure, self.result = threading.Event(), None, None
        system = more.pop("system", stream.system)
        self.worker = StreamWorker(system, stream.home, Broker(stream.bootstrap), name, options, **more)
        self.lines = []
        self.worker.health.log = Lines(self.lines)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.result = self.worker.run(self.halt)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.failure = error

    def said(self, text):
        return [line for line in self.lines if text in json.dumps(line, default=str)]

    def done(self):
        assert not self.thread.is_alive(), "did not end"
        if self.failure is not None:
            raise self.failure
        return {**self.result, "lines": self.lines, "lost": int(self.worker.telemetry.lost._value.get())}

    def stop(self):
        self.halt.set()
        self.thread.join(90)
        return self.done()


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self, lines):
        self._lines = lines

    def __getattr__(self, level):
        return lambda text, **values: self._lines.append({"level": level, "text": text, **values})


def live(broker, group=GROUP):
    """Whether workers of a group run, or did a moment ago."""
    try:
        refuse_while_live(broker, group)
    except StreamError:
        return True
    return False


def waited(stream, count, within=60.0):
    """Wait until so many outcomes are there."""
    topics = ("predictions", "dead_letters", "late")
    kafka.eventually(lambda: sum(len(stream.messages(t)) for t in topics) >= count, within=within, every=0.3)


__all__ = [
    "GROUP",
    "OPTIONS",
    "SERIES",
    "TOPIC",
    "OffsetSpec",
    "Running",
    "Stream",
    "live",
    "time",
    "timedelta",
    "waited",
]
