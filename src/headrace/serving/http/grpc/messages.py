"""The messages of the Open Inference Protocol's gRPC service, described field by field as the protocol documents them.

Only numbers and types of fields travel: nested messages have names of their own here, and maps are lists of entries,
which is how they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"

_NAMED = {"name": (1, "string"), "version": (2, "string")}
_PARAMETERS = "Parameter*"
_TENSOR = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "int64*")}
_WHOLE_TENSOR = {**_TENSOR, "parameters": (4, _PARAMETERS), "contents": (5, "Contents")}
MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAMED, "extensions": (3, "string*")},
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "string*"),
        "platform": (3, "string"),
        "inputs": (4, "Described*"),
        "outputs": (5, "Described*"),
    },
    "Described": _TENSOR,
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "inputs": (5, "Tensor*"),
        "outputs": (6, "Wanted*"),
        "raw_input_contents": (7, "bytes*"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, _PARAMETERS),
        "outputs": (5, "Tensor*"),
        "raw_output_contents": (6, "bytes*"),
    },
    "Tensor": _WHOLE_TENSOR,
    "Wanted": {"name": (1, "string"), "parameters": (2, _PARAMETERS)},
    "Parameter": {"key": (1, "string"), "value": (2, "Value")},
    "Value": {
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "Contents": {
        "bool_contents": (1, "bool*"),
        "int_contents": (2, "int32*"),
        "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"),
        "uint64_contents": (5, "uint64*"),
        "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"),
        "bytes_contents": (8, "bytes*"),
    },
}
CHOICE = "parameter_choice"
"""Of a value one field is there."""


def classes() -> dict[str, Any]:
    """The message classes by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="headrace/inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "Value":
            message.oneof_decl.add(name=CHOICE)
        for field, (number, told) in fields.items():
            kind = told.removesuffix("*")
            label = kinds.LABEL_REPEATED if told != kind else kinds.LABEL_OPTIONAL
            field_made = message.field.add(name=field, number=number, label=label)
            if kind in MESSAGES:
                field_made.type, field_made.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field_made.type = getattr(kinds, f"TYPE_{kind.upper()}")
            if name == "Value":
                field_made.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}
