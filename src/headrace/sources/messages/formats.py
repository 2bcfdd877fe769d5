"""Payload formats: what the bytes of a message are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from headrace.errors import ConfigError, DeclarationError, StreamError
from headrace.sources.messages.base import Decode
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.opening import framed_json, json_of
from headrace.sources.messages.registry import SchemaRegistry
from headrace.sources.patience import Patience


@dataclass(frozen=True)
class SchemaPlace:
    """Where schemas are.

    Attributes:
        registry: Settings of the registry's client; empty: there is none.
        folder: Of the system, which schema files are relative to.
        patience: How long a registry that does not answer is waited for.
    """

    registry: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()
    patience: Patience = field(default_factory=Patience, repr=False)


class _Format(Protocol):
    def decoder(self, registry: SchemaRegistry | None, schema: bytes | None) -> Decode: ...


def decoder(messages: Messages, place: SchemaPlace) -> Decode:
    """What decodes the payloads of a system's messages.

    Raises:
        ConfigError: The format needs a registry, and none is set.
        DeclarationError: The schema file cannot be read, or is none.
        StreamError: The libraries of the format are not installed.
    """
    if messages.format == "json":
        return json_of
    if messages.format == "json_schema":
        return framed_json
    schema = _schema(messages, place.folder)
    if not place.registry.get("url") and (messages.format == "avro" or schema is None):
        raise ConfigError(
            f"events in {messages.format} need a schema registry, and none is set",
            where="HEADRACE_SCHEMA_REGISTRY",
            hint="set it to the registry's URL, or to JSON with url and basic.auth.user.info",
        )
    try:
        module = cast(_Format, import_module(f"headrace.sources.messages.{messages.format}"))
        registry = SchemaRegistry(place.registry, place.patience) if place.registry.get("url") else None
        return module.decoder(registry, schema)
    except ImportError as error:
        raise StreamError(
            f"events in {messages.format} need a library that is not installed: {error.name}",
            where="stream.format",
            hint="pip install 'headrace[registry]'",
        ) from error


def _schema(messages: Messages, folder: Path) -> bytes | None:
    if messages.schema_file is None:
        return None
    path = folder / messages.schema_file
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DeclarationError(f"{path} cannot be read: {reason}", where="stream.schema_file") from error
