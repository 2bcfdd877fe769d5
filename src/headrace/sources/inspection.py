"""What is unwise about topics that somebody else made: their settings beside what a stream needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from headrace.declaration import format_duration
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

SHORT = timedelta(days=1)
"""Events that are kept for less are gone after a night without workers."""
_HEADERS = 16_384
"""Bytes that a letter may have beside the event."""


@dataclass(frozen=True)
class Finding:
    """Something about a topic that is not as it should be.

    Attributes:
        topic: Its name.
        said: What it is, and what follows.
        hint: What to do.
    """

    topic: str
    said: str
    hint: str


def inspect(broker: Broker, topics: Topics) -> list[Finding]:
    """Look at the settings of a system's topics that are there.

    Raises:
        StreamError: The cluster cannot be reached, or shows nobody here the settings.
    """
    there = broker.partitions()
    names = {each.kind: each.name for each in topics.wanted(1) if each.name in there}
    settings = broker.configs(list(names.values()))
    found = {kind: settings[name] for kind, name in names.items()}
    return [Finding(names[kind], said, hint) for kind, said, hint in _judged(found)]


def _judged(found: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Kind of the topic, what is unwise about it, and what to do."""
    for kind, settings in found.items():
        copies = settings.get("min.insync.replicas", "1")
        compacted = "compact" in settings.get("cleanup.policy", "delete")
        if kind == "state":
            if settings.get("cleanup.policy") != "compact":
                yield (
                    kind,
                    "is not compacted: it grows for ever, or loses what is older than its retention",
                    _set("cleanup.policy=compact"),
                )
        elif compacted:
            yield (
                kind,
                "is compacted: all but the newest message of each key is thrown away",
                _set("cleanup.policy=delete"),
            )
        if kind == "series" and settings.get("retention.ms") != "-1":
            yield kind, "forgets after its retention on which partition a series is", _set("retention.ms=-1")
        kept = timedelta(milliseconds=max(int(settings.get("retention.ms", "-1")), 0))
        if kind == "events" and settings.get("retention.ms", "-1") != "-1" and kept < SHORT:
            yield (
                kind,
                f"keeps events for {format_duration(kept)} only: workers that are away longer lose them",
                _set(f"retention.ms={SHORT // timedelta(milliseconds=1)} or more"),
            )
        if kind == "events" and settings.get("message.timestamp.type") == "CreateTime":
            said = "has its producers' times, not the broker's: events are in the future by the worker's clock"
            yield kind, said, f"{_set('message.timestamp.type=LogAppendTime')}, or leave it: see stream.clock"
        if copies == "1" and kind == "events" and settings.get("unclean.leader.election.enable") == "true":
            yield (
                kind,
                "may lose acknowledged events: a copy that is behind can take over",
                _set("unclean.leader.election.enable=false"),
            )
    largest = int(found.get("events", {}).get("max.message.bytes", "0"))
    for kind in ("dead_letters", "late"):
        most = int(found.get(kind, {}).get("max.message.bytes", str(2**40)))
        if most < largest + _HEADERS:
            said = f"takes {most:,} bytes, an event may have {largest:,}: a longer one is set apart cut off"
            yield kind, said, _set(f"max.message.bytes={largest + _HEADERS}")


def _set(setting: str) -> str:
    return f"kafka-configs.sh --alter --add-config {setting}"
