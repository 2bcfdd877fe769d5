"""The faults of the stream: each does something under load, or, where `stopped`, while all workers are killed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests import kafka
from tests.faults.campaign.streaming import Oracle, Traffic, Workers, freeze
from tests.faults.campaign.tally import Tally
from tests.streams import TOPIC, Stream


@dataclass
class Scene:
    """What a fault may use.

    Attributes:
        lost: Events that went with their log before they were read: the only ones that may have no outcome.
        words: What a worker must have said by the end of the round.
    """

    stream: Stream
    cluster: kafka.Cluster
    workers: Workers
    traffic: Traffic
    oracle: Oracle
    chance: random.Random
    tally: Tally
    lost: set[str]
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """A fault; no two of a round touch the same."""

    name: str
    touches: str
    does: Callable[[Scene], None]
    stopped: bool = False


def worker_killed(scene: Scene) -> None:
    with scene.workers.lock:
        place = scene.chance.choice(list(scene.workers.running))
        scene.workers.end(place, signal.SIGKILL)
        scene.workers.start(place)


def worker_frozen(scene: Scene) -> None:
    with scene.workers.lock:
        process = scene.chance.choice(list(scene.workers.running.values()))
    freeze(process.pid, scene.chance.choice([0.5, 2.0, 5.5]))


def scaled(scene: Scene) -> None:
    for _ in range(2):
        scene.workers.scale(scene.chance.randint(1, 3))
        time.sleep(scene.chance.uniform(0.2, 1.0))


def broker_killed(scene: Scene) -> None:
    scene.cluster.kill()
    time.sleep(scene.chance.choice([0.0, 0.0, 2.0]))
    scene.cluster.start()


def broker_frozen(scene: Scene) -> None:
    freeze(int((scene.cluster.folder / "pid").read_text()), scene.chance.uniform(0.5, 3.0))


def promoted(scene: Scene) -> None:
    registry = scene.stream.home.registry
    now = registry.champion("live_metrics")
    assert now is not None
    registry.promote("live_metrics", 3 - now.version, created_at=datetime.now(UTC))


def topic_made_anew(scene: Scene) -> None:
    with scene.traffic.gate:
        scene.traffic.flush()
        name, log = scene.oracle.name, scene.stream.log(scene.oracle.name)
        scene.oracle.logs.append(log)
        scene.lost |= {f"{name}-{p}-{m.offset}" for p, some in log.items() for _, m in some}
        scene.stream.remake(partitions=scene.stream.broker.partitions()[TOPIC])
    scene.words.append("made anew")


def records_deleted(scene: Scene) -> None:
    """As retention does; half of them were not read, perhaps."""
    with scene.traffic.gate:
        scene.traffic.flush()
        name, log = scene.oracle.name, scene.stream.log(scene.oracle.name)
        cut = {p: some[-1][1].offset - scene.chance.randint(0, 20) for p, some in log.items() if len(some) > 25}
        gone = {p: [each for each in some if each[1].offset < cut[p]] for p, some in log.items() if p in cut}
        scene.lost |= {f"{name}-{p}-{m.offset}" for p, some in gone.items() for _, m in some}
        for p, some in gone.items():
            scene.oracle.cut[name, p] = scene.oracle.cut.get((name, p), []) + some
        scene.stream.cut_before(cut)


def group_deleted(scene: Scene) -> None:
    scene.stream.forget_group()


def group_reset(scene: Scene) -> None:
    ends = scene.stream.ends()
    back = scene.chance.choice([0, 5, 10_000])
    scene.stream.reset_group({p: max(end - back, 0) if back < 10_000 else end + 40 for p, end in ends.items()})


def state_deleted(scene: Scene) -> None:
    scene.stream.remake("live_metrics.state", scene.stream.broker.partitions()["live_metrics.state"])
    scene.words.append("made anew")


def state_odd(scene: Scene) -> None:
    partition = scene.chance.randrange(4)
    there = [(k, v) for k, v in scene.stream.state(partition).items() if k is not None and k.startswith(b"[") and v]
    if not there:
        return
    key, value = scene.chance.choice(there)
    at = scene.chance.randrange(len(value))
    odd = [None, value[:-3], b"garbage", b"", value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]]
    scene.stream.put_state(key, scene.chance.choice(odd), partition)
    scene.words.append("made anew")


def state_odd_live(scene: Scene) -> None:
    """A worker may write over it before anybody reads it."""
    before = list(scene.words)
    state_odd(scene)
    scene.words[:] = before


def partitions_added(scene: Scene) -> None:
    count = scene.stream.broker.partitions()[TOPIC]
    if count < 6:
        scene.stream.grow(count + 1)


ALL = [
    Fault("worker killed", "worker", worker_killed),
    Fault("worker frozen", "worker", worker_frozen),
    Fault("scaled", "number", scaled),
    Fault("broker killed", "broker", broker_killed),
    Fault("broker frozen", "broker", broker_frozen),
    Fault("promoted", "model", promoted),
    Fault("topic made anew", "topic", topic_made_anew),
    Fault("topic made anew, workers down", "topic", topic_made_anew, stopped=True),
    Fault("records deleted", "topic", records_deleted, stopped=True),
    Fault("group deleted", "group", group_deleted, stopped=True),
    Fault("group reset", "group", group_reset, stopped=True),
    Fault("state deleted", "state", state_deleted, stopped=True),
    Fault("odd record in the state", "state", state_odd, stopped=True),
    Fault("odd record under a worker", "state", state_odd_live),
    Fault("partitions added", "partitions", partitions_added),
]


def drawn(chance: random.Random, count: int) -> list[Fault]:
    """Faults that touch different things."""
    found: list[Fault] = []
    while len(found) < count:
        each = chance.choice(ALL)
        if each.touches not in {other.touches for other in found}:
            found.append(each)
    return found
