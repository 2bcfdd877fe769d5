"""The topics of a stream, as they are declared."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from headrace.declaration import Declared, Duration
from headrace.sources.messages.fields import Format
from headrace.sources.topics import KINDS

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}").fullmatch


class StreamTopics(Declared):
    """Names of a stream's topics, and how those are made that are missing.

    Attributes:
        events: Name of the topic that events come on; like those below ``SYSTEM.events`` and so on if not given.
        predictions: Of the predictions.
        dead_letters: Of bad events.
        late: Of events that came too late.
        state: Of the workers' state.
        series: Of the partition of each series.
        shadows: Of what versions say beside the one that answers.
        prefix: Before the names that are not given, and before the group's.
        group: The consumers' group; ``headrace.SYSTEM`` if not given. It begins the names of transactions, too.
        partitions: Of topics that are made.
        replication: Copies of topics that are made; the cluster's default if not given.
        retention: How long topics that are made keep what is on them; the state is kept. The cluster's default if not
            given.
        create: Whether missing topics are made; otherwise the stream says which are to be made, and how.
    """

    events: str | None = None
    predictions: str | None = None
    dead_letters: str | None = None
    late: str | None = None
    state: str | None = None
    series: str | None = None
    shadows: str | None = None
    prefix: str = ""
    group: str | None = None
    partitions: int = Field(default=4, ge=1, le=10_000)
    replication: int | None = Field(default=None, ge=1, le=32_767)
    retention: Duration | None = None
    create: bool = True

    @model_validator(mode="after")
    def _legal(self) -> Self:
        names = {kind: name for kind in KINDS if (name := getattr(self, kind)) is not None}
        for name in names.values():
            if not _TOPIC(name) or name in (".", ".."):
                raise ValueError(f"{name!r} is no name of a topic: up to 249 of letters, digits, '.', '_' and '-'")
        if len(set(names.values())) < len(names):
            raise ValueError("two of the topics have one name")
        if self.prefix and not _TOPIC(self.prefix):
            raise ValueError(f"{self.prefix!r} cannot begin a topic's name: use letters, digits, '.', '_' and '-'")
        return self


class StreamPredictions(Declared):
    """What predictions on a stream's topic are written in.

    Attributes:
        format: ``json``; or in Confluent's wire format ``avro``, or JSON behind ``json_schema``.
        subject: That the schema is registered under; ``TOPIC-value`` if not given.
        register_schema: Whether the schema is registered where it is missing; otherwise the stream ends if it is.
        compatibility: Set for the subject before that; the registry's own if not given.
    """

    format: Format = "json"
    subject: str | None = None
    register_schema: bool = True
    compatibility: (
        Literal["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]
        | None
    ) = None
