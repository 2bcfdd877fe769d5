"""What the Kafka campaign works with: events without end, workers as processes, and what batch says of the log."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from tests import kafka
from tests.faults.campaign.tally import Tally
from tests.streams import SERIES, TOPIC, Stream
from tests.worlds import stream as worlds

from headrace.serving.engine.engine import AnsweringModel, Message
from headrace.serving.engine.seeding import Seeding
from headrace.tasks.forecast.predictor import Predictor

ROOT = Path(__file__).resolve().parents[3]
Log = dict[int, list[tuple[str, Message]]]
PARTITIONS = 4
OUTCOMES = ("predictions", "dead_letters", "late")


class Traffic(threading.Thread):
    """Events of eight series until `halt`: some late, twice, or bad. Whoever holds `gate` stops it meanwhile."""

    def __init__(self, stream: Stream, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.halt, self.gate, self._chance = threading.Event(), threading.Lock(), chance
        settings = {"bootstrap.servers": stream.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        self._producer = Producer(settings | {"topic.metadata.refresh.interval.ms": 1000})
        self._stream = stream

    def run(self) -> None:
        """About 100 events a second."""
        while not self.halt.is_set():
            with self.gate:
                self._step()
                self._producer.poll(0)
            time.sleep(0.08)
        if self._producer.flush(60):
            raise AssertionError("the load could not be sent")

    def _step(self) -> None:
        self._stream.step += 1
        for place, metric in enumerate(SERIES):
            draw, back = self._chance.random(), 0
            if draw > 0.85:
                back = self._chance.randint(1, 8)  # within the grace or too late
            at = worlds.TRAINED + (self._stream.step - back) * worlds.STEP
            body = worlds.message(0, metric, at, round(self._chance.uniform(50, 150), 3)).value
            if draw < 0.02:
                body = self._chance.choice([b"{", b"[]", b"\xff", b'{"metric": "orders"}', body + b"x"])
            self._producer.produce(TOPIC, key=metric, value=body, partition=place % PARTITIONS)

    def flush(self) -> None:
        """Wait until all is on the topic; call it with the gate held."""
        self._producer.flush(30)


class Workers:
    """Worker processes by their place; one that ends by itself is started again."""

    def __init__(self, stream: Stream, folder: Path, tally: Tally) -> None:
        self._stream, self._folder, self.tally = stream, folder, tally
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.lock = threading.RLock()
        self.log = folder / "workers.log"
        self.log.touch()
        self.refused = ""  # why the stream cannot go on, where it says so and nothing brings back what is gone
        self.began_anew = False  # some partition's state begins with the tables: what its log gives is not known

    def start(self, place: int) -> None:
        """Start the worker of a place."""
        with self.lock, self.log.open("ab") as log:
            module = [sys.executable, "-m", "tests.faults.campaign.stream_worker"]
            arguments = [str(self._stream.home.path), self._stream.bootstrap, f"worker-{place}"]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            self.running[place] = subprocess.Popen(
                [*module, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log, env=environment
            )

    def scale(self, count: int, how: signal.Signals = signal.SIGTERM) -> None:
        """So many workers."""
        with self.lock:
            for place in [each for each in self.running if each >= count]:
                self.end(place, how)
            for place in range(count):
                if place not in self.running:
                    self.start(place)

    def end(self, place: int, how: signal.Signals) -> None:
        """End a worker."""
        with self.lock:
            process = self.running.pop(place)
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                self.tally.bad("stuck", f"a worker did not end within 40 s of {how.name}")
                process.kill()
                process.wait()

    def mend(self) -> bool:
        """Start those again that ended; where one says that the state must be made anew, do what it says: true."""
        with self.lock:
            ended = [place for place, process in self.running.items() if process.poll() is not None]
            words = self._last_words() if ended else ""
            if "headrace stream rebuild" in words:
                self.rebuild(*["--from-tables"] * ("--from-tables" in words))
                return True
            for place in ended:
                del self.running[place]
                self.start(place)
            return False

    def _last_words(self) -> str:
        lines = self.log.read_text().splitlines()
        return next((line for line in reversed(lines) if line.startswith("failed: ")), "")

    def rebuild(self, *more: str) -> None:
        """As the operator does, with no worker running."""
        self.began_anew |= bool(more)
        count = len(self.running)
        self.scale(0, signal.SIGKILL)
        time.sleep(6.5)
        sets = [word for setting in worlds.SETTINGS for word in ("--set", setting)]
        system = str(worlds.ROOT / "systems" / "live_metrics")
        process = kafka.headrace("stream", "rebuild", system, "--home", self._stream.home.path, "--json", *sets, *more,
                                 "--bootstrap", self._stream.bootstrap)  # fmt: skip
        out, err = process.communicate(timeout=120)
        if process.returncode and "--from-tables" in out + err and not more:
            for place in range(count):
                self.start(place)
            self.rebuild("--from-tables")  # as it says
            return
        if process.returncode:
            self.refused = json.loads(out)["message"] if out.startswith("{") else err[-300:]
        with self.log.open("a") as log:
            log.write(f'"the state was made anew" by the operator: {" ".join(out.split())}\n')
        for place in range(count):
            self.start(place)

    def said(self, since: int, text: str) -> bool:
        """Whether any worker said something since its log was so long."""
        with self.log.open("rb") as log:
            log.seek(since)
            return text in log.read().decode()


class Oracle:
    """What each event must have come to, from the raw logs, by an engine of each version."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        registry = stream.home.registry
        first = worlds.champion(stream.home)
        self._who = {}
        for version in (1, 2):
            predictor = Predictor.load(registry.fetch(registry.get("live_metrics", version)))
            pins = replace(first.pins, model_version=version)
            self._who[version] = AnsweringModel(predictor, pins)
        self.logs: list[Log] = []
        self.cut: dict[tuple[str, int], list[tuple[str, Message]]] = {}
        self.settled = 0

    def whole(self) -> list[Log]:
        """All logs that the topic had, with the records that were deleted since."""
        logs = []
        for log in [*self.logs, self._stream.log(self.name)]:
            names = {n for some in log.values() for n, _ in some} or {self.name}
            name = next(iter(names))
            partitions = log.keys() | {p for n, p in self.cut if n == name}
            logs.append({p: _joined(self.cut.get((name, p), []), log.get(p, [])) for p in partitions})
        return logs

    def expected(self, missing: set[str]) -> tuple[set[str], dict[int, dict[str, Any]], dict[str, str]]:
        """All events; of each version the answers by event; where the others belong, by event."""
        every, told, apart, whole = set(), {}, {}, self.whole()
        for version, who in self._who.items():
            engine = worlds.engine(who, seed=Seeding("live_metrics", self._stream.home, worlds.shape()))
            told[version] = {}
            for log in whole:
                for partition, some in log.items():
                    ids = {message.offset: f"{name}-{partition}-{message.offset}" for name, message in some}
                    every |= set(ids.values())
                    messages = [message for _, message in some if ids[message.offset] not in missing]
                    done = engine.answer(messages)
                    told[version] |= {ids[m.offset]: json.loads(body) for m, body in done.outputs}
                    apart |= {ids[m.offset]: "dead" for m, *_ in done.dead} | {
                        ids[m.offset]: "late" for m, *_ in done.late
                    }
        return every, told, apart

    @property
    def name(self) -> str:
        """Of the log that the topic has now."""
        return f"{TOPIC}@{len(self.logs) + 1}" if self.logs else TOPIC

    def ids(self) -> set[str]:
        """Of all events that the topic ever had."""
        return {f"{n}-{p}-{m.offset}" for log in self.whole() for p, some in log.items() for n, m in some}

    def check(self, lost: set[str], tally: Tally, *, numbers: bool, refused: bool) -> None:
        """Each event has one outcome, and it is the one of its log; those in `lost` went with their log, unread."""
        outcomes = self._stream.outcomes()
        missing = {each for each in lost if each not in outcomes}
        every, told, apart = self.expected(missing)
        for name in sorted(every - missing - outcomes.keys())[:5] if not refused else ():
            tally.bad("lost", f"{name} has no outcome")
        for name in sorted(outcomes.keys() - every)[:5]:
            tally.bad("doubled", f"{name} has an outcome, but is no event")
        for name in [each for each, count in outcomes.items() if count > 1][:5]:
            tally.bad("doubled", f"{name} has {outcomes[name]} outcomes")
        answers = self._stream.predictions()
        for answer in answers if numbers else ():
            # What was expected of a value is what the answer before said, which may be the other version's.
            want = [versions.get(answer["event_id"], {}) for versions in told.values()]
            right = told.get(answer["model_version"], {}).get(answer["event_id"], {})
            said = _numbers(answer)
            odd = {n: (v, right.get(n)) for n, v in said.items() if v not in [w.get(n) for w in _any(n, want, right)]}
            if odd or not right:
                tally.bad("wrong", f"{answer['event_id']} by version {answer['model_version']}: {odd}")
        if (
            numbers
            and not refused
            and sum(tally.counts.values()) == 0
            and len(apart) + len(answers) != len(every - missing)
        ):
            tally.bad("wrong", f"{len(apart)} apart and {len(answers)} answers to {len(every - missing)} events")
        tally.add("answered", len(outcomes) - self.settled)
        self.settled = len(outcomes)


def _any(name: str, versions: list[dict[str, Any]], own: dict[str, Any]) -> list[dict[str, Any]]:
    """Whose answer a value of an answer may be."""
    return versions if name in ("expected", "anomaly", "degree") else [own]


def _joined(first: list[tuple[str, Message]], then: list[tuple[str, Message]]) -> list[tuple[str, Message]]:
    by_offset = {message.offset: (name, message) for name, message in [*first, *then]}
    return [by_offset[offset] for offset in sorted(by_offset)]


def _numbers(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in answer.items()
        if name not in ("prediction_id", "event_id", "pins", "model_version")
    }


def freeze(pid: int, seconds: float) -> None:
    """SIGSTOP for a while."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
