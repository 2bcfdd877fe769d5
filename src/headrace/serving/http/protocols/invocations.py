"""MLflow's scoring format: ``POST /invocations``, as the clients of an MLflow model server post it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.serving.http.call import JSON
from headrace.serving.http.form import Form, Header
from headrace.serving.http.problem import MEDIA_TYPE, Problem
from headrace.serving.http.protocols import documents, tables
from headrace.serving.http.served import ServedSystem

PATH = "/invocations"
_PREFIX, _SUFFIX = "/v1/systems/", "/invocations"
_WAYS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST", 409: "RESOURCE_CONFLICT"}
_CODES |= {429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}

Json = Any


class Split(msgspec.Struct):
    """A frame as pandas writes it by ``orient="split"``; its index says nothing about a row."""

    columns: list[str]
    data: list[list[Json]]


class Document(msgspec.Struct):
    """What is posted: one of the four ways to write rows."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Json]] | None = None
    instances: list[dict[str, Json]] | None = None
    inputs: dict[str, list[Json]] | list[dict[str, Json]] | None = None
    params: dict[str, Json] | None = None


def asked(path: str) -> str | None:
    """The system that a path posts invocations to, ``""`` for the only one; None where it is another path."""
    if path == PATH:
        return ""
    name = path.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return name if path == f"{_PREFIX}{name}{_SUFFIX}" and name and "/" not in name else None


class Invocation(Form):
    """``POST /invocations`` where one system is served, ``POST /v1/systems/{s}/invocations`` where several are."""

    route = PATH

    def __init__(self) -> None:
        self._table: tables.Kind | None = None

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """JSON or CSV."""
        kind = headers.get(b"content-type", b"")
        plain = kind.partition(b";")[0].strip().lower()
        if plain == JSON:
            return
        self._table = tables.of_content(kind)
        self.threaded = True  # polars is imported by the first
        if self._table is not tables.CSV:
            errors = [{"loc": ["header", "content-type"], "msg": "is neither application/json nor text/csv"}]
            raise Problem(415, "the body must be JSON or CSV", errors=errors)

    def rows(self, served: ServedSystem, version: int, body: bytes) -> bytes:
        """The rows, whichever way they are written."""
        if self._table is not None:
            return tables.rows(self._table, served, body, self.most)
        document = documents.read(body, Document)
        ways = [way for way in _WAYS if getattr(document, way) is not None]
        if len(ways) != 1:
            message = f"write the rows by one of {', '.join(_WAYS)}; there are {', '.join(ways) or 'none'}"
            raise Problem(400, message, reason="not_protocol")
        if document.params:
            errors = [{"loc": ["body", "params"], "msg": "is not supported: a prediction has no parameters"}]
            raise Problem(400, "params are not supported: a prediction has no parameters", errors=errors)
        return documents.written(_records(getattr(document, ways[0]), ways[0]))

    def answer(self, served: ServedSystem, body: bytes) -> tuple[bytes, bytes, tuple[Header, ...]]:
        """The hot route's own answer to an array, which is what MLflow's clients read."""
        return body, JSON, ()

    def refusal(self, problem: Problem) -> tuple[bytes, bytes]:
        """The problem, with MLflow's ``error_code`` and ``message`` too."""
        return refused(problem)


def refused(problem: Problem) -> tuple[bytes, bytes]:
    """A problem as MLflow's clients read it."""
    code = _CODES.get(problem.status, "BAD_REQUEST")
    return problem.body(error_code=code, message=f"{problem.detail}"), MEDIA_TYPE


def _records(document: Any, way: str) -> list[dict[str, Json]]:
    if isinstance(document, list):
        return document
    if isinstance(document, Split):
        names = document.columns
        _refuse_twice(names)
        for place, row in enumerate(document.data):
            if len(row) != len(names):
                message = f"has {len(row):,} values for {len(names):,} columns"
                errors = [{"loc": ["body", way, "data", place], "msg": message}]
                raise Problem(400, f"row {place} {message}", errors=errors, reason="not_protocol")
        return [dict(zip(names, row, strict=True)) for row in document.data]
    heights = set(map(len, document.values()))
    if len(heights) > 1:
        raise Problem(400, "the columns of inputs have different lengths", reason="not_protocol")
    names = list(document)
    return [dict(zip(names, values, strict=True)) for values in zip(*document.values(), strict=True)]


def _refuse_twice(names: list[str]) -> None:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise Problem(400, f"the column {twice[0][:40]!r} is there twice", reason="twice")
