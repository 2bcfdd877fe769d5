"""Types, defaults and bounds of fields in plain words."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from headrace.declaration import format_duration

SIMPLE = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    datetime: "time with a zone",
    timedelta: "duration",
    Path: "path",
    SecretStr: "text, kept secret",
    type(None): "none",
    object: "anything",
}
BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "{} or more",
    "max_length": "{} at most",
    "pattern": "matches `{}`",
}


def words(kind: Any, link: Callable[[type], str | None] = lambda _: None) -> str:
    """A type in plain words; `link` says where a declared class is described."""
    if hasattr(kind, "__value__"):  # a named alias
        return words(kind.__value__, link)
    if kind in SIMPLE:
        return SIMPLE[kind]
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return words(parts[0], link)
    if origin is Literal:
        return either([f"`{part!r}`" if isinstance(part, str) else f"`{part}`" for part in parts]).replace("'", '"')
    if origin in (Union, types.UnionType):
        return either([words(part, link) for part in parts if part is not type(None)], nothing=type(None) in parts)
    if origin in (tuple, list, frozenset, set, Sequence):
        if origin is tuple and parts and parts[-1] is not Ellipsis:
            return f"pair of {' and '.join(words(part, link) for part in parts)}"
        return f"list of {words(parts[0], link)}" if parts else "list"
    if origin in (dict, Mapping) and len(parts) == 2:
        return f"mapping of {words(parts[0], link)} to {words(parts[1], link)}"
    if origin is type:
        return f"class of {words(parts[0], link)}"
    if kind is Callable or origin is Callable or getattr(origin, "__name__", "") == "Callable":
        return "function"
    return named(kind, link)


def named(kind: Any, link: Callable[[type], str | None]) -> str:
    """The name of a class, with a link where it is described."""
    name = getattr(kind, "__name__", None) or str(kind)
    target = link(kind) if isinstance(kind, type) else None
    return f"[{name}]({target})" if target else "anything" if name == "Any" else name


def either(parts: Sequence[str], *, nothing: bool = False) -> str:
    """Parts as a list of choices: ``a, b or c``."""
    texts = list(dict.fromkeys(parts))
    text = " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
    return f"{text}, or none" if nothing else text


def field_words(field: FieldInfo, link: Callable[[type], str | None] = lambda _: None) -> str:
    """The type of a field in plain words, with its bounds."""
    text = words(field.annotation, link)
    never = any(isinstance(part, BeforeValidator) for part in field.metadata)
    if never and text == "duration, or none":
        text = 'duration or `"never"`'
    bounds = [
        BOUNDS[name].format(shown(bound))
        for part in field.metadata
        for name in BOUNDS
        if (bound := getattr(part, name, None)) is not None
    ]
    return f"{text}; {', '.join(bounds)}" if bounds else text


def shown(value: Any) -> str:
    """A value as one writes it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return str(value)


def default(field: FieldInfo) -> str:
    """The default of a field as Markdown."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return default_words(value, field)


def default_words(value: Any, field: FieldInfo | None = None) -> str:
    """A default as Markdown."""
    if value is None:
        never = field is not None and 'duration or `"never"`' in field_words(field)
        return '`"never"`' if never else "none"
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, timedelta):
        return f'`"{format_duration(value)}"`'
    if isinstance(value, tuple | list | frozenset | set):
        return ", ".join(default_words(part) for part in value) or "empty"
    if isinstance(value, Mapping):
        return f"`{dict(value)}`" if value else "empty"
    if isinstance(value, Enum):
        return f"`{value.value!r}`"
    if isinstance(value, str):
        return f'`"{value}"`' if value else "empty"
    if isinstance(value, Path):
        return f"`{value}`"
    return f"`{shown(value)}`" if not callable(value) else f"`{getattr(value, '__name__', value)}`"
