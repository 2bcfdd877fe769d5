"""The client of the HTTP API: its methods, and what they answer."""

from __future__ import annotations

import inspect

from docs._generated.docstrings import cell, summary
from docs._generated.python import member, members

from headrace.client import Client, ClientOptions, Retry, answers


def client() -> str:
    """`Client` with its methods, its options, and a table for each type of answer."""
    text = ["## Client", f"`Client{_signature(Client)}`", summary(Client)]
    text += [member(Client, name, found) for name, found in members(Client) if name != "close"]
    text += ["## Options", "`ClientOptions` says how a client behaves, `Retry` how often it tries."]
    text += [_fields(ClientOptions), _fields(Retry), "## Answers"]
    for name, cls in inspect.getmembers(answers, inspect.isclass):
        if cls.__module__ == answers.__name__ and name != "ApiAnswer":
            text += [f"### {name}", summary(cls), _fields(cls)]
    return "\n\n".join(part for part in text if part)


def _fields(cls: type) -> str:
    """The fields of a class with their types."""
    rows = ["| field | type |", "|---|---|"]
    parts = [vars(base).get("__annotations__", {}) for base in reversed(cls.__mro__)]
    hints = {name: hint for part in parts for name, hint in part.items()}
    return "\n".join([*rows, *(f"| `{name}` | {cell(f'`{hint}`')} |" for name, hint in hints.items())])


def _signature(cls: type) -> str:
    return str(inspect.signature(cls)).replace("'", "").partition(" ->")[0]
