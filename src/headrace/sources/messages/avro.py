"""Avro in Confluent's wire format: each message by the schema that it was written with, read as the declared one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from headrace.errors import DeclarationError
from headrace.sources.messages.base import Decode, Headers, Unreadable
from headrace.sources.messages.connect import typed
from headrace.sources.messages.registry import SchemaRegistry, schema_of, within

_NAME = "connect.name"
"""What Kafka Connect's Avro converter calls a type of its own by."""
_DEPTH = 50
_INNER = {"array": "items", "map": "values"}


def decoder(registry: SchemaRegistry | None, schema: bytes | None) -> Decode:
    """Decodes Avro.

    Args:
        registry: Has the schemas that messages were written with.
        schema: The reader's, as JSON; None: each message is read by its own.

    Raises:
        DeclarationError: The reader's schema is none.
    """
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import SerializationError
    from fastavro.read import SchemaResolutionError

    assert registry is not None, "of Avro every message needs one"
    reader = None if schema is None else _checked(schema)
    deserialize: Any = AvroDeserializer(registry.client, reader, conf={"subject.name.strategy": lambda *_: None})
    named = _ConnectTypes(registry, reader)
    broken = (
        *(SerializationError, SchemaResolutionError, ValueError, TypeError, LookupError, EOFError),
        *(ArithmeticError, struct.error, MemoryError, RecursionError),
    )

    def decode(value: bytes, headers: Headers) -> Any:
        schema = schema_of(value, headers)

        def read() -> Any:
            return deserialize(value, within(headers))

        try:
            record = registry.ask(schema, read)
            convert = named.of(schema)
            return record if convert is None else typed(convert, record)
        except broken as error:
            raise Unreadable(f"is not Avro of schema {schema}: {str(error)[:200]}") from error

    return decode


class _ConnectTypes:
    """Types of Kafka Connect's own that schemas name, as its JSON converter tells them."""

    def __init__(self, registry: SchemaRegistry, reader: str | None) -> None:
        self._registry = registry
        self._reader = None if reader is None else _of(reader)
        self._fixed, self._found = reader is not None, dict[str, Any]()

    def of(self, schema: str) -> Any:
        """The schema as Kafka Connect's, or None where it names no such types."""
        if self._fixed:
            return self._reader
        if schema not in self._found:
            self._found[schema] = _of(self._registry.ask(schema, self._asks(schema)) or "")
        return self._found[schema]

    def _asks(self, schema: str) -> Callable[[], str | None]:
        client = self._registry.client

        def ask() -> str | None:
            registered = client.get_schema(int(schema)) if schema.isdecimal() else client.get_schema_by_guid(schema)
            text: str | None = registered.schema_str
            return text

        return ask


def _of(text: str) -> Any:
    return _connect(json.loads(text), {}) if f'"{_NAME}"' in text else None


def _connect(schema: Any, names: dict[str, Any], depth: int = 0) -> Any:
    """An Avro schema as Kafka Connect's, in what `connect.typed` looks at; None where that is nothing."""
    if depth > _DEPTH:
        return None
    if isinstance(schema, str):
        return names.get(schema)
    if isinstance(schema, list):  # a type or null, otherwise whatever it is stays as it is
        branches = [branch for branch in schema if branch != "null"]
        return _connect(branches[0], names, depth + 1) if len(branches) == 1 else None
    kind, name = schema.get("type"), schema.get(_NAME)
    parsed = {"type": kind, "name": name} if name and "logicalType" not in schema else None  # those are read by now
    if kind == "record":
        parsed = _struct(schema, names, depth)
    elif isinstance(kind, (dict, list)):
        parsed = _connect(kind, names, depth + 1)
    elif kind in _INNER:
        parsed = {"type": kind, _INNER[kind]: _connect(schema[_INNER[kind]], names, depth + 1)}
    return parsed


def _struct(schema: Any, names: dict[str, Any], depth: int) -> Any:
    fields: list[dict[str, Any]] = []
    parsed = {"type": "struct", "name": schema.get(_NAME), "fields": fields}
    names |= {schema["name"]: parsed, f"{schema.get('namespace')}.{schema['name']}": parsed}
    for field in schema["fields"]:
        inner = _connect(field["type"], names, depth + 1)
        if inner is not None:  # the list of its own fields stays the same one: a record may hold itself
            fields.append({**inner, "field": field["name"]})
    return parsed


def _checked(schema: bytes) -> str:
    import fastavro

    try:
        text = schema.decode()
        fastavro.parse_schema(json.loads(text))
    except (ValueError, LookupError, TypeError, fastavro.schema.SchemaParseException) as error:
        raise DeclarationError(f"is no Avro schema: {error}", where="stream.schema_file") from error
    return text
