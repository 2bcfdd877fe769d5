"""What the hot route answers, column by column: for protocols and media types that have columns, not objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def predictions(body: bytes) -> list[dict[str, Any]]:
    """The predictions that the hot route answers with, for one object or an array."""
    data = _decode(body)
    items: list[dict[str, Any]] = [data] if "id" in data else data["predictions"]
    return items


def version(body: bytes) -> int:
    """The version of the model that answers."""
    found: int = _decode(body)["model_version"]
    return found


def column(answers: list[dict[str, Any]], name: str) -> list[Any]:
    """A column of the answers, but for those of steps ahead."""
    values = [item.get(name) for item in answers]
    return [_encode(value).decode() if isinstance(value, list | dict) else value for value in values]


def steps(answers: list[dict[str, Any]], name: str) -> Iterator[list[Any]]:
    """A column of steps ahead, a list an event: empty where nothing could be predicted."""
    for item in answers:
        yield [step[name] for step in item["predictions"]]
