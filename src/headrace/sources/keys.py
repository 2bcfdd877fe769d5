"""What a message's key says of its series, in the forms that producers write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def text_of(keys: Sequence[Any]) -> str:
    """A series as JSON."""
    return json.dumps(list(keys))


def agrees(key: bytes | None, names: Sequence[str], keys: Sequence[Any]) -> bool:
    """Whether a message's key names this series.

    Understood are the plain text of one key column, JSON of it, an object or a list of all, and an object in the
    envelope of Kafka Connect (``schema`` and ``payload``).

    >>> agrees(b"orders", ["metric"], ["orders"]), agrees(b'{"metric": "orders"}', ["metric"], ["orders"])
    (True, True)
    >>> agrees(b'{"schema": {}, "payload": "orders"}', ["metric"], ["orders"]), agrees(b"sales", ["metric"], ["orders"])
    (True, False)
    """
    if key is None:
        return False
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return False
    if len(keys) == 1 and text.strip() == str(keys[0]):
        return True
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if isinstance(document, dict) and document.keys() == {"schema", "payload"}:
        document = document["payload"]
    if isinstance(document, dict):
        by_name = {name.casefold(): value for name, value in document.items()}  # ksqlDB writes them large
        document = [by_name.get(name.casefold()) for name in names]
    elif not isinstance(document, list):
        document = [document]
    return list(map(str, document)) == list(map(str, keys))


def note(homes: dict[str, int], message: Any) -> None:
    """Take a record of the topic: the first of a series counts."""
    try:
        homes.setdefault(json.dumps(json.loads(message.key())), int(message.value()))
    except (TypeError, ValueError):  # nobody's of ours: a worker writes nothing else
        return


def written_key(names: Sequence[str], keys: Sequence[Any]) -> str:
    """A series or row as producers write it in a message's key: one column's text, or a JSON object of several.

    >>> written_key(["metric"], ["orders"]), written_key(["a", "b"], [1, "x"]), written_key([], [])
    ('orders', '{"a": 1, "b": "x"}', '')
    """
    if len(keys) <= 1:
        return "".join(map(str, keys))
    return json.dumps(dict(zip(names, keys, strict=True)), ensure_ascii=False)
