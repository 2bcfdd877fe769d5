"""A mistake in a declaration, or in its configuration, is refused with the field's path."""

from datetime import timedelta

import pytest

from headrace import Boosting, Classifier, Column, Contract, Forecaster, Linear, Monitoring, Source, System
from headrace.config import nested, override, parse_setting, together
from headrace.declaration import format_duration, parse_duration
from headrace.errors import ConfigError, DeclarationError
from headrace.features import col, lag, seasonal_features
from headrace.loading import load_system

CONTRACT = Contract(
    columns=(
        Column("time", "time", zone="UTC"),
        Column("site", "category"),
        Column("load", "float", minimum=0),
        Column("price", "float", known_future=True),
    )
)
GOOD = {
    "name": "meters",
    "source": Source(lag="1h"),
    "contract": CONTRACT,
    "keys": ("site",),
    "time": "time",
    "step": "1h",
    "target": "load",
    "features": seasonal_features("load", step="1h") | {"price": col("price")},
    "model": Forecaster(),
    "horizon": "24h",
}


def test_a_sound_declaration():
    system = System(**GOOD)
    assert (system.steps, system.forecasts, system.known_future) == (24, True, ("price",))
    assert System(**GOOD).config_digest == system.config_digest


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": "Meters!"}, "name"),
        ({"keys": ("site", "meter")}, r"keys\[1\]"),
        ({"target": "loda"}, "target"),
        ({"target": "site"}, "target"),
        ({"time": "load"}, "time"),
        ({"time": None}, "time"),
        ({"step": None}, "step"),
        ({"horizon": "30m"}, "horizon"),
        ({"horizon": "90m"}, "horizon"),
        ({"horizon": "soon"}, "horizon"),
        ({"horzion": "1h"}, "horzion"),
        ({"features": {"now": col("load")}}, "features.now"),
        ({"features": {"x": lag("temperature", "1h")}}, "features.x"),
        ({"features": {"x": "price"}}, "features.x"),
        ({"model": Forecaster(seasons=("90m",))}, r"model.seasons\[0\]"),
        ({"model": Forecaster(seasons=("7d", "1d"))}, "model.seasons"),
        ({"monitoring": Monitoring(baselines=("90m",))}, r"monitoring.baselines\[0\]"),
        ({"schedule": {"train": "0h"}}, r"schedule.train"),
        ({"stream": {"idle": "-1h"}}, r"stream.idle"),
        ({"source": Source(columns={"laod": "x"})}, "source.columns.laod"),
        ({"horizon": None}, "features"),
    ],
)
def test_mistakes_are_refused_with_their_path(change, where):
    with pytest.raises(DeclarationError, match=rf"^{where}"):
        System(**(GOOD | change))


def test_configuration_overrides_by_path():
    system = System(**GOOD)
    changed = override(system, {"source": {"lag": "0h"}, "contract": {"columns": {"load": {"maximum": 9}}}})
    assert changed.source.lag == timedelta()
    assert changed.contract.column("load").maximum == 9
    assert changed.config_digest != system.config_digest
    assert override(system, {"schedule": {"train": "1d"}}).config_digest == system.config_digest


def test_members_of_a_model_are_reached_by_their_kind():
    model = Classifier(members=(Linear(C=0.3), Boosting(n_estimators=9)))
    changed = override(model, {"members": {"boosting": {"n_estimators": 5}}}, "model")
    assert changed.members == (Linear(C=0.3), Boosting(n_estimators=5))
    with pytest.raises(ConfigError, match=r"model.members.1: no such setting\n  hint: known here: linear, boosting"):
        override(model, {"members": {"1": {"n_estimators": 5}}}, "model")
    two = Classifier(members=(Linear(C=0.3), Linear(C=3), Boosting()))
    with pytest.raises(ConfigError, match=r"model.members.linear: no such setting\n  hint: known here: boosting"):
        override(two, {"members": {"linear": {"C": 1}}}, "model")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sorce": {}}, r"sorce: no such setting\n  hint: did you mean 'source'"),
        ({"source": {"lagg": 1}}, r"source.lagg: no such setting"),
        ({"contract": {"columns": {"laod": {}}}}, r"contract.columns.laod: no such setting"),
        ({"model": {"n_estimators": "many"}}, r"model\.n_estimators"),
        ({"name": {"first": 1}}, r"name: is one value"),
        ({"horizon": "30m"}, r"horizon"),
    ],
)
def test_wrong_configuration_is_refused_with_its_path(change, said):
    with pytest.raises(ConfigError, match=said):
        override(System(**GOOD), change)


def test_settings_are_paths_and_yaml_values():
    assert parse_setting("model.n_estimators=30") == ("model.n_estimators", 30)
    assert parse_setting("source.lag=0h") == ("source.lag", "0h")
    assert parse_setting("contract.columns.value.decimal=,") == ("contract.columns.value.decimal", ",")
    assert parse_setting("source.columns.value=[kWh") == ("source.columns.value", "[kWh")
    with pytest.raises(ConfigError, match="PATH=VALUE"):
        parse_setting("model.n_estimators")


@pytest.mark.parametrize("settings", [["step=24m", "horizon=72m"], ["horizon=72m", "step=24m"]])
def test_settings_that_are_right_only_together_are_made_together(root, settings):
    system = load_system(str(root / "systems" / "live_metrics"), settings)
    assert (system.step, system.steps) == (timedelta(minutes=24), 3)
    with pytest.raises(ConfigError, match=r"^horizon: 72m is not a multiple of the step 5m"):
        load_system(str(root / "systems" / "live_metrics"), ["horizon=72m"])


def test_later_settings_win_whatever_they_go_into():
    given = ["a.b=1", "a.c=2", "a.b=3", "d=[1]", "d.x=2", "a=5", "a.b=6"]
    stages = together(nested(*parse_setting(each)) for each in given)
    assert stages == [{"a": {"b": 3, "c": 2}, "d": [1]}, {"d": {"x": 2}, "a": 5}, {"a": {"b": 6}}]


@pytest.mark.parametrize("text", ["15d", "1d", "36h", "90m", "0h", "-1h", "45s", "0.5s", "0.000001s"])
def test_durations_read_back(text):
    assert format_duration(parse_duration(text)) == text


def test_a_duration_needs_a_unit():
    assert parse_duration("1h30m") == timedelta(minutes=90)
    for text in ("", "24", "h", "1x", "soon"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)
    with pytest.raises(ValueError, match="longer than"):
        parse_duration("99999999999d")


def test_a_mistake_in_a_part_is_refused_with_its_file_and_field(tmp_path):
    (tmp_path / "system.py").write_text("from headrace import Classifier\n\nmodel = Classifier(members=())\n")
    with pytest.raises(DeclarationError, match="at least 1 item") as refused:
        load_system(str(tmp_path))
    assert refused.value.where == f"{tmp_path / 'system.py'}: Classifier.members"
