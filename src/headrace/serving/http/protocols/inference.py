"""The Open Inference Protocol, version 2, over REST: one tensor a column, as KServe, Triton and MLServer speak it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headrace._version import __version__
from headrace.serving.http.call import JSON
from headrace.serving.http.form import Form, Header
from headrace.serving.http.problem import MEDIA_TYPE, Problem
from headrace.serving.http.protocols import answers, documents
from headrace.serving.http.protocols.tensors import OF_KIND, Parameters, Tensor, of_bytes
from headrace.serving.http.served import ServedSystem
from headrace.tasks.form import json_kind

PREFIX = "/v2"
EXTENSIONS = ("binary_tensor_data", "model_repository")
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer").fullmatch
_HEADER = b"inference-header-content-length"
_BINARY_KIND = b"application/octet-stream"
_KINDS = frozenset((b"", JSON, _BINARY_KIND))
_STATEFUL = ("sequence_id", "sequence_start", "sequence_end")
_LISTED = 20
_encode = msgspec.json.Encoder().encode


class Wanted(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: Parameters | None = None


class InferenceRequest(msgspec.Struct):
    """The document of a request."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[Wanted] | None = None


def asked(path: str) -> tuple[str, Inference] | None:
    """The system that a path asks for inference, and the form for it; None where it is another path."""
    match = _PATH(path)
    return None if match is None else (match[1], Inference(match[2]))


