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

D = TypeVar("D", bound=Declared)


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
    except ValidationError as error:
        mistake = declaration_error(error, where)
        raise ConfigError(mistake.message, where=mistake.where, hint=mistake.hint) from error
    except DeclarationError as error:
        raise ConfigError(error.message, where=error.where, hint=error.hint) from error


def _changed(value: Any, change: Any, path: str) -> Any:
    if isinstance(value, Declared) and isinstance(change, Mapping):
        return override(value, change, path)
    if isinstance(change, Mapping) and isinstance(value, tuple):
        named = {getattr(item, "name", None): i for i, item in enumerate(value)}
        items = list(value)
        for name, inner in change.items():
            if name not in named:
                raise _unknown(f"{path}.{name}", str(name), [str(n) for n in named])
            items[named[name]] = _changed(items[named[name]], inner, f"{path}.{name}")
        return tuple(items)
    if isinstance(change, Mapping) and isinstance(value, Mapping):
        return {**value, **change}
    if isinstance(change, Mapping) and value is not None and not isinstance(value, Declared):
        raise ConfigError("is one value and has no fields below it", where=path)
    return change


def _unknown(path: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
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


def _merged(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both as one; None where `then` goes into a value that `first` sets as a whole."""
    found = dict(first)
    for name, change in then.items():
        before = first.get(name)
        if name not in first or not isinstance(change, Mapping):
            found[name] = change
        elif isinstance(before, Mapping) and (inner := _merged(before, change)) is not None:
            found[name] = inner
        else:
            return None
    return found
