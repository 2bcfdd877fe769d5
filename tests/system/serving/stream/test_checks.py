"""What a stream remembers of its past forecasts changes no number, and saves most of their work."""

import json
from datetime import timedelta

import numpy as np
import pytest


def noisy(world, count=400, seed=0):
    """Events of three series with gaps, and with corrections and late ones that change much."""
    rng = np.random.default_rng(seed)
    metrics = ("orders", "revenue", "cost_per_click")
    at = dict.fromkeys(metrics, world.TRAINED)
    for offset in range(count):
        metric = str(rng.choice(metrics))
        steps = int(rng.choice([1] * 8 + [2, 5, 0, -1, -2, -3, -4]))
        time = at[metric] + steps * world.STEP
        at[metric] = max(at[metric], time)
        value = 100 * (2 + np.sin(time.hour / 24 * 6.3) + rng.normal(0, 0.3)) * rng.choice([1, 1, 1, 3])
        yield world.message(offset, metric, time + timedelta(seconds=offset), float(value))


@pytest.mark.parametrize("seed", range(3))
def test_a_stream_that_remembers_says_what_one_that_does_not_says(world, champion, seed):
    rng = np.random.default_rng(seed)
    messages, at = list(noisy(world, seed=seed)), 0
    engine, forgetful = world.engine(champion), world.engine(champion)
    widths = []
    while at < len(messages):
        size = int(rng.choice([1, 2, 5, 40]))
        part = messages[at : at + size]
        at += size
        forgetful.rings.checks.forget()
        found, again = (each.answer(part).outputs for each in (engine, forgetful))
        assert [body for _, body in found] == [body for _, body in again]
        for _, body in found:
            widths += [step["upper"] - step["lower"] for step in json.loads(body)["predictions"][:1]]
    assert len(set(widths)) > len(widths) / 2 > 10


def test_a_check_is_forecast_once(world, champion, monkeypatch):
    engine, model = world.engine(champion), type(champion.predictor.model)
    steady = [world.message(i, "orders", world.TRAINED + (i + 1) * world.STEP, 5.0 + i % 3) for i in range(120)]
    engine.answer(steady[:100])
    asked, say = [], model._say
    monkeypatch.setattr(
        model,
        "_say",
        lambda self, history, series, *rest: asked.append(len(series)) or say(self, history, series, *rest),
    )
    for each in steady[100:]:
        engine.answer([each])
    assert asked == [1] * 20
    engine.rings.checks.forget()
    engine.answer([world.message(120, "orders", world.TRAINED + 121 * world.STEP, 5.0)])
    assert asked[-1] > 20


def test_another_model_begins_anew(world, champion):
    engine = world.engine(champion)
    engine.answer([world.message(i, "orders", world.TRAINED + (i + 1) * world.STEP, 5.0 + i % 3) for i in range(60)])
    row = np.array([engine.rings.index[0, ("orders",)]])
    newest = engine.rings.newest[row] // 3 * 3
    assert engine.rings.checks.recall(row, newest)[0].all()
    assert engine.rings.checks.nbytes > 0
    assert not engine.use(champion)
    assert not engine.rings.checks.recall(row, newest)[0].any()
