"""Small files that tell by themselves whether they are what was written."""

from __future__ import annotations

import hashlib
import json

_HEAD, _MIDDLE, _TAIL = b'{"sha256": "', b'", "holds": ', b"}"
_DIGITS = 64


def sealed(data: bytes) -> bytes:
    """A JSON text with its digest beside it, which is JSON again."""
    return _HEAD + hashlib.sha256(data).hexdigest().encode() + _MIDDLE + data + _TAIL


def opened(text: bytes) -> bytes:
    """What `sealed` was given.

    Raises:
        ValueError: It is another text.
    """
    start = len(_HEAD) + _DIGITS + len(_MIDDLE)
    data = text[start : -len(_TAIL)]
    if text != sealed(data):
        raise ValueError("it does not hold what was written to it")
    return data


def is_bare(text: bytes) -> bool:
    """Whether a text may be what an earlier headrace wrote, which sealed nothing: a JSON object without a seal."""
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return (
        isinstance(document, dict)
        and bool(document)
        and not {"sha256", "holds"} & document.keys()
        and _MIDDLE not in text
    )
