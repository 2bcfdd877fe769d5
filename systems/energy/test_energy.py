"""The declaration loads, and says what it promises."""

from pathlib import Path

import pytest

from headrace.config import override
from headrace.errors import ConfigError
from headrace.loading import load_system

FOLDER = str(Path(__file__).parent)


def test_a_day_ahead_for_every_area_and_industry() -> None:
    system = load_system(FOLDER)
    assert (system.name, system.steps, system.keys) == ("energy", 24, ("area", "industry"))
    assert system.contract.names == ("time", "area", "industry", "consumption")


def test_configuration_shapes_the_digest_and_a_typo_is_refused() -> None:
    system = load_system(FOLDER)
    assert load_system(FOLDER, ["model.n_estimators=7"]).config_digest != system.config_digest
    with pytest.raises(ConfigError, match=r"model\.n_estimators"):
        override(system, {"model": {"n_estimators": 0}})
    with pytest.raises(ConfigError, match="did you mean 'horizon'"):
        load_system(FOLDER, ["horizn=1h"])
