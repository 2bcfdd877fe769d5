"""What Python code calls: a workspace, its systems, and what their methods answer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from docs._generated.docstrings import cell, entries, examples, sections, summary

import headrace
from headrace.api import results

FIRST = (headrace.open, headrace.Workspace, headrace.BoundSystem)


def python() -> str:
    """A section for `headrace.open`, and for each class with its methods."""
    answers = [
        cls
        for name, cls in vars(results).items()
        if inspect.isclass(cls) and cls.__module__ == results.__name__ and not name.startswith("_")
    ]
    text = [_function("## headrace.open", "headrace.open", headrace.open)]
    for cls in (*FIRST[1:], *answers):
        text += [f"## {cls.__name__}", summary(cls), _example(cls)]
        text += [member(cls, name, found) for name, found in members(cls)]
    return "\n\n".join(part for part in text if part)


def undocumented() -> list[str]:
    """Public functions and methods without a docstring: ``Class.method``."""
    return [
        f"{cls.__name__}.{name}"
        for cls in FIRST[1:]
        for name, member in members(cls)
        if not summary(member.fget if isinstance(member, property) else member)
    ]


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties, those of the bases last."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("headrace"):
            continue
        for name, member in vars(base).items():
            called = inspect.isfunction(member) or isinstance(member, property)
            if called and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, member


def member(cls: type, name: str, found: Any) -> str:
    """What is told of a method or property."""
    if isinstance(found, property):
        returned = inspect.signature(found.fget).return_annotation
        return f"### {cls.__name__}.{name}\n\n`{returned}`\n\n{summary(found.fget)}"
    return _function(f"### {cls.__name__}.{name}", name, found)


def _function(heading: str, name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    shown = str(signature.replace(parameters=parameters)).replace("'", "")
    text = [heading, f"`{name}{shown}`", summary(function)]
    parts = sections(function)
    text += ["\n".join(f"- `{key}`: {cell(value)}" for key, value in entries(parts.get("Args", "")).items())]
    if returned := parts.get("Returns", ""):
        text += [f"Returns {cell(returned)}"]
    if raised := parts.get("Raises", ""):
        text += ["\n".join(f"- raises `{key}`: {cell(value)}" for key, value in entries(raised).items())]
    text += [_example(function)]
    return "\n\n".join(part for part in text if part)


def _example(thing: Any) -> str:
    lines = [re.sub(r"\s*# doctest:.*$", "", line) for line in examples(thing)]
    return "\n".join(["```pycon", *lines, "```"]) if lines else ""
