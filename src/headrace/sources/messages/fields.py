"""The fields of a document that is written as JSON, as schemas of other formats have them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from headrace.lineage import iso

Format = Literal["json", "json_schema", "avro"]
"""What documents are written in."""

Kind = Literal["text", "integer", "float", "boolean", "time", "numbers", "texts", "record", "records"]
_AVRO: Mapping[str, Any] = {
    "text": "string",
    "integer": "long",
    "float": "double",
    "boolean": "boolean",
    "time": {"type": "long", "logicalType": "timestamp-micros"},
    "numbers": {"type": "map", "values": "double"},
    "texts": {"type": "array", "items": "string"},
}
_JSON: Mapping[str, Any] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "numbers": {"type": "object", "additionalProperties": {"type": "number"}},
    "texts": {"type": "array", "items": {"type": "string"}},
}
_CALLED = "headrace.name"
"""Property of an Avro field: what JSON calls it, where that is no name in Avro."""


class DocumentField(NamedTuple):
    """A field of a document.

    Attributes:
        name: As JSON has it.
        kind: Of its value; a record, or a list of such, has `inner` fields; ``numbers`` have any names, and
            ``texts`` are a list.
        nullable: Whether the value may be null.
        optional: Whether it may be left out; where it is null or false, it is.
    """

    name: str
    kind: Kind
    nullable: bool = False
    optional: bool = False
    inner: tuple[DocumentField, ...] = ()


def avro_schema(name: str, fields: Sequence[DocumentField]) -> dict[str, Any]:
    """The Avro schema of documents.

    >>> avro_schema("Answer", [DocumentField("a b", "text")])["fields"]
    [{'name': 'a_b', 'type': 'string', 'headrace.name': 'a b'}]
    """
    return {"type": "record", "name": name, "fields": [_avro_field(name, field) for field in fields]}


def _avro_field(record: str, field: DocumentField) -> dict[str, Any]:
    kind = _AVRO.get(field.kind) or avro_schema(f"{record}_{_legal(field.name)}", field.inner)
    if field.kind == "records":
        kind = {"type": "array", "items": kind}
    definition = {"name": _legal(field.name), "type": ["null", kind] if field.nullable or field.optional else kind}
    if field.nullable or field.optional:
        definition["default"] = None
    return definition if definition["name"] == field.name else {**definition, _CALLED: field.name}


def _legal(name: str) -> str:
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    return text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"


def json_schema(name: str, fields: Sequence[DocumentField]) -> dict[str, Any]:
    """The JSON Schema of documents; more fields than these may come."""
    document = {"$schema": "http://json-schema.org/draft-07/schema#", "title": name, "type": "object"}
    return {**document, **_properties(fields)}


def _properties(fields: Sequence[DocumentField]) -> dict[str, Any]:
    properties = {}
    for field in fields:
        kind = _JSON.get(field.kind) or {"type": "object", **_properties(field.inner)}
        kind = {"type": "array", "items": kind} if field.kind == "records" else kind
        properties[field.name] = {"oneOf": [{"type": "null"}, kind]} if field.nullable else kind
    return {"properties": properties, "required": [field.name for field in fields if not field.optional]}


def avro_writer(name: str, fields: Sequence[DocumentField]) -> Callable[[Any], bytes]:
    """What writes documents by `avro_schema`.

    What is returned raises ValueError for a document that has more fields: nothing is left out silently.
    """
    import io

    from fastavro import parse_schema, schemaless_writer

    schema: Any = parse_schema(avro_schema(name, fields))

    def write(document: Any) -> bytes:
        out = io.BytesIO()
        schemaless_writer(out, schema, _typed(fields, document))
        return out.getvalue()

    return write


def _typed(fields: Sequence[DocumentField], document: Mapping[str, Any]) -> dict[str, Any]:
    strange = document.keys() - {field.name for field in fields}
    if strange:
        raise ValueError(f"{min(strange)!r} is not in the schema")
    return {_legal(field.name): _value(field, document.get(field.name)) for field in fields}


def _value(field: DocumentField, value: Any) -> Any:
    if value is None:
        return None
    if field.kind == "time":
        return datetime.fromisoformat(value)
    if field.kind == "float":
        return float(value)
    if field.kind == "record":
        return _typed(field.inner, value)
    return [_typed(field.inner, item) for item in value] if field.kind == "records" else value


def avro_reader(schema: str) -> Callable[[bytes], Any]:
    """What reads documents that were written by a schema, as JSON has them."""
    import io

    from fastavro import parse_schema, schemaless_reader

    document = json.loads(schema)
    parsed: Any = parse_schema(document)

    def read(data: bytes) -> Any:
        return _plain(document, schemaless_reader(io.BytesIO(data), parsed, None))

    return read


def _plain(schema: Any, value: Any) -> Any:
    if isinstance(schema, list):  # null, or what it is
        return None if value is None else _plain(next(branch for branch in schema if branch != "null"), value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, list):
        return [_plain(schema["items"], item) for item in value]
    if isinstance(value, dict) and schema["type"] == "map":
        return value
    if isinstance(value, dict):
        field = ((field, _plain(field["type"], value[field["name"]])) for field in schema["fields"])
        return {field.get(_CALLED, field["name"]): item for field, item in field}
    return value
