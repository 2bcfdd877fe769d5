"""What events come wrapped in: CloudEvents, Debezium's change events, Kafka Connect's JSON with its schema."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from headrace.sources.messages.base import Decode, Headers, Ignored, Opened, Unreadable, header
from headrace.sources.messages.connect import typed

Envelop = Callable[[bytes | None, Headers, Decode, Decode], Opened]
"""Value, headers, how values of the declared format are decoded, and how JSON is: the event and its envelope."""

_NO_VALUE = "the message has no value"
_DELETED = "deletion"


def bare(value: bytes | None, headers: Headers, decode: Decode, json: Decode) -> Opened:
    """Events without an envelope."""
    if value is None:
        raise Unreadable(_NO_VALUE)
    return decode(value, headers), {}


def cloudevents(value: bytes | None, headers: Headers, decode: Decode, json: Decode) -> Opened:
    """CloudEvents 1.0 by its Kafka binding: structured (one JSON object) or binary (attributes in headers)."""
    if value is None:
        raise Unreadable(_NO_VALUE)
    kind = (header(headers, "content-type") or "").lower()
    if kind.startswith("application/cloudevents-batch"):
        raise Unreadable("is a batch of CloudEvents: one message is one event")
    version = header(headers, "ce_specversion")
    if kind.startswith("application/cloudevents") and not kind.startswith("application/cloudevents+json"):
        raise Unreadable(f"is a CloudEvent written as {kind[:60]!r}, only JSON is read")
    if kind.startswith("application/cloudevents") or version is None:
        return _structured(json(value, headers))
    _supported(version)
    attributes: dict[str, Any] = {
        name.lower().removeprefix("ce_"): (text or b"").decode(errors="replace")
        for name, text in headers
        if name.lower().startswith("ce_")
    }
    return decode(value, headers), attributes


def _structured(event: Any) -> Opened:
    if not isinstance(event, dict) or "specversion" not in event:
        raise Unreadable("is no CloudEvent: neither a header ce_specversion nor a field specversion")
    _supported(event["specversion"])
    if "data_base64" in event:
        return _from_base64(event["data_base64"]), event
    if event.get("data") is None:
        raise Unreadable("the CloudEvent has no data")
    return event["data"], event


def _from_base64(text: Any) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True))
    except (binascii.Error, TypeError, ValueError, msgspec.DecodeError) as error:
        raise Unreadable(f"the CloudEvent's data_base64 is not JSON: {error}") from error


def _supported(version: Any) -> None:
    if not isinstance(version, str) or not version.startswith("1."):
        raise Unreadable(f"is a CloudEvent of version {str(version)[:20]}, only 1.x is read")


def debezium(value: bytes | None, headers: Headers, decode: Decode, json: Decode) -> Opened:
    """The row after a change. Deletions and what is no change of a row are no events."""
    if value is None:
        raise Ignored(_DELETED)  # a tombstone, which follows a deletion
    change = decode(value, headers)
    if isinstance(change, dict) and change.keys() == {"schema", "payload"}:
        change = typed(change["schema"], change["payload"])
        if change is None:
            raise Ignored(_DELETED)
    if not isinstance(change, dict) or "op" not in change:
        raise Unreadable("is no change event of Debezium: it has no op")
    op = change["op"]
    if op in ("d", "t", "m"):
        raise Ignored({"d": _DELETED, "t": "truncation", "m": "message of the database"}[op])
    if op not in ("c", "r", "u"):
        raise Unreadable(f"is a change event of Debezium with an op that is not known: {str(op)[:20]!r}")
    if change.get("after") is None:
        raise Unreadable("the change event has no row after the change")
    return change["after"], change


def connect(value: bytes | None, headers: Headers, decode: Decode, json: Decode) -> Opened:
    """The payload of Kafka Connect's JSON, typed by the schema beside it."""
    if value is None:
        raise Unreadable(_NO_VALUE)
    document = decode(value, headers)
    if not isinstance(document, Mapping) or not {"schema", "payload"} <= document.keys():
        raise Unreadable("is not Kafka Connect's JSON: it has no schema and payload")
    if document["payload"] is None:
        raise Unreadable("the payload is empty")
    return typed(document["schema"], document["payload"]), document


ENVELOPES: dict[str, Envelop] = {
    "none": bare,
    "cloudevents": cloudevents,
    "debezium": debezium,
    "connect": connect,
}
