"""Offsets, topics and state that are no longer what they were: nothing lost, doubled, wrong or silent."""

import json
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests import kafka, streams
from tests.streams import TOPIC, Stream, live, waited
from tests.worlds import stream as worlds

from headrace.errors import StreamError
from headrace.home import Home
from headrace.serving.stream import savepoint
from headrace.serving.stream.archive import archive
from headrace.serving.stream.examination import examine
from headrace.serving.stream.offline import rebuild
from headrace.serving.stream.reprocess import reprocess
from headrace.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker(kafka_broker):
    return kafka_broker


@pytest.fixture
def stream(broker, home):
    return Stream(broker.bootstrap, home)


def said(done, text):
    return [line for line in done["lines"] if text in str(line)]


def test_the_topic_is_made_anew_while_the_worker_is_stopped(stream):
    stream.send(20)
    stream.drain()
    old = stream.log()
    stream.remake()
    stream.send(30)
    done = stream.drain()
    assert stream.check(old, stream.log(f"{TOPIC}@2")) == 50 * 8
    assert said(done, "made anew")
    stream.send(5)
    assert not said(stream.drain(), "made anew")
    stream.check(old, stream.log(f"{TOPIC}@2"))


@pytest.mark.parametrize("more", [10, 60])
def test_the_topic_is_made_anew_under_a_running_worker(stream, more):
    stream.send(20)
    with stream.working(options=streams.WorkerOptions(session=4.0)) as worker:
        waited(stream, 160)
        old = stream.log()
        stream.remake()
        stream.send(more)
        waited(stream, 160 + more * 8)
        stream.send(5)
        waited(stream, 200 + more * 8)
    assert worker.said("made anew")
    stream.check(old, stream.log(f"{TOPIC}@2"))


def test_the_topic_is_gone_for_a_while(stream):
    """Told at once, and nobody makes it again but those whose topic it is."""
    stream.send(20)
    with stream.working(options=streams.WorkerOptions(session=4.0)) as worker:
        waited(stream, 160)
        old, ready = stream.log(), worker.worker.telemetry.ready
        assert ready() == (True, "answers events")
        stream.admin.delete_topics([TOPIC])[TOPIC].result(30)
        kafka.eventually(
            lambda: ready() == (False, f"the topic {TOPIC} is gone: waits for it to be made again"), within=8
        )
        time.sleep(9)  # of two looks of every kind
        assert not ready()[0]
        assert TOPIC not in stream.broker.partitions()
        stream.make(TOPIC)
        stream.send(10)
        waited(stream, 240)
        kafka.eventually(lambda: ready()[0], within=10)
    assert worker.said("made anew")
    stream.check(old, stream.log(f"{TOPIC}@2"))


@pytest.mark.long
def test_batches_that_take_too_long_are_halved(stream, monkeypatch):
    stream.send(12)
    with stream.working(options=streams.WorkerOptions(session=2.0, poll=4.0)) as worker:
        kafka.eventually(lambda: worker.said("started"), every=0.01)
        engine, reader = worker.worker._engine, worker.worker._reader
        answer = engine.answer

        def slow(batch, keyless=False):
            time.sleep(0.05 * len(batch))
            return answer(batch, keyless=keyless)

        monkeypatch.setattr(engine, "answer", slow)
        waited(stream, 96)
        halved = worker.said("micro-batches are halved")
        assert "96 events took" in halved[0]["detail"]
        assert reader.limit <= 48
        monkeypatch.undo()
        kafka.eventually(lambda: stream.send(1) and reader.limit > 100, within=30)
        waited(stream, 8 * stream.step)
    stream.check()


def test_a_doctor_looks_at_a_stream(stream):
    def examined():
        return [
            (each.status, each.said) for each in examine([stream.system], stream.broker) if "topic" not in each.what
        ]

    stream.send(20)
    ok, fresh = examined()
    assert ok[0] == "ok"
    assert "1 broker" in ok[1]
    assert fresh[0] == "ok"
    assert "4 partitions, at most 160 events wait; nothing answered yet on" in fresh[1]
    stream.drain()
    assert examined()[1] == ("ok", "4 partitions, at most 0 events wait")
    stream.send(5)
    first = stream.ends()
    stream.cut_before({p: end for p, end in first.items() if end})
    status, said = examined()[1]
    assert (status, "40 offsets are gone that were not read" in said) == ("warning", True)
    stream.remake()
    kafka.eventually(lambda: "made anew since" in str(examined()), within=30)
    stream.admin.delete_topics(["live_metrics.late"])["live_metrics.late"].result(30)
    kafka.eventually(lambda: "missing: live_metrics.late" in str(examined()), within=30)
    kafka.delete(stream.bootstrap, "live_metrics")
    kafka.eventually(lambda: examined()[1:] == [("ok", "no topics yet")], within=30)


