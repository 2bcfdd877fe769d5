"""Configuration: `config.yaml` and ``--set`` override fields of a declaration by path; there is no second schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from headrace.contract import declaration_error
from headrace.declaration import Declared
from headrace.errors import ConfigError, DeclarationError
from headrace.models.base import Model

D = TypeVar("D", bound=Declared)
_NEAR = 0.75
"""A name that is less alike is another word, not a slip."""


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty when there is none.

    Raises:
        ConfigError: It is not YAML, or not a mapping.
    """
    if not path.exists():
        return {}
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"not readable as YAML: {error}", where=str(path)) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping of field names to values", where=str(path))
    return data


def parse_setting(setting: str) -> tuple[str, Any]:
    """``"source.lag=0h"`` as a path and a value; the value is read as YAML, so 3 is a number and a lone comma text.

    Raises:
        ConfigError: It is not PATH=VALUE.
    """
    import yaml

    path, equals, text = setting.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"{setting!r} is not PATH=VALUE", where="--set")
    try:
        return path.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        return path.strip(), text  # whether it is a value of that field is for the field to say


def override(base: D, changes: Mapping[str, Any], where: str = "") -> D:
    """`base` with nested fields replaced.

    Args:
        base: A declared object.
        changes: Field names to values; a mapping goes into a nested object, and into a tuple of named objects (such
            as a contract's columns) by name.
        where: Path of `base`, for errors.

    Raises:
        ConfigError: A path is unknown (with the nearest name), or a value does not fit.
    """
    values = {name: getattr(base, name) for name in type(base).model_fields}
    for name, change in changes.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in values:
            raise _unknown(path, str(name), list(values))
        values[name] = _changed(values[name], change, path)
    try:
        return type(base)(**values)
    except DeclarationError as error:
        cause = error.__cause__
        mistake = error  # a part of a system tells its whole path already
        if isinstance(cause, ValidationError) and (where or cause.title == type(base).__name__):
            mistake = declaration_error(cause, where)
        raise ConfigError(mistake.message, where=mistake.where, hint=mistake.hint) from error


def reached(base: Declared, path: str) -> Any:
    """The value at a path, such as ``model.members.linear.C``.

    Raises:
        ConfigError: There is no such path.
    """
    value: Any = base
    for name in path.split("."):
        if isinstance(value, Declared) and name in type(value).model_fields:
            value = getattr(value, name)
        elif isinstance(value, tuple) and name in _named(value):
            value = value[_named(value)[name]]
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            raise ConfigError("no such setting", where=path)
    return value


def _changed(value: Any, change: Any, path: str) -> Any:
    if isinstance(value, Model) and isinstance(change, Mapping) and "kind" in change:
        if change["kind"] != getattr(value, "kind", None):
            return dict(change)  # a model of another kind, whose settings are its own
        change = {name: setting for name, setting in change.items() if name != "kind"}
    if isinstance(value, Declared) and isinstance(change, Mapping):
        return override(value, change, path)
    if isinstance(change, Mapping) and isinstance(value, tuple):
        named = _named(value)
        items = list(value)
        for name, inner in change.items():
            if name not in named:
                raise _unknown(f"{path}.{name}", str(name), list(named))
            items[named[name]] = _changed(items[named[name]], inner, f"{path}.{name}")
        return tuple(items)
    if isinstance(change, Mapping) and isinstance(value, Mapping):
        return {**value, **change}
    if isinstance(change, Mapping) and value is not None and not isinstance(value, Declared):
        raise ConfigError("is one value and has no fields below it", where=path)
    return change


def _named(items: tuple[Any, ...]) -> dict[str, int]:
    """Places of items by what they are reached by: their name, or else their kind where no other one has it."""
    names = [getattr(item, "name", None) or getattr(item, "kind", None) for item in items]
    return {str(name): place for place, name in enumerate(names) if name is not None and names.count(name) == 1}


def _unknown(path: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return ConfigError("no such setting", where=path, hint=hint)


def nested(path: str, value: Any) -> dict[str, Any]:
    """``("a.b", 1)`` as ``{"a": {"b": 1}}``."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return dict(value)


def together(changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Changes to be made one after the other, in as few as say the same; later ones win.

    Fields that are right only together, such as a step and a horizon, are so changed and checked at once.
    """
    stages = list[dict[str, Any]]()
    for change in changes:
        merged = _merged(stages[-1], change) if stages else dict(change)
        if merged is None:
            stages.append(dict(change))
        else:
            stages[-1:] = [merged]
    return stages


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both as one; None where `then` goes into a value that `first` sets as a whole."""
    merged = dict(first)
    for name, change in second.items():
        before = first.get(name)
        if name not in first or not isinstance(change, Mapping):
            merged[name] = change
        elif isinstance(before, Mapping) and (inner := _merged(before, change)) is not None:
            merged[name] = inner
        else:
            return None
    return merged
