"""Values by path: as a trial proposes them, and as the texts that ``--set`` takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.tuning.declared import Choices, Range, Tuning

if TYPE_CHECKING:
    from optuna.trial import Trial

_DIGITS = 6
"""Significant digits of a number that is tried: more say nothing, and are hard to read."""


def proposed(trial: Trial, tuning: Tuning) -> dict[str, Any]:
    """The values of a trial, by path; conditional ones only where they count."""
    values: dict[str, Any] = {}
    for path, parameter in tuning.ordered():
        if parameter.counts(values):
            values[path] = _proposed(trial, path, parameter)
    return values


def _proposed(trial: Trial, path: str, parameter: Range | Choices) -> Any:
    if isinstance(parameter, Choices):
        return _choice(parameter, trial.suggest_categorical(path, [_label(choice) for choice in parameter.choices]))
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.whole:
        return trial.suggest_int(path, int(low), int(high), step=int(step or 1), log=parameter.log)
    return _rounded(trial.suggest_float(path, low, high, step=step, log=parameter.log), parameter)


def restored(params: Mapping[str, Any], tuning: Tuning) -> dict[str, Any]:
    """The values that a study's record of a trial stands for; see `proposed`."""
    return {path: _restored(params[path], parameter) for path, parameter in tuning.ordered() if path in params}


def _restored(value: Any, parameter: Range | Choices) -> Any:
    if isinstance(parameter, Choices):
        return _choice(parameter, value)
    return value if parameter.whole else _rounded(value, parameter)


def recorded(values: Mapping[str, Any], tuning: Tuning) -> dict[str, Any]:
    """Values as a study's record has them, so that a trial can begin with them."""
    return {path: _label(value) if isinstance(tuning.space[path], Choices) else value for path, value in values.items()}


def text_of(value: Any) -> str:
    """A value as ``--set`` takes it: YAML, on one line."""
    if isinstance(value, str):
        return value if value and value == value.strip() and not _special(value) else json.dumps(value)
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # without a dot, YAML reads 1e-05 as a text
    return text


def settings_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """``PATH=VALUE`` texts.

    >>> settings_of({"model.C": 1e-05, "model.kind": "linear", "horizon": "24h"})
    ('model.C=1.0e-05', 'model.kind=linear', 'horizon=24h')
    """
    return tuple(f"{path}={text_of(value)}" for path, value in values.items())


def _special(text: str) -> bool:
    """Whether YAML reads something else than this very text."""
    import yaml

    try:
        return bool(yaml.safe_load(text) != text)
    except yaml.YAMLError:
        return True


def _rounded(value: float, parameter: Range) -> float:
    rounded = float(f"{value:.{_DIGITS}g}")
    return min(max(rounded, parameter.low), parameter.high)


def _label(choice: Any) -> Any:
    return choice if choice is None or isinstance(choice, str | int | float | bool) else json.dumps(choice)


def _choice(parameter: Choices, label: Any) -> Any:
    return next(c for c in parameter.choices if _label(c) == label and type(_label(c)) is type(label))