def test_events_that_expired_before_they_were_read_are_counted(stream):
    stream.send(20)
    stream.drain()
    first = stream.ends()
    stream.send(20)
    stream.cut_before({0: first[0] + 7})
    gone = {f"{TOPIC}-0-{offset}" for offset in range(first[0], first[0] + 7)}
    before = stream.outcomes()
    done = stream.drain()
    assert done["lost"] == 7
    assert said(done, "events are gone that were not read")
    assert not gone & set(stream.outcomes())
    assert len(stream.outcomes()) == 320 - 7
    assert before.keys() < stream.outcomes().keys()


@pytest.mark.parametrize("to", ["gone", 0, 3, "end", "beyond"])
def test_the_groups_offsets_do_not_decide(stream, to):
    stream.send(20)
    stream.drain()
    ends = stream.ends()
    if to == "gone":
        stream.forget_group()
    else:
        place = {p: {"end": end, "beyond": end + 40}.get(to, to) for p, end in ends.items()}
        stream.send(5)
        stream.reset_group({p: stream.ends()[p] if to == "end" else o for p, o in place.items()})
    done = stream.drain()
    assert stream.group_offsets() == stream.ends()
    assert said(done, "the group's offset was changed")
    stream.send(5)
    stream.drain()
    stream.check()


def test_a_lost_state_is_made_anew(stream):
    stream.send(20)
    stream.drain()
    stream.remake("live_metrics.state")
    stream.send(5)
    done = stream.drain()
    assert said(done, "the state was made anew")
    stream.check()
    stream.send(5)
    assert not said(stream.drain(), "made anew")
    stream.check()


ODD = {
    "tombstone": lambda key, value: (key, None),
    "cut": lambda key, value: (key, value[:-3]),
    "cut to nothing": lambda key, value: (key, b""),
    "garbage": lambda key, value: (key, b"garbage"),
    "flipped": lambda key, value: (key, value[:60] + bytes([value[60] ^ 1]) + value[61:]),
    "no position": lambda key, value: (b'"position"', None),
    "another position": lambda key, value: (b'"position"', b'{"format": 1, "offset": 0}'),
}


@pytest.mark.long
def test_odd_records_in_the_state(stream):
    """One kind after the other, on whatever partition: found, told, and made anew from the log."""
    stream.send(20)
    stream.drain()
    partitions = [p for p, end in stream.ends().items() if end]
    for turn, (what, odd) in enumerate(ODD.items()):
        partition = partitions[turn % len(partitions)]
        there = stream.state(partition)
        key, value = [(k, v) for k, v in there.items() if k.startswith(b"[")][-1]
        stream.put_state(*odd(key, value), partition)
        stream.send(2)
        done = stream.drain()
        assert [line["partition"] for line in said(done, "the state was made anew")] == [partition], what
        assert said(done, "odd record in the state") or what in ("tombstone", "no position")
        assert not said(done, "hint") or "delete" not in str(said(done, "hint"))
    stream.send(2)
    assert not said(stream.drain(), "made anew")
    stream.check()


def test_a_record_that_is_no_workers_is_told_and_passed_over(stream):
    stream.send(20)
    stream.drain()
    for key in (b"garbage", b"[", b'["a", "b", 3]', b'"orders"', b"\xff", b"[3]"):
        stream.put_state(key, b"x", 0)
    value = next(value for p in range(4) for key, value in stream.state(p).items() if key.startswith(b'["orders"'))
    stream.put_state(b'["order", 3]', value, 0)
    stream.send(5)
    done = stream.drain()
    assert len(said(done, "odd record in the state")) == 7
    assert not said(done, "made anew")
    stream.check()


@pytest.mark.parametrize("of", [b"[", b'"position"'])
def test_an_older_record_in_place_of_the_last(stream, of):
    stream.send(20)
    stream.drain()
    partition = next(p for p, end in stream.ends().items() if end)
    there = stream.state(partition)
    stream.send(2)
    stream.drain()
    now = stream.state(partition)
    key = next(key for key in there if key.startswith(of) and there[key] != now[key])
    stream.put_state(key, there[key], partition)
    stream.send(2)
    assert said(stream.drain(), "the state was made anew")
    stream.check()


