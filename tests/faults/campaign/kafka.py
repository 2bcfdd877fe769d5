"""Rounds on Kafka: events without end, three faults at once, all is mended, and every event's outcomes are counted and
compared with what the log of its partition gives.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from tests import kafka
from tests.commands import headrace
from tests.faults.campaign.kafka_faults import Fault, Scene, drawn
from tests.faults.campaign.streaming import Oracle, Traffic, Workers
from tests.faults.campaign.tally import ROUNDS, Campaign, Tally
from tests.servers import LIVE, SMALL, TRAINED
from tests.streams import Stream
from tests.worlds import stream as worlds

from headrace.home import Home

WAIT = 90.0
"""Seconds after which an event that has no outcome counts as lost, once all is mended."""


def run(rounds: int, seed: int, first: int) -> int:
    """So many rounds, from the `first` on; the exit status."""
    campaign = Campaign(seed, first)
    folder = Path(tempfile.mkdtemp(prefix="headrace-faults-"))
    cluster = kafka.cluster(folder / "kafka")
    try:
        home = worlds.train(folder / "home")
        more = ("--set", "model.n_estimators=9", "--as-of", TRAINED.isoformat())
        done = headrace("train", LIVE, "--home", home.path, "--json", *SMALL[LIVE], *more)
        assert done.code == 0, done.err
        for place in range((first - 1) // ROUNDS, -(-(first - 1 + rounds) // ROUNDS)):
            chance = random.Random(f"{seed}/{place}")
            _topics(campaign, (folder, cluster, home), chance, min(ROUNDS, first - 1 + rounds - place * ROUNDS))
    finally:
        cluster.stop()
        if not campaign.total.failed:
            shutil.rmtree(folder)
        else:
            print(f"kept: {folder}")
    return campaign.end()


def _topics(campaign: Campaign, place: tuple[Path, kafka.Cluster, Home], chance: random.Random, rounds: int) -> None:
    """Rounds on one set of topics; where one went wrong, or the stream refuses to go on, the others are left out."""
    folder, cluster, home = place
    stream = Stream(cluster.bootstrap, home)
    oracle, workers, lost = Oracle(stream), Workers(stream, folder, Tally()), set[str]()
    workers.scale(1)
    try:
        for turn in range(rounds + 1):
            began, tally = time.monotonic(), Tally()
            workers.tally = tally
            faults = drawn(chance, 3) if turn else []  # before the first one, something is answered everywhere
            traffic, own = Traffic(stream, random.Random(chance.random())), random.Random(chance.random())
            _round(Scene(stream, cluster, workers, traffic, oracle, own, tally, lost), faults)
            if turn:
                campaign.told("Kafka", [each.name for each in faults], tally, time.monotonic() - began)
            else:
                campaign.also(tally)
            if tally.failed or workers.refused:
                campaign.skip(rounds - turn)
                return
    finally:
        workers.scale(0, signal.SIGKILL)
        time.sleep(4.5)


def _round(scene: Scene, faults: list[Fault]) -> None:
    since = scene.workers.log.stat().st_size
    scene.traffic.start()
    live = [threading.Thread(target=_live, args=(scene, each)) for each in faults if not each.stopped]
    for each in live:
        each.start()
    stopped = [each for each in faults if each.stopped]
    time.sleep(0.8)
    if stopped:
        with _down(scene):
            for fault in stopped:
                _done(scene, fault)
    for each in live:
        each.join()
    time.sleep(0.5)
    scene.traffic.halt.set()
    scene.traffic.join(90)
    _settle(scene)
    refused = bool(scene.workers.refused)
    scene.oracle.check(scene.lost, scene.tally, numbers=not scene.workers.began_anew and not refused, refused=refused)
    for text in scene.words:
        if not refused and not scene.workers.said(since, text):
            scene.tally.bad("silent", f"no worker said {text!r}")
    if scene.workers.said(since, "Traceback"):
        scene.tally.bad("silent", "a worker ended with a traceback")


def _live(scene: Scene, fault: Fault) -> None:
    time.sleep(scene.chance.uniform(0.0, 1.5))
    _done(scene, fault)


def _done(scene: Scene, fault: Fault) -> None:
    try:
        fault.does(scene)
    except (KafkaException, TimeoutError):  # the cluster does not answer, by another fault: so this one did not happen
        scene.tally.add("not made")
    except Exception as error:  # noqa: BLE001 - told as a failure of the round
        scene.tally.bad("stuck", f"{fault.name}: {error!r}")


@contextmanager
def _down(scene: Scene) -> Iterator[None]:
    """All workers killed, and their sessions over; nobody else starts one meanwhile."""
    with scene.workers.lock:
        count = len(scene.workers.running)
        scene.workers.scale(0, signal.SIGKILL)
        yield
        scene.workers.scale(count)


def _settle(scene: Scene) -> None:
    """Wait until each event has its outcome; workers that ended are started again."""
    ids, end, last = scene.oracle.ids(), time.monotonic() + WAIT, time.monotonic() + 3 * WAIT
    while time.monotonic() < end:
        if scene.workers.mend():  # until then not all was mended
            end = min(time.monotonic() + WAIT, last)
        if scene.workers.refused:
            scene.tally.add("refused")
            scene.tally.notes.append(f"refused: {scene.workers.refused}")
            return
        if ids - scene.lost <= set(scene.stream.outcomes()):
            return
        time.sleep(0.5)
