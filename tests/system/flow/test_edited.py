"""An edited declaration: the model is trained anew, or it is said whose numbers go on; pins name what made a number."""

from datetime import timedelta

import pytest
from tests.worlds.flow import NOW, last, system_of, world

from headrace.features import lag
from headrace.flow.run import RunRequest, run
from headrace.shaping import differing


@pytest.fixture
def home(place):
    home = place("edited")
    world(1).write_parquet(home.path / "facts.parquet")
    return home


def once(system, home, hours):
    return run(system, home, RunRequest(last(hours), NOW, f"file:{home.path}/facts.parquet"))


def edited(system, **fields):
    return type(system)(**{name: getattr(system, name) for name in type(system).model_fields} | fields)


def test_other_features_are_trained_and_compared(home):
    system = system_of("7d")
    first = once(system, home, 20)
    other = edited(system, features={"only": lag("load", "0h")})
    second = once(other, home, 19)
    assert second.trained is not None
    assert "version" in second.trained.reason
    if second.trained.promoted:
        assert second.pins.config_digest == other.config_digest
    else:
        assert second.pins.config_digest == first.pins.config_digest == system.config_digest
        assert second.pins.feature_version == system.features.digest
        assert "(features)" in second.warnings[0]
        assert "did not take its place" in second.warnings[0]
    assert once(other, home, 18).trained is None  # once is enough, whatever came of it


def test_another_horizon_takes_the_place_for_it_cannot_be_compared(home):
    system = system_of("7d")
    once(system, home, 20)
    longer = edited(system, horizon="9h")
    second = once(longer, home, 19)
    assert second.trained.promoted
    assert "horizon" in second.trained.reason
    assert second.predicted.frame["ahead"].max() == 9
    assert (second.warnings, second.pins.config_digest) == ([], longer.config_digest)


def test_without_training_the_model_goes_on_and_says_so(home):
    system = system_of("never")
    first = once(system, home, 20)
    longer = edited(system, horizon="9h", features={"only": lag("load", "0h")})
    second = once(longer, home, 19)
    assert second.trained is None
    assert second.predicted.frame["ahead"].max() == 6
    (said,) = second.as_dict()["warnings"]
    assert "made from another declaration (horizon, features), and goes on" in said
    assert "headrace train world" in said
    names = ("config_digest", "feature_version", "model_digest")
    assert all(getattr(first.pins, name) == getattr(second.pins, name) for name in names)


def test_what_shapes_no_number_changes_nothing(home):
    system = system_of("7d")
    pins = {"made_from": system.made_from}
    contract = system.contract
    described = [c.model_copy(update={"description": "in MW"}) for c in contract.columns]
    other = edited(
        system,
        schedule={"predict": "2h", "train": "never"},
        monitoring={"window": "9d"},
        contract={"columns": described, "max_invalid_fraction": 0.4},
    )
    assert differing(other.made_from, pins) == []
    assert other.config_digest == system.config_digest
    once(system, home, 20)
    assert once(edited(other, schedule=system.schedule), home, 19).trained is None
    warmer = [
        c.model_copy(update={"known_future": timedelta(hours=9)}) if c.name == "warmth" else c for c in contract.columns
    ]
    assert differing(edited(system, contract={"columns": warmer}).made_from, pins) == ["contract.warmth"]


def test_a_model_that_does_not_say_what_it_was_made_from_is_of_another_format():
    assert differing(system_of().made_from, {"as_of": "2026-01-01T00:00:00Z"}) == ["format"]
