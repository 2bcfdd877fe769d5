"""Values of Kafka Connect's JSON by the schema that comes with them: times, dates and decimals are named in it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from headrace.sources.messages.base import Unreadable

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time: Debezium counts these in no zone
_MICROSECOND = timedelta(microseconds=1)
_DEPTH = 50
"""Levels of nesting that are looked through."""


def typed(schema: Any, value: Any, depth: int = 0) -> Any:
    """A value with the types that its schema names.

    Args:
        schema: As Kafka Connect writes it: ``{"type": "struct", "fields": [...]}`` and so on.
        value: What it describes.
        depth: How far inside of the message it is.

    Raises:
        Unreadable: They do not fit.
    """
    if value is None or not isinstance(schema, dict) or depth > _DEPTH:
        return value
    kind, name = schema.get("type"), schema.get("name")
    try:
        convert = _NAMED.get(name) if isinstance(name, str) else None
        if convert is not None:
            return convert(value, schema)
        if kind == "struct" and isinstance(value, dict):
            named = {field["field"]: field for field in schema.get("fields") or ()}
            return {field: typed(named.get(field), item, depth + 1) for field, item in value.items()}
        if kind == "array" and isinstance(value, list):
            return [typed(schema.get("items"), item, depth + 1) for item in value]
        if kind == "map" and isinstance(value, dict):
            return {field: typed(schema.get("values"), item, depth + 1) for field, item in value.items()}
    except (TypeError, ValueError, KeyError, OverflowError, ArithmeticError, binascii.Error) as error:
        raise Unreadable(f"a value is not what its schema says ({name or kind}): {str(value)[:40]!r}") from error
    return value


def _count(unit: int, *, exact: bool = False) -> Callable[[Any, Any], datetime]:
    """A count since 1970 as a time: in UTC where it is exact, otherwise of no zone."""

    def convert(value: Any, schema: Any) -> datetime:
        moment = _EPOCH + (int(value) * unit // 1000) * _MICROSECOND
        return moment.replace(tzinfo=UTC) if exact else moment

    return convert


def _date(value: Any, schema: Any) -> date:
    return _EPOCH.date() + timedelta(days=int(value))


def _decimal(value: Any, schema: Any) -> Decimal:
    return _scaled(value, int(schema["parameters"]["scale"]))


def _own_scale(value: Any, schema: Any) -> Decimal:
    return _scaled(value["value"], int(value["scale"]))


def _scaled(value: Any, scale: int) -> Decimal:
    data = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-scale)


_NAMED: dict[str, Callable[[Any, Any], Any]] = {
    "org.apache.kafka.connect.data.Timestamp": _count(1_000_000, exact=True),
    "org.apache.kafka.connect.data.Date": _date,
    "org.apache.kafka.connect.data.Decimal": _decimal,
    "io.debezium.time.Timestamp": _count(1_000_000),
    "io.debezium.time.MicroTimestamp": _count(1_000),
    "io.debezium.time.NanoTimestamp": _count(1),
    "io.debezium.time.Date": _date,
    "io.debezium.data.VariableScaleDecimal": _own_scale,
}