def test_state_and_group_are_gone(stream):
    stream.send(20)
    stream.drain()
    stream.forget_group()
    stream.remake("live_metrics.state")
    with pytest.raises(StreamError, match="does not say up to which event") as failure:
        stream.drain()
    assert "headrace stream rebuild live_metrics" in failure.value.hint
    stream.remake("live_metrics.predictions")
    before = stream.log()
    assert before
    assert stream.drain()["predictions"] > 0, "nothing was answered yet, as far as anybody knows"


def test_rebuild_makes_the_state_as_it_was(stream):
    stream.send(20)
    stream.drain()
    group = stream.group_offsets()
    with stream.working(options=streams.WorkerOptions(session=4.0)) as worker:
        kafka.eventually(lambda: worker.said("restored"))
        with pytest.raises(StreamError, match="is live"):
            rebuild(stream.system, stream.home, stream.broker)
    kafka.eventually(lambda: not live(stream.broker))
    done = rebuild(stream.system, stream.home, stream.broker)
    assert {each["was"] for each in done["partitions"]} == {"whole"}
    assert stream.group_offsets() == group
    stream.remake("live_metrics.state")
    stream.forget_group()
    gone = rebuild(stream.system, stream.home, stream.broker)["partitions"]
    assert [{**each, "was": "whole"} for each in gone] == done["partitions"]
    assert {each["was"] for each in gone} == {"the state is gone"}
    done = rebuild(stream.system, stream.home, stream.broker)
    assert {each["partition"]: each["offset"] for each in done["partitions"]} == stream.ends()
    stream.send(5)
    assert not said(stream.drain(), "made anew")
    stream.check()


@pytest.mark.long
def test_rebuild_where_the_tables_have_the_events_too(broker, home, tmp_path):
    """An archive that ran before changes nothing; with the log gone the tables are what there is, and it is enough."""
    stream = Stream(broker.bootstrap, Home(Settings(home=Path(shutil.copytree(home.path, tmp_path / "home")))))
    now = worlds.TRAINED + timedelta(days=9000)
    stream.send(40)
    stream.drain()
    kafka.eventually(lambda: not live(stream.broker))
    archived = archive(stream.system, stream.home, stream.broker, now)
    assert (archived["events"] > 0, archived["differing"]) == (True, 0)
    first = rebuild(stream.system, stream.home, stream.broker)
    assert {each["was"] for each in first["partitions"]} == {"whole"}
    stream.remake("live_metrics.state")
    again = rebuild(stream.system, stream.home, stream.broker)["partitions"]
    assert [{**each, "was": "whole"} for each in again] == first["partitions"]
    stream.send(5)
    stream.drain()
    assert archive(stream.system, stream.home, stream.broker, now)["differing"] == 0
    kafka.eventually(lambda: not live(stream.broker))
    stream.cut_before(stream.ends())
    stream.remake("live_metrics.state")
    rebuild(stream.system, stream.home, stream.broker, tables=True)
    stream.send(8)
    assert stream.drain()["predictions"] == 64
    assert archive(stream.system, stream.home, stream.broker, now)["differing"] == 0


def test_a_state_of_nothing_is_whole(stream):
    """Damaged, and all events that it was made of are gone: it begins with what the tables know, once and for all."""
    stream.send(20)
    stream.drain()
    ends = stream.ends()
    partition = next(p for p, end in ends.items() if end)
    key = next(k for k in stream.state(partition) if k is not None and k.startswith(b"["))
    stream.put_state(key, None, partition)
    stream.cut_before({partition: ends[partition]})
    stream.send(2)
    with pytest.raises(StreamError, match="cannot be made anew from the log") as failure:
        stream.drain()
    assert "headrace stream rebuild live_metrics --from-tables" in failure.value.hint
    kafka.eventually(lambda: not live(stream.broker))
    rebuild(stream.system, stream.home, stream.broker, tables=True)
    assert not said(stream.drain(), "made anew")
    stream.send(2)
    assert not said(stream.drain(), "made anew")
    assert len(stream.outcomes()) == 24 * 8


def test_the_outcomes_are_of_another_topic(stream):
    stream.send(20)
    stream.drain()
    stream.forget_group()
    stream.remake("live_metrics.state")
    stream.remake()
    stream.step += 40
    stream.send(40)
    with pytest.raises(StreamError, match="where the topic now has another event or none"):
        rebuild(stream.system, stream.home, stream.broker)


