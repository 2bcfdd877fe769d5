"""Where predictions go: what is passed on, and what every kind of target must do."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal["text", "integer", "float", "boolean", "time"]
Position = Mapping[str, Any]
"""How far a source of predictions was passed on, JSON-ready. Only the source knows what it says."""


class SinkColumn(NamedTuple):
    """A column of a target that is a table: times are UTC."""

    name: str
    kind: Kind


class Prediction(NamedTuple):
    """What is passed on as one thing: the answer for a row, or a forecast of one series with all its steps.

    Attributes:
        id: Of the prediction; of a forecast that of its first step. The same cause gives the same id.
        key: Its row or series as text. The order among those of one key is kept.
        document: JSON-ready, as it is told to programs.
        rows: As rows of a table: of a row one, of a forecast one per step. Each has the columns of
            `PredictionLayout.fields`.
        replaces: Ids of rows that these take the place of, because they are their newer revisions.
        headers: What came with it to be passed on, such as ``traceparent``.
    """

    id: str
    key: str
    document: Mapping[str, Any]
    rows: Sequence[tuple[Any, ...]]
    replaces: Sequence[str] = ()
    headers: Sequence[tuple[str, bytes | None]] = ()


@dataclass(frozen=True)
class PredictionLayout:
    """What all predictions of one system look like.

    Attributes:
        system: Its name.
        source: Where they come from, as text: two sources have positions of their own at one target.
        fields: Columns of their rows; the first one is the id.
    """

    system: str
    source: str
    fields: tuple[SinkColumn, ...]


@dataclass(frozen=True)
class SinkContext:
    """What a target needs to know of this installation.

    Attributes:
        folder: Where a target that keeps nothing itself has its journal kept.
        secret: What requests are signed with; None: they are not.
        kafka: Settings of Kafka clients.
        partitions: Of a topic that is made; 0: none is made.
        timeout: Seconds that the target has for one answer.
        batch: Predictions that a target without transactions gets at once.
        concurrent: Requests that are under way at a time.
        stop: When it is set, nothing is tried again.
    """

    folder: Path
    secret: str | None = field(default=None, repr=False)
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)
    partitions: int = 4
    timeout: float = 30.0
    batch: int = 1
    concurrent: int = 8
    stop: threading.Event = field(default_factory=threading.Event, repr=False)


@dataclass
class Sent:
    """What became of predictions: the target has them (`passed`), or has refused them for good (`refused`)."""

    passed: int = 0
    refused: int = 0


class Begun(NamedTuple):
    """How far a source was passed on (None: not at all), and what became of what an earlier process had begun."""

    position: Position | None
    finished: Sent = Sent()


class Sink(Protocol):
    """A target of predictions. Opened by the scheme of its URI; used by one thread.

    Attributes:
        target: Its URI as it may be shown: without passwords.
    """

    target: str

    def begin(self) -> Begun:
        """Called first, and after every failure: connect, and say how far this source was passed on.

        What an earlier process began and did not finish is finished, or never counts.

        Raises:
            SinkUnavailableError: The target is away.
            SinkError: It is there, and does not fit: other columns, no right, another process is at it.
        """

    def send(self, predictions: Sequence[Prediction], before: Position | None, after: Position) -> Sent:
        """Pass predictions on, in the order of each key.

        When it returns, all of them are at the target for good, and `begin` says `after`. Where it raises, or the
        process dies, `begin` says which it is: a part of them may be there, and comes again under the same ids, which
        the target takes for what they are. To repeat it changes nothing.

        Args:
            predictions: Never none.
            before: What `begin` or the last `send` left.
            after: Where the source goes on.

        Raises:
            SinkUnavailableError: The target is away, or does not answer in time.
            SinkMovedError: Somebody else passed on from `before`; nothing was done.
            SinkError: The target refuses.
        """

    def close(self) -> None:
        """Let go of connections."""


def written(position: Position) -> str:
    """A position as text: equal positions are equal texts."""
    return json.dumps(position, sort_keys=True, separators=(",", ":"))
