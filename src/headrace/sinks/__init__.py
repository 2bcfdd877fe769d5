"""Where predictions go. A new kind of target is one new file here, and a line in ``SCHEMES``."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from headrace.errors import SinkError, UsageError
from headrace.sinks.address import Address
from headrace.sinks.base import Prediction, PredictionLayout, Sent, Sink, SinkContext

__all__ = ["SCHEMES", "Prediction", "PredictionLayout", "Sent", "Sink", "SinkContext", "open_sink"]

SCHEMES = {
    "bigquery": "headrace.sinks.bigquery",
    "duckdb": "headrace.sinks.duckdb",
    "http": "headrace.sinks.webhook",
    "https": "headrace.sinks.webhook",
    "kafka": "headrace.sinks.topic",
    "postgresql": "headrace.sinks.postgresql",
    "snowflake": "headrace.sinks.snowflake",
    "sqlite": "headrace.sinks.sqlite",
}
"""URI scheme to the module that writes to it; the module has ``open_sink(address, layout, place)``."""

_EXTRAS = {
    "adbc_driver_manager": "snowflake",
    "adbc_driver_snowflake": "snowflake",
    "confluent_kafka": "kafka",
    "duckdb": "duckdb",
    "google": "bigquery",
    "psycopg": "postgres",
}
FORMS = (
    "kafka://HOST:PORT/TOPIC, https://HOST/PATH, postgresql://USER@HOST/DATABASE/TABLE, sqlite:///PATH?table=TABLE, "
    "duckdb:///PATH?table=TABLE, snowflake://ACCOUNT/DATABASE/SCHEMA/TABLE, bigquery://PROJECT/DATASET/TABLE"
)


class _Module(Protocol):
    def open_sink(self, address: Address, layout: PredictionLayout, place: SinkContext) -> Sink: ...


def open_sink(uri: str, layout: PredictionLayout, place: SinkContext) -> Sink:
    """The target that a URI names. Nothing is connected to yet.

    Args:
        uri: Where predictions go.
        layout: What they look like.
        place: What is known here.

    Raises:
        UsageError: The URI has a form that is not supported, or lacks something.
        SinkError: The library of the target is not installed.

    >>> from pathlib import Path
    >>> from headrace.sinks.base import SinkColumn
    >>> layout = PredictionLayout("shop", "tables", (SinkColumn("id", "text"), SinkColumn("value", "float")))
    >>> open_sink("sqlite:///out.db?table=predictions", layout, SinkContext(Path(".headrace"))).target
    'sqlite:///out.db?table=predictions'
    """
    address = Address.of(uri)
    module = SCHEMES.get(address.scheme)
    if module is None:
        raise UsageError("this kind of target is not supported", where=address.shown, hint=f"supported: {FORMS}")
    try:
        return cast(_Module, import_module(module)).open_sink(address, layout, place)
    except ImportError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        hint = f"pip install 'headrace[{extra}]'"
        raise SinkError(f"needs {error.name}, which is not installed", where=address.shown, hint=hint) from error
