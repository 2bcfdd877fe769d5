"""Turns pydantic's complaints into `DeclarationError`, with the path of the field that is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from headrace.errors import DeclarationError


def field_path(root: str, parts: Iterable[int | str]) -> str:
    """The path of a field as a person writes it: ``contract.columns[2].minimum``."""
    path = root
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            path = f"{path}.{part}" if path else part
    return path


def declaration_error(error: ValidationError, root: str = "") -> DeclarationError:
    """The first complaint of ``error`` as a `DeclarationError`; the others are listed in its hint.

    Args:
        error: What pydantic raised while an object was declared.
        root: The path of that object, such as ``contract``; empty for the system itself.
    """
    complaints = error.errors(include_url=False, include_context=False, include_input=True)
    first, others = complaints[0], complaints[1:]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field"
    elif first["type"] != "missing":
        message = f"{message} (got {str(first['input'])[:80]!r})"
    also = "; ".join(f"{field_path(root, each['loc'])}: {each['msg']}" for each in others[:3])
    hint = f"also {also}" if also else None
    return DeclarationError(message, where=field_path(root, first["loc"]) or None, hint=hint)
