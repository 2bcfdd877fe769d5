"""The state says what the tables say, to the last bit, whatever order, repetition or lateness events come in."""

import json
import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.models.forecast import SERVED
from headrace.tasks.forecast.predictor import Predictor

METRICS = ("orders", "revenue", "cost_per_click")
FACTS = {
    "metric": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "value": pl.Float64,
    "known_at": pl.Datetime("us", "UTC"),
}

move = st.tuples(
    st.sampled_from(METRICS),
    st.sampled_from([1] * 10 + [2, 3, 30, 0, 0, -1, -2, -3, -5, -6, -40]),  # steps from the newest of the series
    st.integers(0, 3_599),  # seconds into the step
    st.sampled_from([1.5, 20.25, 30.125, 7e9]),
)
events = st.lists(move, min_size=1, max_size=120)
sizes = st.lists(st.integers(1, 40), min_size=120, max_size=120)


def messages_of(world, moves):
    at = dict.fromkeys(METRICS, world.TRAINED)
    for offset, (metric, steps, seconds, value) in enumerate(moves):
        time = at[metric] + steps * world.STEP
        at[metric] = max(at[metric], time)
        yield world.message(offset, metric, time + timedelta(seconds=seconds), value)


def steps_of(answer):
    return [(datetime.fromisoformat(p["time"]), p["value"], p["lower"], p["upper"]) for p in answer["predictions"]]


def facts_of(answers):
    times = ("event_time", "as_of")
    rows = [(a["metric"], *(datetime.fromisoformat(a[n]) for n in times), a["observed"]) for a in answers]
    return pl.DataFrame([(m, t, v, k) for m, t, k, v in rows], schema=FACTS, orient="row")


def answered(engine, messages, sizes):
    """All answers, micro-batch by micro-batch; each restarts from the changelog now and then."""
    found, late, at, log = [], 0, 0, {}
    for size in sizes:
        part = messages[at : at + size]
        at += size
        if not part:
            break
        done = engine.answer(part)
        assert not done.dead
        found += [json.loads(body) for _, body in done.outputs]
        late += len(done.late)
        for _, key, value in done.changes:
            log.pop(key, None)
            log[key] = value  # as compaction leaves it
        if size % 5 == 0:
            engine.evict(float("inf"))
        if size % 7 == 0:
            engine.drop(0)
            engine.changelog.restore(engine.rings, 0, engine.changelog.checked(log)[0])
    return found, late


@given(events, sizes)
@settings(max_examples=8)
def test_every_answer_is_the_batch_doors(world, home, champion, moves, sizes):
    answers, late = answered(world.engine(champion), list(messages_of(world, moves)), sizes)
    assert len(answers) + late == len(moves)
    facts, name = facts_of(answers), f"facts{uuid.uuid4().hex[:12]}"
    for answer in answers[-15:]:
        as_of = datetime.fromisoformat(answer["as_of"])
        rows = world.batch(champion, home, name, facts, as_of, answer["metric"])
        assert steps_of(answer) == rows
        assert (answer["served"] in SERVED) == bool(rows)
        assert (answer["model_share"] is None) == (not rows)


@given(events, sizes, sizes)
@settings(max_examples=20)
def test_batches_and_restarts_change_nothing(world, champion, moves, one, other):
    messages = list(messages_of(world, moves))
    first, late = answered(world.engine(champion), messages, one)
    again, late_again = answered(world.engine(champion), messages, other)
    by_event = sorted(first, key=lambda a: int(a["event_id"].rsplit("-", 1)[1]))
    assert by_event == sorted(again, key=lambda a: int(a["event_id"].rsplit("-", 1)[1]))
    assert late == late_again
    assert len({a["prediction_id"] for a in first}) == len(first)


def test_a_series_begins_with_what_the_tables_know(world, home, champion):
    from headrace.serving.engine.seeding import Seeding

    engine = world.engine(champion, seed=Seeding("live_metrics", home, world.shape()))
    done = engine.answer([world.message(0, "orders", world.TRAINED + world.STEP, 99.5)])
    answer = json.loads(done.outputs[0][1])
    assert len(answer["predictions"]) == 3
    raw = home.table("live_metrics", "raw")
    facts = raw.collect(raw.scan()).select(*FACTS)
    facts = pl.concat([facts, facts_of([answer])])
    name = f"facts{uuid.uuid4().hex[:12]}"
    rows = world.batch(champion, home, name, facts, datetime.fromisoformat(answer["as_of"]), "orders")
    assert steps_of(answer) == rows
    restored = world.engine(champion)
    log = {key: value for _, key, value in done.changes}
    restored.changelog.restore(restored.rings, 0, restored.changelog.checked(log)[0])
    assert np.array_equal(restored.rings.values[:, 0], engine.rings.values[:, 0], equal_nan=True)


