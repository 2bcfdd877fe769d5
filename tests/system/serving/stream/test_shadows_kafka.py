"""Versions that score events beside the one that answers, over a real broker: exactly once, and as batch would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import Producer
from tests import kafka
from tests.commands import headrace
from tests.streams import OPTIONS, SERIES, TOPIC, Running, Stream, live
from tests.worlds import stream as worlds

from headrace.errors import ModelError, NotFoundError, StreamError
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.stream import savepoint
from headrace.serving.stream.archive import archive
from headrace.serving.stream.champions import answering
from headrace.serving.stream.offline import rebuild
from headrace.sources.topics import Topics

pytestmark = pytest.mark.slow

SYSTEM = str(worlds.ROOT / "systems" / "live_metrics")
ODD = ("{", '{"metric": "stranger", "time": "2020-03-02T01:00:00Z", "value": 1}')


@pytest.fixture(scope="module")
def template(home, tmp_path_factory):
    """Three versions, of which the first answers; the third looks further back, and its intervals are of more."""
    path, at = tmp_path_factory.mktemp("versions") / "home", worlds.TRAINED
    home = Home(worlds.Settings(home=shutil.copytree(home.path, path)))
    for second, more in ((1, "model.n_estimators=9"), (2, "model.seasons=[24h,72h]")):
        system = load_system(SYSTEM, [*worlds.SETTINGS, more])
        when = at + timedelta(seconds=second)
        run(system, home, RunRequest(when, when, worlds.SOURCE, ("train",)))
    home.registry.promote("live_metrics", 1, created_at=datetime.now(UTC))
    return home.path


@pytest.fixture(scope="module")
def broker(kafka_broker):
    return kafka_broker.bootstrap


@pytest.fixture
def stream(broker, template, tmp_path):
    path = Path(shutil.copytree(template, tmp_path / "home"))
    made = Stream(broker, Home(worlds.Settings(home=path)))
    for version in (2, 3):
        made.forget_group(f"headrace.live_metrics.shadow-{version}")
    return made


def beside(stream, version, name="worker-0", idle=None, **more):
    options = replace(OPTIONS, idle=idle, topics=stream.system.topics.of_shadow(version), champions=0.5)
    return Running(stream, name, options, **more)


def said(stream):
    """What versions said, by the event and the version; each once."""
    every = [json.loads(m.value()) for m in stream.messages("shadows")]
    causes = Counter((each["event_id"], each["model_version"]) for each in every)
    assert {cause: n for cause, n in causes.items() if n > 1} == {}, "doubled"
    assert {each["role"] for each in every} <= {"shadow"}
    return {(each["event_id"], each["model_version"]): each for each in every}


def odd(stream):
    """Two events of which none is answered."""
    producer = Producer({"bootstrap.servers": stream.bootstrap})
    for value in ODD:
        producer.produce(TOPIC, key="orders", value=value)
    assert producer.flush(30) == 0
    return len(ODD)


def shadows(stream):
    return stream.home.table("live_metrics", "shadows").read(identity=["id"])


@pytest.mark.long
def test_versions_score_beside_and_disturb_nobody(stream):
    stream.send(4)
    odd(stream)
    answering = Running(stream, "worker-0", replace(OPTIONS, idle=None, champions=0.5))
    kafka.eventually(lambda: sum(stream.outcomes().values()) == 4 * 8 + 2)
    before = set(stream.outcomes())
    others = [beside(stream, 2), beside(stream, 3)]
    kafka.eventually(lambda: all(each.said("restored") for each in others))
    count = stream.send(4) + odd(stream)
    kafka.eventually(lambda: len(said(stream)) == 2 * count)
    stream.home.registry.promote("live_metrics", 2, created_at=datetime.now(UTC))
    kafka.eventually(lambda: answering.said("new champion"))
    count += stream.send(4) + odd(stream)
    kafka.eventually(lambda: len(said(stream)) == 2 * count)
    kafka.eventually(lambda: sum(stream.outcomes().values()) == len(before) + count)
    done = [each.stop() for each in (answering, *others)]
    assert [each["aborts"] for each in done] == [0, 0, 0]
    outcomes, told = stream.outcomes(), said(stream)
    assert set(outcomes.values()) == {1}, "the stream that answers was disturbed"
    since = set(outcomes) - before
    assert {event for event, version in told if version == 2} == since
    assert {event for event, version in told if version == 3} == since
    refused = {event for (event, version), each in told.items() if version == 3 and "error" in each}
    letters = {event for event in since if event not in {a["event_id"] for a in stream.predictions()}}
    assert refused == letters
    assert len(refused) >= 4  # two odd ones each time, and late ones
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    assert (stored["differing"], stored["foreign"]) == (0, 0)
    scored = 2 * (len(since) - len(refused))
    told_of = {"differing": 0, "refused": 2 * len(refused), "gone": 0, "foreign": 0, "waiting": 0}
    assert stored["shadows"] == {"added": 3 * scored, **told_of}
    assert archive(stream.system, stream.home, stream.broker, datetime.now(UTC))["shadows"]["added"] == 0
    frame, answers = shadows(stream), stream.home.table("live_metrics", "predictions").read(identity=["id"])
    pairs = frame.join(answers, left_on="shadow_of", right_on="id", suffix="_answered")
    assert pairs.height == frame.height, "each stands beside the answer to its event"
    same = pairs.filter(pl.col("model_version") == pl.col("model_version_answered"))
    assert same.height > 0, "version 2 answered, and scored beside"
    assert same.filter(pl.col("value").ne_missing(pl.col("value_answered"))).height == 0
    other = pairs.filter(pl.col("model_version") == 3)
    numbers = [pl.col(name).eq_missing(pl.col(f"{name}_answered")) for name in ("value", "lower", "upper")]
    assert other.filter(pl.all_horizontal(numbers)).height < other.height == 3 * scored // 2
    assert set(frame["id"]).isdisjoint(answers["id"])
    name = told[next(iter(sorted(since - refused))), 3]["prediction_id"]
    traced = headrace("trace", name, "--home", stream.home.path, "--json").json
    assert (traced["role"], traced["pins"]["model_version"]) == ("shadow", 3)
    assert headrace("replay", name, "--home", stream.home.path, "--json").json["identical"] is True


def test_a_shadow_that_is_killed_says_each_thing_once(stream, tmp_path):
    stream.send(2)
    answering = Running(stream, "worker-0", replace(OPTIONS, idle=None))
    kafka.eventually(lambda: len(stream.outcomes()) == 2 * 8)
    module, root = "tests.faults.campaign.stream_worker", str(worlds.ROOT)
    command = [sys.executable, "-m", module, str(stream.home.path), stream.bootstrap, "one", "3"]
    env = {**os.environ, "PYTHONPATH": root}
    count = 0
    for turn in range(2):
        log = tmp_path / f"{turn}.log"
        with log.open("w") as file:
            process = subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=file)
        try:
            kafka.eventually(lambda log=log: '"restored"' in log.read_text())
            count += sum(stream.send(1) for _ in range(4))
            if turn == 1:
                kafka.eventually(lambda count=count: len(said(stream)) == count)
            else:
                time.sleep(0.1)  # some of it is under way
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
    kafka.eventually(lambda: len(stream.outcomes()) == 2 * 8 + count)
    assert answering.stop()["aborts"] == 0
    stream.check()  # nor is one of the answers another
    events = {event for event, _ in said(stream)}
    assert events == {event for event in stream.outcomes() if not event_before(event, stream, 2)}
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    assert (stored["differing"], stored["shadows"]["differing"], stored["shadows"]["waiting"]) == (0, 0, 0)
    assert stored["shadows"]["added"] + 3 * stored["shadows"]["refused"] == 3 * count


def event_before(event, stream, steps):
    """Whether an event is one of the first steps that were sent."""
    partition, offset = map(int, event.rsplit("-", 2)[1:])
    names = Counter(m.partition() for m in kafka.committed(stream.bootstrap, TOPIC))
    return offset < steps * names[partition] // (stream.step)


@pytest.mark.long
def test_a_shadow_begins_earlier_and_its_state_is_made_anew(stream, tmp_path):
    """With all events, those that were archived before among them: what the tables know by now must not be seen."""
    stream.send(4)
    stream.send(2, series=("orders",), late=False)
    stream.drain()
    before = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    with pytest.raises(StreamError, match="has not begun"):
        rebuild(stream.system, stream.home, stream.broker, shadow=2)
    first = dict.fromkeys(range(4), 0)
    options = replace(OPTIONS, topics=stream.system.topics.of_shadow(2), begins=first)
    running = Running(stream, "worker-0", options)
    running.thread.join(90)
    assert running.done()["events"] == 4 * 8 + 2
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    assert (stored["shadows"]["differing"], stored["shadows"]["added"]) == (0, before["predictions"])
    kept = tmp_path / "kept"
    assert (
        savepoint.save(stream.system, stream.home, stream.broker, kept, shadow=2)["system"] == "live_metrics.shadow-2"
    )
    kafka.eventually(lambda: not live(stream.broker, options.topics.group))
    made = rebuild(stream.system, stream.home, stream.broker, shadow=2)
    assert sum(each["series"] for each in made["partitions"]) == 8
    stream.remake("live_metrics.state.shadow-2")
    put_back = savepoint.restore(stream.system, stream.home, stream.broker, kept, shadow=2)
    assert [each["offset"] for each in put_back["partitions"]] == [each["offset"] for each in made["partitions"]]
    count = stream.send(3)
    running = beside(stream, 2, idle=1.0)
    running.thread.join(90)
    done = running.done()
    assert (done["events"], running.said("begins"), running.said("the state is made anew")) == (count, [], [])
    stream.drain()
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    assert (stored["shadows"]["differing"], stored["shadows"]["waiting"]) == (0, 0)


def test_what_has_no_answer_beside_it_yet_waits(stream):
    stream.send(4)
    stream.drain()
    stream.send(2)
    running = beside(stream, 2, idle=1.0)
    running.thread.join(90)
    assert running.done()["events"] == 16
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))["shadows"]
    assert (stored["added"], stored["waiting"]) == (0, 16)
    stream.drain()
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))["shadows"]
    assert (stored["added"] + 3 * stored["refused"], stored["waiting"], stored["differing"]) == (48, 0, 0)
    assert shadows(stream)["shadow_of"].null_count() == 0


def test_a_version_that_is_not_there_or_is_of_another_target(stream):
    sets = [each for setting in worlds.SETTINGS for each in ("--set", setting)]
    common = ("--home", stream.home.path, "--json", *sets, "--bootstrap", stream.bootstrap, "--stop-when-idle", "1s")
    failed = headrace("stream", SYSTEM, *common, "--shadow", 9)
    assert (failed.code, failed.json["error"]) == (2, "NotFoundError")
    assert failed.json["hint"].startswith("there are: 1, 2, 3")
    other = load_system(SYSTEM, [*worlds.SETTINGS, "step=2h", "horizon=4h", "model.seasons=[6h,24h]"])
    with pytest.raises(ModelError, match="version 2 was trained with another declaration: step 1:00:00 there"):
        answering(other, Home(stream.home.settings), datetime.now(UTC), 2)


def test_a_version_that_is_removed_ends_its_shadow_alone(stream, monkeypatch):
    answers, running = Running(stream, "worker-0", replace(OPTIONS, idle=None)), beside(stream, 2)
    kafka.eventually(lambda: running.said("restored") and answers.said("restored"))
    registry, whole = stream.home.registry, stream.home.registry.get

    def get(system, version):
        if version == 2:
            raise NotFoundError(f"there is no model version {version}", where=system)
        return whole(system, version)

    monkeypatch.setattr(registry, "get", get)
    stream.send(2)
    kafka.eventually(lambda: running.failure is not None)
    assert isinstance(running.failure, NotFoundError)
    kafka.eventually(lambda: len(stream.outcomes()) == 16)
    answers.stop()
    stored = archive(stream.system, stream.home, stream.broker, datetime.now(UTC))
    assert (stored["predictions"], stored["differing"]) == (48, 0)
    assert stored["shadows"]["gone"] == len(said(stream))


def test_topics_of_shadows_are_their_own():
    of = Topics("live_metrics", {"state": "kept"}, prefix="a.")
    two = of.of_shadow(2)
    assert (two.events, two.output, two.state) == ("a.live_metrics.events", "a.live_metrics.shadows", "kept.shadow-2")
    assert (two.group, of.group) == ("a.headrace.live_metrics.shadow-2", "a.headrace.live_metrics")
    assert [each.kind for each in two.wanted(4)] == ["events", "state", "series", "shadows"]
    assert "shadows" not in [each.kind for each in of.wanted(4)]
    assert len(SERIES) == 8
