"""Events that come twice, and events of a wrong clock: the log alone decides, for the stream and for the archive."""

import json
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import HeadraceError
from headrace.serving.engine.engine import Engine
from headrace.sources.events import LEAST_JUMP
from headrace.sources.kafka import EventTopic, TopicPosition, _PartitionFacts
from headrace.sources.repeats import Once

DAYS = 24
YEAR = 365 * DAYS
FAR = 2**62
ONCE = Once("header:id", 50)


def shape(world, jump=30 * DAYS, agreeing=2):
    return replace(world.shape(), jump=jump, agreeing=agreeing)


def engine(world, champion, once=ONCE, **more):
    topic = "live_metrics.events"
    return Engine("live_metrics", shape(world, **more), champion, topic, seed=world.nothing, once=once)


def message(world, offset, step, metric="orders", value=5.0, name=None, resent=None):
    headers = [("ID", (name or f"event {offset}").encode())] + ([("resent_from", resent)] if resent else [])
    made = world.message(offset, metric, world.TRAINED + step * world.STEP, value)
    return made._replace(headers=headers, timestamp=world.message(0, "", world.TRAINED, 0.0).timestamp)


def said(done):
    return {m.offset: json.loads(body) for m, body in done.outputs}


def test_one_event_of_a_wrong_clock_does_not_make_the_others_late(world, champion):
    steps = [1, 2, 3, 3 + YEAR, 4, 5, 3 + YEAR, 6]
    log = [message(world, i, step) for i, step in enumerate(steps)]
    done = engine(world, champion).answer(log)
    assert [m.offset for m, _ in done.dead] == [3, 6]
    assert "365 days after the newest of its series: a wrong clock?" in done.dead[0][1]
    assert done.late == []
    good = engine(world, champion).answer([m for m in log if m.offset not in (3, 6)])
    assert list(said(done).values()) == list(said(good).values())


def test_a_later_event_bears_a_leap_out_and_the_same_one_does_not(world, champion):
    steps = [1, 2, YEAR, YEAR, YEAR + 1, YEAR + 2, YEAR + 1]
    log = [message(world, i, step) for i, step in enumerate(steps)]
    done = engine(world, champion, once=None).answer(log)
    assert [m.offset for m, _ in done.dead] == [2, 3]
    assert sorted(said(done)) == [0, 1, 4, 5, 6]
    back = engine(world, champion, once=None).answer([message(world, i, s) for i, s in enumerate([1, 3000, 2000, 3])])
    assert [m.offset for m, _ in back.dead] == [1, 2], "an earlier one bears nothing out"
    assert sorted(said(back)) == [0, 3]


def test_a_series_whose_clock_jumps_for_a_while_and_returns(world, champion):
    """Set apart as long as fewer events agree than are believed; with as many, time did go on."""
    away = [*range(YEAR, YEAR + 7), YEAR + 6]
    log = [message(world, i, step) for i, step in enumerate([1, 2, 3, *away, 4, 5, *range(2 * YEAR, 2 * YEAR + 9)])]
    whose = engine(world, champion, agreeing=8)
    done = whose.answer(log)
    assert [m.offset for m, _ in done.dead] == [*range(3, 11), *range(13, 20)]
    assert sorted(said(done)) == [0, 1, 2, 11, 12, 20, 21]
    assert done.late == []
    assert "The last of 7 later ones near it is believed" in done.dead[0][1]
    one_by_one = engine(world, champion, agreeing=8)
    assert [offset for m in log for offset in said(one_by_one.answer([m]))] == sorted(said(done))


def test_steps_that_are_left_out_and_first_events_are_no_leaps(world, champion):
    steps = [YEAR, YEAR + LEAST_JUMP, YEAR + 2 * LEAST_JUMP]
    done = engine(world, champion, jump=LEAST_JUMP).answer([message(world, i, s) for i, s in enumerate(steps)])
    assert len(said(done)) == 3
    nowhere = engine(world, champion, jump=None).answer([message(world, 0, 1), message(world, 1, 50 * YEAR)])
    assert len(said(nowhere)) == 2
    assert world.system().event_shape().jump == 30 * DAYS


