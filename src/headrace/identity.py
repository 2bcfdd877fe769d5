"""What tells a row from others: its key, its inputs as they are logged, and their digest.

Apart from `lineage`, because every command imports that, and few need a JSON library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from headrace.lineage import FEATURES

_encode = msgspec.json.Encoder().encode


def key_text(keys: Sequence[str], row: Mapping[str, Any]) -> str:
    """The key of a row as a text: a JSON array of its key columns."""
    return _encode([row[name] for name in keys]).decode()


def inputs_of(row: Mapping[str, Any], target: str) -> bytes:
    """What a prediction is made from, as JSON: the row without its target, which may be known or not."""
    return _encode({name: value for name, value in row.items() if name != target and value is not None})


def digest_of_row(inputs: bytes) -> str:
    """Digest of a row's inputs: equal rows have equal ones, whatever door they came through."""
    return hashlib.sha256(inputs).hexdigest()[:24]


def decoded(inputs: str, types: Mapping[str, str]) -> dict[str, Any]:
    """The row that `inputs_of` wrote; missing columns are None."""
    data = msgspec.json.decode(inputs)
    times = {name for name, kind in types.items() if kind == "time"}
    return {
        name: datetime.fromisoformat(data[name]) if name in times and data.get(name) else data.get(name)
        for name in types
    }


def with_features(inputs: bytes, features: Mapping[str, Any]) -> bytes:
    """The inputs of a prediction, and the features that were computed from them."""
    suffix = b'"%b":%b}' % (FEATURES.encode(), _encode(features))
    return inputs[:-1] + (b"," if len(inputs) > 2 else b"") + suffix


def features_of(inputs: str) -> dict[str, Any] | None:
    """The features that `with_features` put to the inputs; None where it was not asked to."""
    features: dict[str, Any] | None = msgspec.json.decode(inputs).get(FEATURES)
    return features
