"""Events that producers sent twice: each has an id, and the ids of the newest are remembered.

The stream door and the archive share this file, so that an event that is answered once is a fact once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple

from headrace.sources.events import Events
from headrace.sources.messages.base import Headers, Ignored, Unreadable, header
from headrace.sources.messages.envelopes import cloudevents
from headrace.sources.messages.opening import json_of

RESENT = "resent_from"
"""The header of a letter that was sent again."""
LONGEST = 1_024
"""Letters of an id at most."""
_NAME, _DIGEST = 12, 8
"""Bytes of what is kept of an id, and of an event."""
_APART = "!"


@dataclass(frozen=True)
class Once:
    """How events that were sent twice are told.

    Attributes:
        event_id: Where their ids are, as it is declared; see `Messages.event_id`.
        most: How many ids of a partition are remembered.
    """

    event_id: str
    most: int


class NamedEvent(NamedTuple):
    """An event as it is remembered: `name` of its id, `digest` of what it says."""

    name: str
    digest: str


class KeptId(NamedTuple):
    """What is remembered of an id: its place in the order of ids, and what its event said, with a mark if that was
    set apart."""

    turn: int
    text: str

    @property
    def digest(self) -> str:
        """Of what the event said."""
        return self.text.removesuffix(_APART)

    @property
    def apart(self) -> bool:
        """Whether the event was set apart: it may be sent again."""
        return self.text.endswith(_APART)

    def encode(self) -> bytes:
        """It as bytes."""
        return f"{self.turn} {self.text}".encode()

    @classmethod
    def decode(cls, value: bytes) -> KeptId:
        """What `encode` gave.

        Raises:
            ValueError: It is something else.
        """
        turn, _, text = value.decode().partition(" ")
        return cls(int(turn), text)


class Ids:
    """Reads the ids of events.

    Args:
        event_id: Where they are, as it is declared; see `Messages.event_id`.
        fields: The attribute of each column but the time in a decoded row.
    """

    def __init__(self, event_id: str, fields: Mapping[str, str]) -> None:
        kind, _, name = event_id.partition(":")
        self._where = f"column {name!r}" if kind == "column" else f"header {name!r}"
        self._content = attrgetter(*fields.values())
        self._read: Callable[[Any, bytes | None, Headers], str | None]
        if kind == "cloudevents":
            self._where, self._read = "CloudEvent", _of_cloudevent
        elif kind == "column":
            column = attrgetter(fields[name])
            self._read = lambda row, value, headers: None if column(row) is None else str(column(row))
        else:
            lower = name.lower()
            self._read = lambda row, value, headers: header(headers, lower)

    def __call__(self, events: Events, i: int, value: bytes | None, headers: Headers) -> NamedEvent | str:
        """The i-th good event as it is remembered; or why it has no id."""
        identity = self._read(events.rows[i], value, headers)
        if not identity:
            return f"has no id: the {self._where} says none"
        if len(identity) > LONGEST:
            return f"has an id of {len(identity):,} letters, at most {LONGEST:,} are read"
        content = repr((events.keys[i], int(events.time[i]), self._content(events.rows[i])))
        return NamedEvent(_short(identity, _NAME), _short(content, _DIGEST))


@dataclass
class Repeats:
    """The ids that are remembered of each partition, the newest.

    Attributes:
        most: How many of a partition.
        kept: By partition and name.
    """

    most: int
    kept: dict[int, dict[str, KeptId]] = field(default_factory=dict)

    def judge(self, partition: int, named: NamedEvent, *, resent: bool) -> str | None:
        """Why an event does not count: empty if it is the one that came before. None: it counts."""
        before = self.kept.get(partition, {}).get(named.name)
        if before is None or (before.apart and resent):
            return None
        if before.digest == named.digest:
            return ""
        return "conflict: another event came under its id"

    def put(self, partition: int, named: NamedEvent) -> tuple[KeptId, dict[str, KeptId]]:
        """Remember an event; returns what is kept of it, and by name what is not kept any more."""
        ids = self.kept.setdefault(partition, {})
        before = ids.get(named.name)
        previous = {} if before is None else {named.name: before}
        turn = before.turn if before else next(reversed(ids.values())).turn + 1 if ids else 0
        ids[named.name] = now = KeptId(turn, named.digest)  # one that was there stays in its place
        while len(ids) > self.most:
            oldest = next(iter(ids))
            previous[oldest] = ids.pop(oldest)
        return now, previous

    def set_apart(self, partition: int, name: str) -> tuple[KeptId, KeptId] | None:
        """Note that an event was set apart; returns what was and what is kept of it, if it is kept."""
        ids = self.kept.get(partition, {})
        before = ids.get(name)
        if before is None or before.apart:
            return None
        ids[name] = now = before._replace(text=before.text + _APART)
        return before, now


def _of_cloudevent(row: Any, value: bytes | None, headers: Headers) -> str | None:
    """Its source and id, which together are its own."""
    try:
        _, around = cloudevents(value, headers, lambda value, headers: None, json_of)
    except (Unreadable, Ignored):
        return None
    source, identity = around.get("source"), around.get("id")
    return f"{source} {identity}" if isinstance(identity, str) and identity and isinstance(source, str) else None


def _short(text: str, size: int) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=size).hexdigest()
