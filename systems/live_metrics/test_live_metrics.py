"""The declaration loads, says what it promises, and follows the step of the stream at hand."""

from pathlib import Path

from headrace.loading import load_system

FOLDER = str(Path(__file__).parent)


def test_the_next_twelve_steps_of_every_metric() -> None:
    system = load_system(FOLDER)
    assert (system.name, system.steps, system.keys) == ("live_metrics", 12, ("metric",))
    assert system.event_shape().columns == ("value",)


def test_another_step_brings_features_of_that_step() -> None:
    hourly = load_system(FOLDER, ["step=1h", "horizon=12h"])
    assert hourly.steps == 12
    assert hourly.features.digest != load_system(FOLDER).features.digest
    assert hourly.features.digest == load_system(FOLDER, ["horizon=12h", "step=1h"]).features.digest
