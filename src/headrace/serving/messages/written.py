"""What answers are written in on their topic: JSON, or another format by a schema of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from headrace.errors import ConfigError, StreamError
from headrace.home import Home
from headrace.sources.broker import Broker
from headrace.sources.messages.framed import FramedReader, schema_text, writer
from headrace.sources.messages.registry import SchemaRegistry
from headrace.sources.patience import Patience
from headrace.system import System
from headrace.tasks import task_of

NAME = "Answer"


def subject_of(system: System, topic: str) -> str:
    """Under which subject the schema is registered: by the topic's name, if none is declared."""
    return system.stream.predictions.subject or f"{topic}-value"


def schema_of(system: System) -> str:
    """The schema of a system's answers.

    Raises:
        ConfigError: They are plain JSON.
    """
    form = system.stream.predictions.format
    if form == "json":
        hint = "set stream.predictions.format to avro or json_schema"
        raise ConfigError("answers are JSON, which has no schema", where="stream.predictions.format", hint=hint)
    return schema_text(form, NAME, task_of(system).form.topic_fields())


def answers_in(system: System, home: Home, topic: str, patience: Patience) -> Callable[[Sequence[bytes]], list[bytes]]:
    """What writes answers that are there as JSON in the declared format.

    Args:
        system: The declaration.
        home: Knows the schema registry.
        topic: Of the answers.
        patience: How long the registry is waited for.

    Raises:
        ConfigError: The format needs a registry, and none is set.
        StreamError: The registry refuses, or the libraries of the format are not installed.
    """
    answers = system.stream.predictions
    if answers.format == "json":
        return list
    registry = _registry(home, patience)
    if registry is None:
        raise ConfigError(
            f"answers in {answers.format} need a schema registry, and none is set",
            where="HEADRACE_SCHEMA_REGISTRY",
            hint="set it to the registry's URL, or to JSON with url and basic.auth.user.info",
        )
    subject = subject_of(system, topic)
    if answers.compatibility is not None:
        level, client = answers.compatibility, registry.client
        registry.ask(f"of subject {subject}", lambda: client.set_compatibility(subject, level))
    try:
        write = writer(
            registry, answers.format, subject, NAME, task_of(system).form.topic_fields(), may=answers.register_schema
        )
    except ImportError as error:
        raise _missing(error) from error
    return lambda documents: list(map(write, documents))


def reading(system: System, home: Home, broker: Broker, topic: str) -> Broker:
    """The broker, by which answers are read as JSON whatever they are written in.

    Where a registry is set, those are understood that were written in another format than is declared now.
    """
    try:
        registry = _registry(home, broker.patience)
    except StreamError:
        if system.stream.predictions.format != "json":
            raise
        registry = None  # nobody here could have written another format
    if registry is None:
        return broker
    left_out = [field.name for field in task_of(system).form.topic_fields() if field.optional]
    return replace(broker, opened={**broker.opened, topic: FramedReader(registry, left_out)})


def _registry(home: Home, patience: Patience) -> SchemaRegistry | None:
    if not home.schema_registry.get("url"):
        return None
    try:
        return SchemaRegistry(home.schema_registry, patience)
    except ImportError as error:
        raise _missing(error) from error


def _missing(error: ImportError) -> StreamError:
    text, hint = f"the registry needs a library that is not installed: {error.name}", "pip install 'headrace[registry]'"
    return StreamError(text, where="stream.predictions.format", hint=hint)
