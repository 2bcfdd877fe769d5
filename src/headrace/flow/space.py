"""Whether what is searched fits a system, which of it the system has now, and what could be searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from headrace.config import nested, override, parse_setting, reached
from headrace.declaration import Declared, format_duration
from headrace.errors import ConfigError, HeadraceError, UsageError
from headrace.system import System
from headrace.tuning import Tuning

_PREFERRED = ("learning_rate", "C", "alpha", "reg_lambda", "num_leaves", "n_estimators")
"""Settings that people search first, by name."""


def check(system: System) -> None:
    """Refuse a space of which a value does not fit the system: each bound and each choice is tried.

    Raises:
        ConfigError: Names the path, and says what is wrong.
    """
    tuning = system.tuning
    for path, parameter in tuning.ordered():
        for value in parameter.ends:
            try:
                for place, setting in [*_conditions(tuning, path), (path, value)]:
                    system_tried = override(system, nested(place, setting))
                    system_tried.config()
            except HeadraceError as error:
                at = error.where if error.where and error.where != path else None
                message = f"{path}={value}: {f'{at}: ' if at else ''}{error.message}"
                raise ConfigError(message, where=f"tuning.space.{path}", hint=error.hint) from error


def _conditions(tuning: Tuning, path: str) -> Iterator[tuple[str, Any]]:
    """Values that other parameters must have for one to count."""
    for name, wanted in tuning.space[path].when.items():
        yield from _conditions(tuning, name)
        yield name, wanted[0] if isinstance(wanted, list) else wanted


def refuse_set(tuning: Tuning, settings: Sequence[str]) -> None:
    """Refuse to search what the command sets.

    Raises:
        UsageError: A path is both.
    """
    for text in settings:
        for path in _paths(*parse_setting(text)):
            if path in tuning.space:
                hint = f"leave --set {path} out, or take it out of tuning.space"
                raise UsageError(f"{path} is set and searched at once", where="--set", hint=hint)


def _paths(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _paths(f"{path}.{name}", part)
    else:
        yield path


def present_values(system: System) -> tuple[dict[str, Any], str | None]:
    """What the system has now at the searched paths; nothing, and why, where that is no point of the space."""
    values: dict[str, Any] = {}
    for path, parameter in system.tuning.ordered():
        if not parameter.counts(values):
            continue
        try:
            value = _plain(reached(system, path))
        except ConfigError:  # not there now: the path belongs to another choice
            return {}, f"the present values have no {path}"
        if not parameter.holds(value):
            return {}, f"{path} is {value} now, which is outside of the space: {parameter.text}"
        values[path] = value
    return values, None


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Declared):
        return value.model_dump(mode="json")
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def example(system: System) -> str:
    """A space for a system, on one line of YAML: a setting of its model that people search first."""
    leaves = dict(_numbers(system.model, "model"))
    by_name = {path.rpartition(".")[2]: path for path in reversed(leaves)}
    path = next((by_name[name] for name in _PREFERRED if name in by_name), next(iter(leaves), None))
    if path is None:
        return "tuning: {space: {PATH: {low: 1, high: 10}}}"
    value = leaves[path]
    low, high = (max(value // 4, 2), value * 4) if isinstance(value, int) else (value / 10, value * 10)
    low_text, high_text = (f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high))
    if path.endswith("_rate"):
        high_text = f"{min(high, 1.0):g}"
    return f"tuning: {{space: {{{path}: {{low: {low_text}, high: {high_text}, log: true}}}}}}"


def _numbers(declared: Declared, path: str) -> Iterator[tuple[str, int | float]]:
    """Numbers above zero below a path."""
    for name in type(declared).model_fields:
        value = getattr(declared, name)
        if isinstance(value, Declared):
            yield from _numbers(value, f"{path}.{name}")
        elif isinstance(value, tuple):
            for part in value:
                kind = getattr(part, "kind", None)
                if isinstance(part, Declared) and [getattr(p, "kind", None) for p in value].count(kind) == 1:
                    yield from _numbers(part, f"{path}.{name}.{kind}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            yield f"{path}.{name}", value