def test_series_far_apart_in_time_are_answered_together(world, champion):
    engine, alone = world.engine(champion), world.engine(champion)
    far = [
        world.message(i, metric, world.TRAINED + timedelta(days=years * 365) + i * world.STEP, 5.0 + i)
        for i in range(30)
        for metric, years in (("orders", 0), ("revenue", 40))
    ]
    together = sorted(json.loads(body)["value"] or 0 for _, body in engine.answer(far).outputs)
    one_by_one = sorted(json.loads(b)["value"] or 0 for m in far for _, b in alone.answer([m]).outputs)
    assert together == one_by_one


BAD = {
    "not JSON": b'{"metric": "orders", ',
    "is not JSON": b'\xff\xfe{"metric": 1}',
    "not a JSON object": b"[1, 2]",
    "is not a JSON object": b"null",
    "metric: is missing": b'{"time": "2020-03-02T01:00:00Z", "value": 1}',
    "value: is not a number, but a text": b'{"metric": "orders", "time": "2020-03-02T01:00:00Z", "value": "1"}',
    "value: is not a number, but an array": b'{"metric": "orders", "time": "2020-03-02T01:00:00Z", "value": [1]}',
    "value: is missing": b'{"metric": "orders", "time": "2020-03-02T01:00:00Z", "value": null}',
    "time: is missing": b'{"metric": "orders", "value": 1}',
    "is not a time": b'{"metric": "orders", "time": "yesterday", "value": 1}',
    "bytes long": b'{"metric": "orders", "pad": "' + b"x" * 1_000_000 + b'"}',
    "unknown series": b'{"metric": "nobody", "time": "2020-03-02T01:00:00Z", "value": 1}',
    "is in the future": b'{"metric": "orders", "time": "2100-03-02T01:00:00Z", "value": 1}',
    "has no value": None,
}


@pytest.mark.parametrize("reason", BAD)
def test_one_bad_event_never_fails_its_batch(world, champion, reason):
    good = [world.message(i, "orders", world.TRAINED + (i + 1) * world.STEP, 5.0) for i in range(3)]
    bad = good[1]._replace(value=BAD[reason], offset=77)
    done = world.engine(champion).answer([good[0], bad, good[2]])
    assert [m.offset for m, _ in done.outputs] == [0, 2]
    ((message, why),) = done.dead
    assert message == bad
    assert reason in why


def test_an_event_without_a_key_is_refused_unless_there_is_one_partition(world, champion):
    keyless = world.message(0, "orders", world.TRAINED + world.STEP, 5.0)._replace(key=None)
    assert "no key" in world.engine(champion).answer([keyless]).dead[0][1]
    assert len(world.engine(champion).answer([keyless], keyless=True).outputs) == 1


def test_the_flag_is_up_where_the_observation_left_its_interval(world, champion):
    engine = world.engine(champion)
    steady = [world.message(i, "orders", world.TRAINED + (i + 1) * world.STEP, 5.0) for i in range(30)]
    engine.answer(steady)
    done = engine.answer([world.message(30, "orders", world.TRAINED + 31 * world.STEP, 5e6)])
    answer = json.loads(done.outputs[0][1])
    assert answer["anomaly"] is True
    assert answer["expected"]["upper"] < 5e6
    assert done.anomalies == 1


def test_an_intermittent_series_is_answered_as_in_batch(world, home, champion):
    model = replace(champion.predictor.model, sparse=True)
    sparse = replace(champion, predictor=Predictor(model, champion.predictor.schema))
    values = [0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0, 0.0] * 20
    moves = [("orders", 1, 0, value) for value in values] + [("revenue", 1, 0, 5.0 + value) for value in values]
    answers, _ = answered(world.engine(sparse), list(messages_of(world, moves)), [7] * 60)
    name = f"facts{uuid.uuid4().hex[:12]}"
    facts = facts_of(answers)
    for answer in (answers[3], answers[40], answers[159], answers[-1]):
        as_of = datetime.fromisoformat(answer["as_of"])
        assert steps_of(answer) == world.batch(sparse, home, name, facts, as_of, answer["metric"])
    last = next(a for a in reversed(answers) if a["metric"] == "orders")
    assert all(0 < value < upper and lower == 0 for _, value, lower, upper in steps_of(last))
