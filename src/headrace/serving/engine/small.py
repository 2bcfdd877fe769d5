"""The form of small records of the state: a JSON object of one name as key, a checksum before the value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

_FORMAT, _CHECK = b"\x01", 8
HEAD = len(_FORMAT) + _CHECK
"""Bytes before the value."""
_KINDS: dict[str, type] = {"id": str, "leap": list}


def key_of(kind: str, name: str | Sequence[Any]) -> bytes:
    """The key of a record."""
    return json.dumps({kind: name}).encode()


def check_of(key: bytes, value: bytes) -> int:
    """The checksum of a record."""
    return int.from_bytes(blake2b(b"%b\x00%b" % (key, value), digest_size=_CHECK).digest(), "little")


def sealed(check: int, value: bytes) -> bytes:
    """A value with its checksum."""
    return _FORMAT + check.to_bytes(_CHECK, "little") + value


def is_key(key: bytes) -> bool:
    """Whether a key is one of ours."""
    try:
        document = json.loads(key)
    except ValueError:
        return False
    if not isinstance(document, dict) or len(document) != 1:
        return False
    ((kind, name),) = document.items()
    return kind in _KINDS and isinstance(name, _KINDS[kind])


def checked(key: bytes, value: bytes) -> int | None:
    """The checksum of a record; None if it is not as it was written."""
    check = int.from_bytes(value[len(_FORMAT) : HEAD], "little")
    return check if value[: len(_FORMAT)] == _FORMAT and check == check_of(key, value[HEAD:]) else None
