"""How a system's events are written in messages, as it is declared."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from headrace.declaration import Declared
from headrace.sources.messages.paths import ENVELOPE, parsed
from headrace.tracing import TRACEPARENT, TRACESTATE

Format = Literal["json", "json_schema", "avro", "protobuf"]
Envelope = Literal["none", "cloudevents", "debezium", "connect"]
TRACING = (TRACEPARENT, TRACESTATE)
"""Headers that always go on from an event to its outcome: W3C Trace Context."""
_FRAMED = ("avro", "protobuf")


class Messages(Declared):
    """How events are written in messages, and what of a message goes on to its outcome.

    Attributes:
        format: What the bytes are: ``json``; or in Confluent's wire format ``json_schema``, ``avro`` or ``protobuf``.
        envelope: What an event is wrapped in: nothing (``none``), a CloudEvent (``cloudevents``, both modes), a change
            event of Debezium (``debezium``), or Kafka Connect's JSON with schema and payload (``connect``).
        paths: Where the values of columns lie inside of the event, such as ``{"value": "a.b[0].c"}``; others are found
            by their names. A path that begins with ``@.`` begins at the envelope: ``{"time": "@.time"}``.
        schema_file: For ``avro`` the reader's schema (.avsc); for ``protobuf`` a compiled set of descriptors, where the
            registry gives none. Relative to the system's folder.
        also: Where else than on topics events come in this envelope and with these paths, as JSON: in posts (``http``),
            and in lines of JSON (``files``).
        headers: Headers that are copied from an event to its outcome, beside those of tracing.
        event_id: What tells an event from its like, where producers may send one twice: ``header:NAME``,
            ``column:NAME``, or ``cloudevents`` (its source and id). The second one is not answered; another event
            under the id is set apart.
    """

    format: Format = "json"
    envelope: Envelope = "none"
    paths: dict[str, str] = Field(default_factory=dict)
    schema_file: str | None = None
    also: tuple[Literal["http", "files"], ...] = ()
    headers: tuple[str, ...] = ()
    event_id: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for path in self.paths.values():
            if parsed(path)[0] == ENVELOPE and self.envelope == "none":
                raise ValueError(f"{path!r} begins at the envelope, and there is none: declare envelope=")
        if self.also and self.envelope == "none" and not self.paths:
            raise ValueError("nothing is declared that events elsewhere could have too: declare envelope= or paths=")
        if self.event_id is not None and self.event_id != "cloudevents":
            kind, _, name = self.event_id.partition(":")
            if kind not in ("header", "column") or not name:
                raise ValueError(f"event_id={self.event_id!r}: write header:NAME, column:NAME or cloudevents")
        if self.event_id == "cloudevents" and self.envelope != "cloudevents":
            raise ValueError("event_id='cloudevents' needs envelope='cloudevents'; ids in a header are header:ce_id")
        if self.schema_file is not None and self.format not in _FRAMED:
            raise ValueError(f"only {' and '.join(_FRAMED)} have a schema file, the format is {self.format}")
        return self

    @property
    def plain(self) -> bool:
        """Whether a message is nothing but a JSON object with the columns."""
        return self.format == "json" and self.envelope == "none" and not self.paths

    @property
    def passed(self) -> frozenset[str]:
        """The headers that go on from an event to its outcome, in lower case."""
        return frozenset((*TRACING, *map(str.lower, self.headers)))
