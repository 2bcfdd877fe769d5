"""Requests and responses of the Open Inference Protocol, as its clients write and read them."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from tests.servers import Server

INFER = "/v2/models/titanic/infer"
LENGTH = "inference-header-content-length"
DATATYPES = {
    **dict.fromkeys(("PassengerId", "Pclass", "SibSp", "Parch"), "INT64"),
    **dict.fromkeys(("Age", "Fare"), "FP64"),
    **dict.fromkeys(("Name", "Sex", "Ticket", "Cabin", "Embarked"), "BYTES"),
}
NUMPY = {"INT64": "<i8", "FP64": "<f8", "BOOL": "|b1"}


def tensor(name: str, values: Sequence[Any], **changes: Any) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[name], "shape": [len(values)], "data": list(values)} | changes


def tensors(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as one tensor a column."""
    return [tensor(name, [row.get(name) for row in rows]) for name in DATATYPES]


def document(rows: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"inputs": tensors(rows)} | more


def packed(values: Sequence[Any], datatype: str) -> bytes:
    """Values as they stand behind a document."""
    if datatype == "BYTES":
        texts = [(value or "").encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    given = [np.nan if value is None else value for value in values]
    return np.array(given, dtype=NUMPY[datatype]).tobytes()


def binary(rows: Sequence[dict[str, Any]], **more: Any) -> tuple[bytes, int]:
    """The same with all tensors in bytes: the body, and the length of its document."""
    inputs, after = [], b""
    for each in tensors(rows):
        data = packed(each.pop("data"), each["datatype"])
        inputs.append(each | {"parameters": {"binary_data_size": len(data)}})
        after += data
    text = json.dumps({"inputs": inputs} | more).encode()
    return text + after, len(text)


def post_binary(server: Server, rows: Sequence[dict[str, Any]], **more: Any) -> httpx.Response:
    body, length = binary(rows, **more)
    return server.post(body, INFER, content_type="application/octet-stream", **{LENGTH: str(length)})


def outputs(answer: httpx.Response) -> dict[str, list[Any]]:
    """The values of a response by output, wherever they stand."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    said, after = json.loads(answer.content[:length]), answer.content[length:]
    found = {}
    for each in said["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[each["name"]] = each["data"]
            continue
        data, after = after[:size], after[size:]
        found[each["name"]] = texts(data) if each["datatype"] == "BYTES" else unpacked(data, each["datatype"])
    assert after == b""
    return found


def unpacked(data: bytes, datatype: str) -> list[Any]:
    return np.frombuffer(data, NUMPY[datatype]).tolist()


def texts(data: bytes) -> list[str]:
    found = []
    while data:
        (length,) = struct.unpack("<I", data[:4])
        found.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    return found


def columns(predictions: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The hot route's answers column by column."""
    return {name: [each[name] for each in predictions] for name in predictions[0]}
