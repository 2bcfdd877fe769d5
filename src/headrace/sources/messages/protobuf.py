"""Protobuf in Confluent's wire format, without generated classes: by descriptors of the registry, or of a file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.errors import ConfigError, DeclarationError, StreamError
from headrace.sources.messages.base import Decode, Headers, Unreadable
from headrace.sources.messages.registry import SchemaRegistry, schema_of, within

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUILTIN = "google/protobuf/"
_DEPTH = 50


def decoder(registry: SchemaRegistry | None, schema: bytes | None) -> Decode:
    """Decodes Protobuf.

    Args:
        registry: Has the schemas that messages were written with; not needed where there is a file.
        schema: A compiled set of descriptors (``protoc --include_imports --descriptor_set_out``), the messages' file
            as the last; None: the registry gives them.

    Raises:
        ConfigError: There is neither a registry nor a file.
        DeclarationError: The file holds no descriptors.
    """
    from confluent_kafka.schema_registry import dual_schema_id_deserializer
    from confluent_kafka.schema_registry.serde import SchemaId
    from confluent_kafka.serialization import SerializationError
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass

    files = _Registered(registry) if schema is None else _Fixed(schema)
    classes: dict[tuple[str, tuple[int, ...]], Any] = {}
    broken = (SerializationError, DecodeError, LookupError, ValueError, TypeError, EOFError)

    def decode(value: bytes, headers: Headers) -> Any:
        schema = schema_of(value, headers)
        frame = SchemaId("PROTOBUF")
        try:
            payload = dual_schema_id_deserializer(value, within(headers), frame)
            index = tuple(frame.message_indexes or (0,))
            message_class = classes.get((schema, index))
            if message_class is None:
                message_class = classes[schema, index] = GetMessageClass(_message(files.of(schema), index))
            message = message_class()
            message.ParseFromString(payload.read())
            return _plain(message)
        except broken as error:
            raise Unreadable(f"is not Protobuf of schema {schema}: {str(error)[:200]}") from error

    return decode


def _message(file: Any, index: Sequence[int]) -> Any:
    """The type that an index names: a place among a file's types, and then among those inside of it."""
    messages = list(file.message_types_by_name.values())
    kind = None
    for place in index:
        if not 0 <= place < len(messages):
            raise Unreadable(f"is of message {list(index)}, which {file.name} does not have")
        kind = messages[place]
        messages = list(kind.nested_types)
    return kind


class _Fixed:
    """The descriptors of a file."""

    def __init__(self, schema: bytes) -> None:
        from google.protobuf import descriptor_pb2

        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(schema).file
            self._file = _pooled(files[-1], list(files[:-1]))
        except (TypeError, LookupError, ValueError) as error:
            text = "is no set of descriptors"
            hint = "protoc --include_imports --descriptor_set_out=FILE events.proto"
            raise DeclarationError(text, where="stream.schema_file", hint=hint) from error
        except Exception as error:
            raise DeclarationError(f"is no set of descriptors: {error}", where="stream.schema_file") from error

    def of(self, schema: str) -> Any:
        """The messages' file, whatever the schema."""
        return self._file


class _Registered:
    """The descriptors of the registry's schemas."""

    def __init__(self, registry: SchemaRegistry | None) -> None:
        if registry is None:
            raise ConfigError("events in protobuf need a schema registry", where="HEADRACE_SCHEMA_REGISTRY")
        self._registry, self._files = registry, dict[str, Any]()

    def of(self, schema: str) -> Any:
        """The file of a schema."""
        if schema not in self._files:
            self._files[schema] = self._registry.ask(schema, self._asks(schema))
        return self._files[schema]

    def _asks(self, schema: str) -> Callable[[], Any]:
        client = self._registry.client

        def ask() -> Any:
            get: Any = client.get_schema if schema.isdecimal() else client.get_schema_by_guid
            registered = get(int(schema) if schema.isdecimal() else schema, fmt="serialized")
            referred: dict[str, Any] = {}
            self._referred(registered, referred)
            return _pooled(self._compiled("events.proto", registered.schema_str), list(referred.values()))

        return ask

    def _referred(self, schema: Any, referred: dict[str, Any]) -> None:
        """The files that a schema names, those first that they name themselves."""
        for reference in schema.references or ():
            if not reference.name.startswith(_BUILTIN) and reference.name not in referred:
                registered = self._registry.client.get_version(
                    reference.subject, reference.version, True, "serialized"
                ).schema
                self._referred(registered, referred)
                referred[reference.name] = self._compiled(reference.name, registered.schema_str)

    def _compiled(self, name: str, text: str | None) -> Any:
        from google.protobuf import descriptor_pb2
        from google.protobuf.message import DecodeError

        try:
            file_proto = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text or "", validate=True))
        except (binascii.Error, ValueError, DecodeError) as error:
            raise StreamError(
                "the schema registry gives the schema as text, which nothing here compiles",
                where=self._registry.url,
                hint="declare stream.schema_file, made by protoc --include_imports --descriptor_set_out=FILE",
            ) from error
        file_proto.name = name
        return file_proto


def _pooled(file: Any, referred: Sequence[Any]) -> Any:
    """The descriptor of a file that names others."""
    from google.protobuf import any_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file_proto in referred:
        if not file_proto.name.startswith(_BUILTIN):
            pool.Add(file_proto)
    pool.Add(file)
    return pool.FindFileByName(file.name)


def _plain(message: Any, depth: int = 0) -> Any:
    """What a message holds, by the names of its fields; a field that can tell that it is not there is None then."""
    if depth > _DEPTH:
        raise Unreadable(f"has more than {_DEPTH} levels")
    known = _KNOWN.get(message.DESCRIPTOR.full_name)
    if known is not None:
        return known(message)
    document: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"]
            document[field.name] = {str(name): _value(kind, value[name], depth) for name in value}
        elif field.is_repeated:
            document[field.name] = [_value(field, item, depth) for item in value]
        elif field.has_presence and not message.HasField(field.name):
            document[field.name] = None
        else:
            document[field.name] = _value(field, value, depth)
    return document


def _value(field: Any, value: Any, depth: int) -> Any:
    if field.message_type is not None:
        return _plain(value, depth + 1)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value


def _time(message: Any) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError as error:
        raise Unreadable(f"a time is outside of all years: {message.seconds} s since 1970") from error


def _inside(message: Any) -> Any:
    return message.value


_KNOWN: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": _time,
    **{
        f"google.protobuf.{kind}Value": _inside
        for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
    },
}
