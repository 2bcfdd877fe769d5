"""Workers that are killed, paused, replaced and fenced while a broker restarts: nothing lost, doubled or wrong."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests import kafka
from tests.effort import rounds
from tests.faults.stream_worker import FENCED
from tests.worlds import stream as worlds

from headrace.serving.engine.engine import Message
from headrace.serving.engine.seeding import Seeding
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

pytestmark = [pytest.mark.fault, pytest.mark.slow]

SERIES = ("orders", "revenue", "cost_per_click", "requests", "taxi_trips", "metric_0005", "metric_0006", "metric_0007")
KILLS = rounds(2, 10)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = kafka.cluster(tmp_path_factory.mktemp("kafka"))
    kafka.delete(made.bootstrap, "live_metrics")
    yield made
    made.stop()


class Source(threading.Thread):
    """Sends events without end: some late, some twice, some bad."""

    def __init__(self, bootstrap):
        super().__init__(daemon=True)
        from confluent_kafka import Producer

        self.stopping, self.sent = threading.Event(), 0
        settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5}
        # A client that heard, from a broker about to stop, that a partition has no leader does not soon ask again.
        self._producer = Producer({**settings, "topic.metadata.refresh.interval.ms": 1000})

    def run(self):
        chance, at = random.Random(5), dict.fromkeys(SERIES, worlds.TRAINED)
        while not self.stopping.is_set():
            for _ in range(8):
                metric, draw = chance.choice(SERIES), chance.random()
                if draw < 0.8:
                    at[metric] += worlds.STEP * (1 if chance.random() < 0.97 else 3)
                back = 0 if draw < 0.85 else chance.randint(0, 4) if draw < 0.93 else chance.randint(5, 9)
                value = round(chance.uniform(50, 150), 3)
                body = worlds.message(0, metric, at[metric] - back * worlds.STEP, value).value
                if draw > 0.985:
                    body = chance.choice([b"{", b"[]", b"\xff", b'{"metric": "orders"}', body + b"x"])
                self._producer.produce("live_metrics.events", key=metric, value=body)
                self.sent += 1
            self._producer.poll(0)
            time.sleep(0.02)
        assert self._producer.flush(60) == 0


class Workers:
    """Processes by name."""

    def __init__(self, home, bootstrap, folder):
        self._arguments, self._folder = (str(home.path), bootstrap), folder
        self.slow, self.stuck = folder / "slow", folder / "stuck"
        self.running, self.logs, self.log_of, self.count = [], [], {}, 0

    def start(self, replica="-"):
        self.count += 1
        log = self._folder / f"worker{self.count}.log"
        command = [sys.executable, "-m", "tests.faults.stream_worker", *self._arguments, replica, str(self.slow)]
        root = str(Path(__file__).resolve().parents[2])
        with log.open("w") as err:
            process = subprocess.Popen(
                command, cwd=root, stdout=subprocess.DEVNULL, stderr=err, env={**os.environ, "PYTHONPATH": root}
            )
        self.running.append(process)
        self.logs.append(log)
        self.log_of[process] = log
        return process

    def end(self, process, how=signal.SIGKILL):
        process.send_signal(how)
        try:
            code = process.wait(90)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)  # it writes where its threads are
            time.sleep(1)
            print(self.log_of[process].read_text())
            raise
        self.running.remove(process)
        return code

    def at_work(self):
        """Those that have restored some partitions."""
        return [p for p in self.running if '"restored"' in self.log_of[p].read_text()]

    def last_lines(self, process, count=30):
        return "\n".join(self.log_of[process].read_text().splitlines()[-count:])

    def all_logs(self):
        return "".join(log.read_text() for log in self.logs)


def outputs(bootstrap):
    return kafka.committed(bootstrap, "live_metrics.predictions")


def test_nothing_is_lost_doubled_or_wrong(broker, tmp_path):
    home = worlds.train(tmp_path / "home")
    Broker(broker.bootstrap).ensure(Topics("live_metrics"), 4)
    source, workers = Source(broker.bootstrap), Workers(home, broker.bootstrap, tmp_path)
    chance = random.Random(3)
    try:
        source.start()
        for _ in range(3):
            workers.start()
        kafka.eventually(lambda: len(outputs(broker.bootstrap)) > 50, within=180)
        for turn in range(KILLS):
            time.sleep(chance.uniform(0.5, 2.0))
            workers.end(chance.choice(kafka.eventually(workers.at_work)))
            workers.start()
            if turn % 3 == 0:  # one leaves for good, and another comes: the others take over meanwhile
                workers.end(workers.running[0], signal.SIGTERM)
                time.sleep(1.0)
                workers.start()
            if turn == KILLS - 1 and broker.own:
                broker.stop()
                time.sleep(2)
                broker.start()
        zombie(workers)
        workers.slow.touch()
        kafka.eventually(lambda: not workers.slow.exists(), within=180)
        time.sleep(13)
        before = workers.all_logs().count("not come back")
        workers.stuck.touch()
        kafka.eventually(lambda: workers.all_logs().count("not come back") > before, within=180)
        # On a slow machine the zombie's session may have run out: then it joins its group again before it is fenced,
        # and the one that replaced it is fenced as well. None may end in any other way.
        ended = {process: process.poll() for process in workers.running}
        wrong = {p: code for p, code in ended.items() if code not in (None, FENCED)}
        assert not wrong, "\n".join(f"ended with {code}: {workers.last_lines(p)}" for p, code in wrong.items())
        source.stopping.set()
        source.join(90)
        settled(broker, source)
    finally:
        source.stopping.set()
        for process in list(workers.running):
            workers.end(process, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
    log = workers.all_logs()
    print(Counter(re.findall(r'"message":"([a-z ]+)"', log)))
    assert "aborted" in log, "no transaction was ever aborted"
    verify(broker, home)


def zombie(workers):
    """A worker that sleeps while another takes its name must not commit when it wakes up."""
    first = workers.start(replica="named")
    kafka.eventually(lambda: "restored" in workers.logs[-1].read_text(), within=180)
    time.sleep(1.0)
    first.send_signal(signal.SIGSTOP)
    workers.start(replica="named")
    kafka.eventually(lambda: "restored" in workers.logs[-1].read_text(), within=180)
    first.send_signal(signal.SIGCONT)
    assert first.wait(120) == FENCED
    workers.running.remove(first)


def settled(broker, source):
    """Wait until every event is answered or set apart."""

    def done():
        topics = ("predictions", "dead_letters", "late")
        return sum(len(kafka.committed(broker.bootstrap, f"live_metrics.{t}")) for t in topics) >= source.sent

    kafka.eventually(done, within=240, every=1.0)


def verify(broker, home):
    """Each event has one answer, and it is the one that the log of its partition gives."""
    events = kafka.committed(broker.bootstrap, "live_metrics.events")
    who = worlds.champion(home)
    apart, expected = Counter(), {}
    for partition in {m.partition() for m in events}:
        engine = worlds.engine(who, seed=Seeding("live_metrics", home, worlds.shape()))
        log = [
            Message(partition, m.offset(), m.key(), m.value(), m.timestamp()[1])
            for m in sorted(events, key=lambda m: m.offset())
            if m.partition() == partition
        ]
        for at in range(0, len(log), 500):
            done = engine.answer(log[at : at + 500])
            expected |= {f"live_metrics.events-{partition}-{m.offset}": json.loads(body) for m, body in done.outputs}
            apart.update(dead_letters=len(done.dead), late=len(done.late))
    given = [json.loads(m.value()) for m in outputs(broker.bootstrap)]
    counts = Counter(answer["event_id"] for answer in given)
    print(f"{len(events)} events, {len(given)} answers, {dict(apart)} set apart")
    assert not set(expected) - set(counts), "lost"
    assert all(n == 1 for n in counts.values()), "doubled"
    for message, answer in zip(outputs(broker.bootstrap), given, strict=True):
        assert message.partition() == int(answer["event_id"].split("-")[1])
        assert answer == expected[answer["event_id"]], "wrong"
    for topic in ("dead_letters", "late"):
        assert len(kafka.committed(broker.bootstrap, f"live_metrics.{topic}")) == apart[topic]
    assert sum(a["predictions"] != [] for a in given) > 0.9 * len(given)
