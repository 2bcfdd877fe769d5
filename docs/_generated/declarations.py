"""Every field of every class that a user declares."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from docs._generated.docstrings import cell, described, summary
from docs._generated.types import default, field_words

from headrace.declaration import Declared

ROOMS = {
    "System": (
        "headrace.system",
        "headrace.schedule",
        "headrace.monitoring",
        "headrace.feature_system",
        "headrace.policy",
    ),
    "Contract": ("headrace.contract",),
    "Models and outputs": ("headrace.models", "headrace.tasks"),
    "Tuning": ("headrace.tuning.declared",),
    "Sources and streams": ("headrace.sources",),
}
"""Headings to the packages whose classes stand below them; the doors have options of their own."""
FIRST = ("System", "FeatureSystem", "Contract", "Column", "Source", "Forecaster", "Classifier", "Stream")


def classes() -> list[type[Declared]]:
    """Every public class that is declared, in the order of the page."""
    for modules in ROOMS.values():
        for name in modules:
            module = importlib.import_module(name)
            for each in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
                importlib.import_module(each.name)
    concrete = [cls for cls in _below(Declared) if not inspect.isabstract(cls)]  # fields of bases stand with each
    found = [cls for cls in concrete if cls.model_fields and not cls.__name__.startswith("_")]
    rooms = [module for modules in ROOMS.values() for module in modules]
    mine = {cls for cls in found if any(_within(cls, room) for room in rooms)}
    return sorted(mine, key=_place)


def declarations() -> str:
    """The page: a heading for each room, a table for each class."""
    known = {cls: f"#{cls.__name__.lower()}" for cls in classes()}
    text = []
    for heading, modules in ROOMS.items():
        text += [f"## {heading}"]
        for cls in known:
            if any(_within(cls, module) for module in modules):
                text += [f"### {cls.__name__}", f"`{_home(cls)}`", summary(cls), _table(cls, known)]
    return "\n\n".join(text)


def undocumented() -> list[str]:
    """Fields of declared classes that no docstring explains: ``Class.field``."""
    return [
        f"{cls.__name__}.{name}"
        for cls in classes()
        for name in cls.model_fields
        if not _explained(cls, name, described(cls))
    ]


def _table(cls: type[Declared], known: dict[type[Declared], str]) -> str:
    texts = described(cls)
    rows = ["| field | type | default | what it does |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        kind = field_words(field, known.get)  # type: ignore[arg-type]
        rows.append(f"| `{name}` | {cell(kind)} | {cell(default(field))} | {cell(_explained(cls, name, texts))} |")
    return "\n".join(rows)


def _explained(cls: type[Declared], name: str, texts: dict[str, str]) -> str:
    kind = cls.model_fields[name].annotation
    if name not in texts and get_origin(kind) is Literal and len(get_args(kind)) == 1:
        return "Says in configuration which kind this is."
    return texts.get(name, "")


def _home(cls: type) -> str:
    import headrace

    if getattr(headrace, "_HOMES", {}).get(cls.__name__):
        return f"from headrace import {cls.__name__}"
    return f"from {cls.__module__} import {cls.__name__}"


def _below(cls: type[Declared]) -> Iterator[type[Declared]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


def _within(cls: type, module: str) -> bool:
    return cls.__module__ == module or cls.__module__.startswith(f"{module}.")


def _place(cls: type) -> tuple[int, str, str]:
    first = FIRST.index(cls.__name__) if cls.__name__ in FIRST else len(FIRST)
    return first, cls.__module__, cls.__name__