def test_an_event_that_was_sent_twice_is_answered_once(world, champion):
    one, two = message(world, 0, 1), message(world, 1, 2)
    again = message(world, 2, 1, name="event 0")
    other = message(world, 3, 1, name="event 0", value=6.0)
    whose = engine(world, champion)
    done = whose.answer([one, two, again, other])
    assert (sorted(said(done)), done.repeated) == ([0, 1], 1)
    assert [(m.offset, why) for m, why in done.dead] == [(3, "conflict: another event came under its id")]
    later = whose.answer([again._replace(offset=4), message(world, 5, 3)])
    assert (sorted(said(later)), later.repeated) == ([5], 1)
    nameless = whose.answer([message(world, 6, 4)._replace(headers=None)])
    assert nameless.dead[0][1] == "has no id: the header 'id' says none"


def test_what_was_set_apart_counts_when_its_letter_is_sent_again(world, champion):
    """At once with the event, as when a state is made anew, or later: the same."""
    log = [
        *(message(world, i, step) for i, step in enumerate([1, 20, 21])),
        message(world, 3, 2, name="late"),
        message(world, 4, 22 + YEAR, name="far"),
        message(world, 5, 2, name="late"),
        message(world, 6, 22, name="far"),  # no letter: another event
        message(world, 7, 23 + YEAR, name="near it"),
        message(world, 8, 22 + YEAR, name="far", resent=b"live_metrics.dead_letters-0-7"),
        message(world, 9, 22 + YEAR, name="far", resent=b"live_metrics.dead_letters-0-7"),
    ]
    one = engine(world, champion)
    together = one.answer(log)
    apart = engine(world, champion)
    parts = [apart.answer([each]) for each in log]
    assert sorted(said(together)) == [0, 1, 2, 7, 8]
    assert {offset: a for part in parts for offset, a in said(part).items()} == said(together)
    assert [m.offset for m, _ in together.late] == [3]
    assert sorted(m.offset for m, _ in together.dead) == [4, 6]
    assert together.repeated == sum(part.repeated for part in parts) == 2
    assert (one._aside.repeats, one._aside.leaps) == (apart._aside.repeats, apart._aside.leaps)


@pytest.mark.parametrize(
    ("event_id", "headers", "body"),
    [
        ("cloudevents", [("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/a")], {}),
        ("cloudevents", [("content-type", b"application/cloudevents+json")], {"specversion": "1.0", "id": "7"}),
        ("column:metric", [], {}),
    ],
)
def test_ids_in_envelopes_and_columns(world, champion, event_id, headers, body):
    from headrace.sources.messages.declared import Messages
    from headrace.sources.messages.opening import Opener, json_of

    envelope = "cloudevents" if event_id == "cloudevents" else "none"
    of = world.system()
    opener = Opener(Messages(envelope=envelope, event_id=event_id), of.contract, json_of)
    whose = Engine(
        *("live_metrics", shape(world), champion, "live_metrics.events"),
        seed=world.nothing,
        opener=opener,
        once=Once(event_id, 50),
    )

    def wrapped(offset, value, source="/a"):
        made = message(world, offset, 1, value=value)
        data = (
            made.value if not body else json.dumps({**body, "source": source, "data": json.loads(made.value)}).encode()
        )
        return made._replace(headers=headers, value=data)

    done = whose.answer([wrapped(0, 5.0), wrapped(1, 5.0), wrapped(2, 6.0)])
    assert (sorted(said(done)), done.repeated, [m.offset for m, _ in done.dead]) == ([0], 1, [2])
    if body:
        assert sorted(said(whose.answer([wrapped(3, 5.0, "/b")]))) == [3], "another source has ids of its own"


