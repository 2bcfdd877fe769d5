"""What is read is what was said last, by whichever model is the champion."""

from datetime import UTC, datetime, timedelta

import pytest

from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.tasks.forecast.inference import read_predictions

AS_OF = datetime(2026, 3, 2, 12, tzinfo=UTC)
SOURCE = "simulated:?series=4&days=40"


@pytest.fixture
def energy(root):
    return load_system(str(root / "systems" / "energy"), ["model.n_estimators=5", "model.max_rows=1000"])


def test_promoting_back_brings_the_promoted_models_numbers_back(energy, tmp_path):
    home, minutes = Home(Settings(home=tmp_path)), iter(range(100))

    def step(**more):
        return run(energy, home, RunRequest(AS_OF, AS_OF + timedelta(minutes=next(minutes)), SOURCE, **more))

    def versions():
        return set(read_predictions(energy, home)["model_version"])

    step()
    other = energy.model_copy(update={"model": energy.model.model_copy(update={"seed": 1})})
    run(other, home, RunRequest(AS_OF, AS_OF + timedelta(minutes=next(minutes)), steps=("train",), retrain=True))
    seen = []
    for version in (2, 1, 2):
        home.registry.promote("energy", version, created_at=AS_OF + timedelta(minutes=next(minutes)))
        seen.append(step(steps=("predict",)).predicted.stored)
        assert versions() == {version}
        assert step(steps=("predict",)).predicted.stored == 0
    assert seen == [96, 96, 96]


def test_a_run_before_a_model_was_trained_does_not_use_it(energy, tmp_path):
    home = Home(Settings(home=tmp_path))
    now = AS_OF + timedelta(days=9)
    run(energy, home, RunRequest(AS_OF, now, SOURCE))
    earlier = run(energy, home, RunRequest(AS_OF - timedelta(days=1), now, SOURCE))
    assert earlier.trained is not None
    assert earlier.pins.model_version == 2
    assert run(energy, home, RunRequest(AS_OF + timedelta(hours=1), now, SOURCE)).pins.model_version == 1
