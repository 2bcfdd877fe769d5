"""Documents in Confluent's wire format: written by a schema that is registered, and read as the JSON that they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.errors import StreamError
from headrace.sources.messages.base import Headers, Unreadable
from headrace.sources.messages.fields import DocumentField, Format, avro_reader, avro_schema, avro_writer, json_schema
from headrace.sources.messages.registry import SchemaRegistry, schema_of

Text = Callable[[bytes], bytes]
_TYPES = {"avro": "AVRO", "json_schema": "JSON"}
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def schema_text(form: Format, name: str, fields: Sequence[DocumentField]) -> str:
    """The schema of documents as the registry takes it."""
    return json.dumps(avro_schema(name, fields) if form == "avro" else json_schema(name, fields))


def writer(
    registry: SchemaRegistry, form: Format, subject: str, name: str, fields: Sequence[DocumentField], *, may: bool
) -> Text:
    """What writes documents that are there as JSON.

    Args:
        registry: Has the schema, or gets it.
        form: What documents are written in.
        subject: That the schema is registered under.
        name: Of the document.
        fields: That it has.
        may: Whether the schema is registered where it is missing.

    Raises:
        StreamError: The registry refuses, or lacks the schema that is not to be registered.
        BrokerUnavailableError: It did not answer for as long as it is waited for.
    """
    from confluent_kafka.schema_registry import Schema

    text, client = schema_text(form, name, fields), registry.client
    schema = Schema(text, _TYPES[form])

    def ask() -> int:
        if may:
            return int(client.register_schema(subject, schema))
        return int(client.lookup_schema(subject, schema).schema_id)

    try:
        number = registry.ask(f"of subject {subject}", ask)
    except Unreadable as error:
        reason = "the schema registry refuses the schema" if may else "the schema registry lacks the schema"
        hint = "headrace stream schema SYSTEM prints it; register it, or let stream.predictions.register do it"
        raise StreamError(f"{reason} of subject {subject}", where=registry.url, hint=hint) from error
    head = b"\x00" + number.to_bytes(4, "big")
    if form == "json_schema":
        return lambda document: head + document
    write = avro_writer(name, fields)
    return lambda document: head + write(_decode(document))


class FramedReader:
    """Reads what `writer` wrote as the JSON that it was; JSON as it is.

    Args:
        registry: Has the schemas.
        optional: Names of fields that are left out where they are null.
    """

    def __init__(self, registry: SchemaRegistry, optional: Sequence[str]) -> None:
        self._registry, self._optional = registry, frozenset(optional)
        self._read: dict[str, Callable[[bytes], Any] | None] = {}

    def __call__(self, value: bytes, headers: Headers) -> bytes:
        """The JSON of a message's value; what is none of ours comes back as it is."""
        if value[:1] != b"\x00":
            return value
        try:
            number = schema_of(value, ())
            if number not in self._read:
                self._read[number] = self._registry.ask(number, lambda: self._reader(number))
        except Unreadable:
            return value
        read = self._read[number]
        if read is None:
            return value[5:]
        try:
            document = read(value[5:])
        except (ValueError, TypeError, LookupError, EOFError, StopIteration):
            return value
        if isinstance(document, dict):
            document = {name: item for name, item in document.items() if item is not None or name not in self._optional}
        return _encode(document)

    def _reader(self, number: str) -> Callable[[bytes], Any] | None:
        schema = self._registry.client.get_schema(int(number))
        return avro_reader(schema.schema_str) if schema.schema_type == "AVRO" else None