def test_what_declares_no_id_is_refused(world):
    for event_id in ("id", "header:", "column:nothing", "column:time", "cloudevents"):
        with pytest.raises(HeadraceError, match=r"event_id|not in the contract"):
            world.load_system(str(world.ROOT / "systems" / "live_metrics"), [f"stream.event_id={event_id}"])
    with pytest.raises(HeadraceError, match="told from others by its keys"):
        world.load_system(str(world.ROOT / "systems" / "titanic"), ["stream.event_id=header:id"])


class Given:
    """A message of the client."""

    def __init__(self, message):
        self._message = message

    def __getattr__(self, name):
        value = getattr(self._message, name)
        return lambda: (1, value) if name == "timestamp" else value


def archived(world, log, sizes, once, agreeing, path):
    """Event time and known time of each fact, in reads of some sizes, each from what the one before wrote down."""
    of = EventTopic(shape(world, agreeing=agreeing), once=once)
    facts, at = [], 0
    place = TopicPosition()
    for size in [*sizes, len(log)]:
        read = _PartitionFacts(of, place, None, FAR, keyless=True)
        read.add([Given(m) for m in log[at : at + size]])
        facts += read.rows.frame().select("metric", "time", "known_at").rows()
        at += size
        place.save(path)
        place = TopicPosition.load(path)
    return sorted(facts)


move = st.tuples(
    st.sampled_from(["orders", "revenue"]),
    st.sampled_from([1] * 8 + [0, -2, -7, YEAR, YEAR, 2 * YEAR]),
    st.integers(0, 8),  # whose id it has: of the event so many before it
    st.booleans(),  # whether it says the same as that one
    st.sampled_from([None] * 4 + [b"live_metrics.late-0-1"]),
)
sizes = st.lists(st.integers(1, 12), min_size=60, max_size=60)


def log_of(world, moves):
    at, log = dict.fromkeys(("orders", "revenue"), 0), []
    for offset, (metric, steps, back, same, resent) in enumerate(moves):
        step = at[metric] + steps
        at[metric] = step if abs(steps) < DAYS else at[metric]
        if back and offset >= back:
            twin = log[offset - back]
            name = twin.headers[0][1].decode()
            made = message(world, offset, step, metric, name=name, resent=resent)
            log.append(made._replace(value=twin.value, key=twin.key) if same else made)
        else:
            log.append(message(world, offset, max(step, 1), metric, resent=resent))
    return log


def outcomes(whose, log, sizes, restarts):
    found, at, state, repeated = {}, 0, {}, 0
    for turn, size in enumerate([*sizes, len(log)]):
        done = whose.answer(log[at : at + size], keyless=True)
        at += size
        found |= said(done)
        found |= {m.offset: why for m, why in (*done.dead, *done.late)}
        repeated += done.repeated
        for _, key, value in done.changes:
            state.pop(key, None)
            if value is not None:
                state[key] = value
        if restarts and turn % 3 == 0:
            records, faults = whose.changelog.checked(state)
            assert faults == []
            total = whose.changelog.totals.get(0)
            whose.drop(0)
            whose.restore(0, records)
            assert total in (None, whose.changelog.totals.get(0))
    return found, repeated


@given(st.lists(move, min_size=1, max_size=60), sizes, st.sampled_from([3, 50]), st.sampled_from([2, 3]))
@settings(max_examples=12, deadline=timedelta(seconds=20))
def test_batches_restarts_and_the_archive_agree(world, champion, moves, sizes, most, agreeing):
    log = log_of(world, moves)
    once, more = Once("header:id", most), {"agreeing": agreeing}
    first, repeated = outcomes(engine(world, champion, once, **more), log, [], restarts=False)
    again, repeated_again = outcomes(engine(world, champion, once, **more), log, sizes, restarts=True)
    assert (first, repeated) == (again, repeated_again)
    assert len(first) + repeated == len(log)
    answers = [each for each in first.values() if isinstance(each, dict)]
    facts = sorted((a["metric"], *(datetime.fromisoformat(a[n]) for n in ("event_time", "as_of"))) for a in answers)
    with tempfile.TemporaryDirectory() as folder:
        assert archived(world, log, sizes, once, agreeing, Path(folder) / "place.json") == facts