class Inference(Form):
    """``POST /v2/models/{name}[/versions/{v}]/infer``.

    Args:
        version: Of the model, where one is asked for.
    """

    route = "/v2/models/{system}/infer"
    parameters = ()

    def __init__(self, version: str | None = None) -> None:
        self.version = version
        self._length: int | None = None
        self._request = InferenceRequest([])

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Clients say that it is JSON, bytes, or nothing."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in _KINDS and not kind.endswith(b"+json"):
            errors = [{"loc": ["header", "content-type"], "msg": "is neither application/json nor octet-stream"}]
            raise Problem(415, "the body must be JSON, or JSON and tensors in bytes", errors=errors)
        length = headers.get(_HEADER)
        if length is not None and not (length.isdigit() and len(length) < 10):
            errors = [{"loc": ["header", _HEADER.decode()], "msg": "is not a number of bytes"}]
            raise Problem(400, f"{_HEADER.decode()} is not a number of bytes", errors=errors)
        self._length = None if length is None else int(length)

    def rows(self, served: ServedSystem, version: int, body: bytes) -> bytes:
        """The rows or events that the tensors are columns of."""
        document, after = self._parts(body)
        self._request = documents.read(document, InferenceRequest)
        self._refuse_asked(served)
        heights = {tensor.height for tensor in self._request.inputs}
        if len(heights) != 1:
            message = "the tensors have different numbers of rows" if heights else "there are no tensors"
            raise Problem(400, message, errors=[{"loc": ["body", "inputs"], "msg": message}], reason="bad_tensor")
        if max(heights) > self.most:
            raise Problem(413, f"{max(heights):,} rows are more than {self.most:,}")
        return documents.of_columns(self._columns(after))

    def _parts(self, body: bytes) -> tuple[bytes, memoryview]:
        length = len(body) if self._length is None else self._length
        if length > len(body):
            raise Problem(400, f"the body has {len(body):,} bytes, and a document of {length:,}", reason="bad_tensor")
        return body[:length], memoryview(body)[length:]

    def _columns(self, after: memoryview) -> dict[str, list[Any]]:
        columns, position = {}, 0
        for tensor in self._request.inputs:
            size = tensor.size
            if size is not None and position + size > len(after):
                raise tensor.wrong("has more bytes than there are behind the document")
            columns[tensor.name] = tensor.values(None if size is None else after[position : position + size])
            position += size or 0
        if position != len(after):
            raise Problem(
                400, f"{len(after) - position:,} bytes behind the document are no tensor's", reason="bad_tensor"
            )
        return columns

    def _refuse_asked(self, served: ServedSystem) -> None:
        """Refuse what there is not: to leave it out without a word would be another answer than was asked for."""
        request, system = self._request, served.system
        names = [tensor.name for tensor in request.inputs]
        known = [column.called for column in system.contract.columns]
        optional = served.task.optional
        needed = [c.called for c in system.contract.columns if not c.nullable and c.name not in optional]
        errors: list[dict[str, Any]] = [
            {"loc": ["body", "inputs", name[:80]], "msg": f"is not a column; there are {', '.join(known[:_LISTED])}"}
            for name in names
            if name not in known
        ]
        errors += [
            {"loc": ["body", "inputs", name[:80]], "msg": "is there twice"}
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        errors += [{"loc": ["body", "inputs", name], "msg": "is missing"} for name in needed if name not in names]
        if errors:
            place = errors[0]["loc"][-1]
            raise Problem(422, f"the tensor {place!r} {errors[0]['msg']}", errors=errors, reason="bad_row")
        self._refuse_outputs(served)
        for name in _STATEFUL:
            if (request.parameters or {}).get(name):
                errors = [{"loc": ["body", "parameters", name], "msg": "is not supported: there are no sequences"}]
                raise Problem(400, f"{name} is not supported: there are no sequences", errors=errors)

    def _refuse_outputs(self, served: ServedSystem) -> None:
        outputs = outputs_of(served)
        for output in self._request.outputs or ():
            if output.name not in outputs:
                message = f"is not an output; there are {', '.join(outputs)}"
            elif "classification" in (output.parameters or {}):
                message = "cannot be had as a classification"
            elif "shared_memory_region" in (output.parameters or {}):
                message = "cannot be written to shared memory"
            else:
                continue
            errors = [{"loc": ["body", "outputs", output.name[:80]], "msg": message}]
            raise Problem(400, f"the output {output.name[:80]!r} {message}", errors=errors)

    def answer(self, served: ServedSystem, body: bytes) -> tuple[bytes, bytes, tuple[Header, ...]]:
        """The outputs, those in bytes that are wanted so."""
        predictions, request = answers.predictions(body), self._request
        binary = bool((request.parameters or {}).get("binary_data_output"))
        there = outputs_of(served)
        wanted_outputs = request.outputs or [Wanted(name) for name in there]
        outputs: list[dict[str, Any]] = []
        after: list[bytes] = []
        for each in wanted_outputs:
            output, values = _output(predictions, each.name, there[each.name], served.task.form.steps)
            if (each.parameters or {}).get("binary_data", binary):
                after.append(of_bytes(values, there[each.name]))
                outputs.append(output | {"parameters": {"binary_data_size": len(after[-1])}})
            else:
                outputs.append(output | {"data": values})
        data: dict[str, Any] = {"model_name": served.system.name, "model_version": str(answers.version(body))}
        if request.id:
            data["id"] = request.id
        document = _encode(data | {"outputs": outputs})
        if not after:
            return document, JSON, ()
        return b"".join((document, *after)), _BINARY_KIND, ((_HEADER, str(len(document)).encode()),)

    def refusal(self, problem: Problem) -> tuple[bytes, bytes]:
        """The problem, which has the protocol's ``error`` too."""
        return refused(problem)


def _output(
    predictions: list[dict[str, Any]], name: str, datatype: str, steps: Sequence[str]
) -> tuple[dict[str, Any], list[Any]]:
    """An output without its values, and these."""
    if name not in steps:
        values = answers.column(predictions, name)
        shape = [len(values)]
        if datatype == "BYTES":
            values = ["" if value is None else value for value in values]
        return {"name": name, "datatype": datatype, "shape": shape}, values
    rows = list(answers.steps(predictions, name))
    width = max(map(len, rows), default=0)
    empty = "" if datatype == "BYTES" else None
    flat = [value for row in rows for value in [*row, *[empty] * (width - len(row))]]
    return {"name": name, "datatype": datatype, "shape": [len(rows), width]}, flat


def refused(problem: Problem) -> tuple[bytes, bytes]:
    """A problem as clients of this protocol read it."""
    return problem.body(error=f"{problem.detail}"), MEDIA_TYPE


def refuse_version(served: ServedSystem, wanted: str | None) -> None:
    """Refuse a version that there is not.

    Raises:
        Problem: 404.
    """
    columns = _answering(served)
    if wanted is not None and wanted not in map(str, columns):
        raise Problem(404, f"{served.system.name} has no version {wanted[:40]!r} that answers; {listed(columns)}")


def _answering(served: ServedSystem) -> Sequence[int]:
    """The versions that can be asked for."""
    if served.champion is None:
        return ()
    return served.numbers


def listed(numbers: Sequence[int]) -> str:
    """Which versions there are."""
    return f"there are: {', '.join(map(str, numbers))}" if numbers else "there is none yet"


def outputs_of(served: ServedSystem) -> dict[str, str]:
    """The outputs of a system and their datatypes."""
    return {name: OF_KIND[kind] for name, kind in served.task.form.columns.items()}


def _inputs(served: ServedSystem) -> Iterator[dict[str, Any]]:
    for column in served.system.contract.columns:
        if column.name not in served.task.optional:
            datatype = OF_KIND[json_kind(served.system, column.name)]
            optional = {"parameters": {"optional": True}} if column.nullable else {}
            yield {"name": column.called, "datatype": datatype, "shape": [-1], **optional}


def metadata(served: ServedSystem) -> dict[str, Any]:
    """The model as ``GET /v2/models/{name}`` tells it."""
    steps = served.task.form.steps
    outputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": [-1, -1] if name in steps else [-1],
        }
        for name, datatype in outputs_of(served).items()
    ]
    return {
        "name": served.system.name,
        "versions": list(map(str, _answering(served))),
        "platform": "headrace",
        "inputs": list(_inputs(served)),
        "outputs": outputs,
    }


def about_server() -> dict[str, Any]:
    """The server as ``GET /v2`` tells it."""
    return {"name": "headrace", "version": __version__, "extensions": list(EXTENSIONS)}
