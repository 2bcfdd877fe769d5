"""Messages of the gRPC service as requests of the REST form, and its answers as messages."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from headrace.serving.http.grpc.messages import CHOICE
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols.tensors import of_numbers

_LENGTH = struct.Struct("<I")
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def posted(request: Any) -> tuple[bytes, int]:
    """A request as the body of the REST form, tensors in bytes; and the length of its document.

    Raises:
        Problem: 400: its tensors and their contents do not belong together.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Problem(400, f"{len(raw):,} raw contents are not those of {len(request.inputs):,} tensors")
    parts = [raw[place] if raw else _contents(tensor) for place, tensor in enumerate(request.inputs)]
    inputs = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": _parameters(tensor.parameters) | {"binary_data_size": len(part)},
        }
        for tensor, part in zip(request.inputs, parts, strict=True)
    ]
    data: dict[str, Any] = {
        "inputs": inputs,
        "parameters": _parameters(request.parameters) | {"binary_data_output": True},
    }
    if request.id:
        data["id"] = request.id
    if request.outputs:
        data["outputs"] = [
            {"name": output.name, "parameters": _parameters(output.parameters) | {"binary_data": True}}
            for output in request.outputs
        ]
    document = msgspec.json.encode(data)
    return b"".join((document, *parts)), len(document)


def _parameters(entries: Iterable[Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for entry in entries:
        choice = entry.value.WhichOneof(CHOICE)
        parameters[entry.key] = None if choice is None else getattr(entry.value, choice)
    return parameters


def _contents(tensor: Any) -> bytes:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise Problem(400, f"the datatype {tensor.datatype[:40]!r} has no contents here; send it raw")
    values = getattr(tensor.contents, field)
    if tensor.datatype == "BYTES":
        return b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))
    try:
        return of_numbers(values, tensor.datatype)
    except (OverflowError, ValueError) as error:
        raise Problem(400, f"the tensor {tensor.name[:80]!r} has a number that its datatype cannot hold") from error


def answered(response: Any, body: bytes, length: int) -> Any:
    """A response filled from an answer of the REST form, whose tensors are in bytes.

    Args:
        response: An empty message.
        body: The answer.
        length: Of its document.
    """
    data, position = msgspec.json.decode(body[:length]), length
    response.model_name, response.model_version, response.id = (
        data["model_name"],
        data["model_version"],
        data.get("id", ""),
    )
    for tensor in data["outputs"]:
        response.outputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        size = tensor["parameters"]["binary_data_size"]
        response.raw_output_contents.append(body[position : position + size])
        position += size
    return response