def test_state_topic_and_the_groups_offsets_are_all_of_another_log(stream):
    """No event is taken for one that had an outcome; with the tables all of the new topic get theirs."""
    stream.send(20)
    stream.drain()
    kafka.eventually(lambda: not live(stream.broker))
    before = stream.outcomes()
    stream.remake("live_metrics.state")
    stream.remake()
    stream.step += 40
    stream.send(40)
    places = {p: 3 for p, end in stream.ends().items() if end > 3}

    def is_reset():  # the offsets of a topic that is gone go with it, but a little later
        stream.reset_group(places)
        time.sleep(1)
        return stream.group_offsets() == places

    kafka.eventually(is_reset)
    with pytest.raises(StreamError, match="where the topic now has another event or none") as failure:
        stream.drain()
    assert "headrace stream rebuild live_metrics --from-tables" in failure.value.hint
    kafka.eventually(lambda: not live(stream.broker))
    rebuild(stream.system, stream.home, stream.broker, tables=True)
    stream.drain()
    events = {f"{TOPIC}@2-{p}-{m.offset}" for p, some in stream.log(f"{TOPIC}@2").items() for _, m in some}
    assert stream.outcomes() == before | dict.fromkeys(events, 1)


def test_reprocess_answers_once_more_beside_the_first_answers(stream):
    stream.send(20)
    stream.drain()
    first = stream.predictions()
    options = streams.WorkerOptions(session=4.0, idle=1.0)
    done = reprocess(stream.system, stream.home, stream.broker, 5, "second", options, threading.Event())
    assert done["predictions"] == sum(max(end - 5, 0) for end in stream.ends().values())
    again = [json.loads(m.value()) for m in kafka.committed(stream.bootstrap, done["topic"])]
    assert stream.predictions() == first
    by_event = {answer["event_id"]: answer for answer in first}
    assert not {a["prediction_id"] for a in again} & {a["prediction_id"] for a in first}
    assert all(
        {**answer, "prediction_id": 0} == {**by_event[answer["event_id"]], "prediction_id": 0} for answer in again
    )
    assert len(again) == len({a["event_id"] for a in again}) == done["predictions"]
    more = reprocess(stream.system, stream.home, stream.broker, 0, "second", options, threading.Event())
    assert more["predictions"] == 0


def test_a_savepoint_is_put_back_and_nothing_is_answered_twice(stream, tmp_path):
    path = tmp_path / "folder" / "state"
    stream.send(20)
    with stream.working(options=streams.WorkerOptions(session=4.0)):
        waited(stream, 160)
        saved = savepoint.save(stream.system, stream.home, stream.broker, path)
    kafka.eventually(lambda: not live(stream.broker))
    stream.send(5)
    stream.drain()
    stream.remake("live_metrics.state")
    stream.forget_group()
    done = savepoint.restore(stream.system, stream.home, stream.broker, path)
    assert {each["partition"]: each["offset"] for each in done["partitions"]} == stream.ends()
    assert sum(each["events"] for each in done["partitions"]) == 40
    stream.send(5)
    assert not said(stream.drain(), "made anew")
    stream.check()
    assert saved["records"] > 0
    lines = path.read_bytes().splitlines(keepends=True)
    for broken in (lines[:-1], lines[:3] + lines[4:], [*lines[:-2], lines[-2][:-9], lines[-1]], [], [b"{}\n"]):
        path.write_bytes(b"".join(broken))
        with pytest.raises(StreamError, match="the savepoint is damaged"):
            savepoint.Saved.read(path, "live_metrics")


@pytest.mark.parametrize("more", [0, 30])
def test_the_log_is_cut_off_below_the_position(stream, broker, more):
    """A disk that was lost, or an unclean election: offsets come again with other events, and pass the position."""
    if not broker.own:
        pytest.skip("needs a Kafka broker of its own, not the one at KAFKA_BOOTSTRAP")
    stream.send(20)
    stream.drain()
    old, ends = stream.log(), stream.ends()
    partition = max(ends, key=ends.get)
    broker.stop()
    for file in (broker.folder / "data" / f"{TOPIC}-{partition}").iterdir():
        if file.name != "partition.metadata":
            file.unlink()
    broker.start()
    stream.step += 2
    stream.send(5 + more)
    done = stream.drain()
    assert said(done, "the log was cut off before the position")
    new = stream.log()
    others = {p: [each for each in log if each[1].offset >= ends[p]] for p, log in new.items() if p != partition}
    cut = {partition: [(f"{TOPIC}@2", message) for _, message in new[partition]]}
    stream.check(old, others | cut)


def test_letters_name_the_log_that_their_event_was_on(stream):
    """By them a damaged partition is told how far it had come, too, so no two events may have one name."""
    stream.send(20)
    stream.drain()
    old = stream.log()
    stream.remake()
    stream.send(12)
    stream.send_late(12)
    stream.drain()
    assert len(stream.messages("late")) > 0
    stream.check(old, stream.log(f"{TOPIC}@2"))
