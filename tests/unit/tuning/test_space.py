"""What is searched: how it is declared, and how values become texts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.config import nested, override, parse_setting
from headrace.errors import ConfigError, DeclarationError
from headrace.flow.space import present_values
from headrace.loading import load_system
from headrace.tuning import Choices, Range, Tuning
from headrace.tuning.values import settings_of


def test_a_list_is_choices_and_whole_bounds_search_whole_numbers() -> None:
    tuning = Tuning(space={"a": ["x", "y"], "b": {"low": 1, "high": 4}, "c": {"low": 1, "high": 4.0}})
    assert isinstance(tuning.space["a"], Choices)
    assert isinstance(tuning.space["b"], Range)
    assert (tuning.space["b"].whole, tuning.space["c"].whole) == (True, False)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"low": 5, "high": 1}, ": low 5 is greater than high 1"),
        ({"low": 0, "high": 1, "log": True}, ": low 0 has no logarithm"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, ": log and step exclude each other"),
        ({"low": 1, "hihg": 9}, r"\.high: .*\n.*model\.C\.hihg"),
        ({"low": "x", "high": 9}, r"\.low: is no finite number \(got 'x'\)"),
        ({"low": 1, "high": float("inf")}, r"\.high: is no finite number"),
        ({"choices": []}, r"\.choices"),
        ([], r"\.choices"),
        (7, r": neither bounds nor choices \(got 7\)"),
    ],
)
def test_a_mistake_in_a_space_is_named(space: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=rf"tuning\.space\.model\.C{message}"):
        Tuning(space={"model.C": space})


def test_a_condition_is_about_what_is_searched_and_not_in_a_circle() -> None:
    with pytest.raises(DeclarationError, match="'b' is not searched"):
        Tuning(space={"a": {"low": 1, "high": 2, "when": {"b": 1}}})
    circle = {"a": {"low": 1, "high": 2, "when": {"b": 1}}, "b": {"low": 1, "high": 2, "when": {"a": 1}}}
    with pytest.raises(DeclarationError, match="depends on itself"):
        Tuning(space=circle)


def test_cmaes_searches_numbers_alone() -> None:
    with pytest.raises(DeclarationError, match="cmaes searches numbers alone"):
        Tuning(space={"a": ["x", "y"]}, sampler="cmaes")


def test_a_parameter_counts_by_what_was_chosen() -> None:
    tuning = Tuning(space={"c": {"low": 1, "high": 2, "when": {"kind": ["x", "y"]}}, "kind": ["x", "y", "z"]})
    assert [path for path, _ in tuning.ordered()] == ["kind", "c"]
    assert [tuning.space["c"].counts({"kind": kind}) for kind in "xyz"] == [True, True, False]


def test_texts_say_what_set_reads_back() -> None:
    values = {
        "a.b": 1e-05,
        "c": 3,
        "d": "24h",
        "e": "3",
        "f": True,
        "g": ["24h", "168h"],
        "h": None,
        "i": " x ",
        "j": "",
    }
    assert dict(parse_setting(text) for text in settings_of(values)) == values


def test_a_timeout_is_seconds_or_a_duration() -> None:
    assert Tuning(timeout=90).timeout == Tuning(timeout="90s").timeout == timedelta(seconds=90)
    assert Tuning(timeout="never").timeout is None


@pytest.mark.parametrize(
    ("setting", "path", "hint"),
    [
        ("model.folds={low: 2, high: 4}", "model.folds", "{low: 2, high: 4}"),
        ("model.members.linear.C.low=1", "model.members.linear.C", "{low: 1}"),
        ("model.folds=[2, 3]", "model.folds", "[2, 3]"),
        ("model.folds=3", "model.folds", "{low: 1, high: 10}"),
    ],
)
def test_a_path_that_set_split_at_its_dots_is_shown_as_one_key(setting: str, path: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=r"^tuning\.space\.model: a path is one key, dots and all") as raised:
        override(Tuning(), nested(*parse_setting(f"space.{setting}")), "tuning")
    written = f"tuning.space={{{path}: {hint}}}"
    assert f"--set '{written}'" in str(raised.value)
    if "low: 1}" not in hint:
        assert path in override(Tuning(), nested(*parse_setting(written.removeprefix("tuning."))), "tuning").space


def test_present_values_outside_of_the_space_are_named(root: Path) -> None:
    system = load_system(str(root / "systems/titanic"))
    for space, reason in [
        ({"model.members.linear.C": {"low": 50, "high": 90}}, "linear.C is 0.3 now, .* outside of the space: 50 to 90"),
        ({"model.seed": [7, 8]}, "model.seed is .* now, which is outside of the space: 7, 8"),
        ({"model.members.forest.C": [1]}, "the present values have no model.members.forest.C"),
    ]:
        values, left_out = present_values(system.model_copy(update={"tuning": Tuning(space=space)}))
        assert values == {}
        assert re.search(reason, str(left_out))
    assert present_values(system)[1] is None
