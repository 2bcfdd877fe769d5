"""Functions that a declaration calls: those of features."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from docs._generated.docstrings import cell, entries, sections, summary

import headrace.features
from headrace.features import Expression


def features() -> str:
    """A section for each function of features, then what every expression can do."""
    names = [name for name in headrace.features.__all__ if inspect.isfunction(getattr(headrace.features, name))]
    text = [_function(name, getattr(headrace.features, name)) for name in names]
    methods = [
        (name, value)
        for name, value in vars(Expression).items()
        if inspect.isfunction(value) and not name.startswith("_") and _returns_expression(value)
    ]
    text += ["## Methods of an expression", *(_function(f".{name}", value) for name, value in methods)]
    return "\n\n".join(text)


def _returns_expression(function: Callable[..., Any]) -> bool:
    return str(inspect.signature(function).return_annotation).strip("'\"") in ("Expression", "Self")


def _function(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    plain = signature.replace(
        parameters=[each.replace(annotation=inspect.Parameter.empty) for each in parameters],
        return_annotation=inspect.Signature.empty,
    )
    text = [f"{'###' if name.startswith('.') else '##'} {name.lstrip('.')}", f"`{name}{plain}`", summary(function)]
    arguments = entries(sections(function).get("Args", ""))
    text += ["\n".join(f"- `{key}`: {cell(value)}" for key, value in arguments.items())]
    if raises := sections(function).get("Raises", ""):
        text += ["\n".join(f"- raises `{key}`: {cell(value)}" for key, value in entries(raises).items())]
    return "\n\n".join(part for part in text if part)
