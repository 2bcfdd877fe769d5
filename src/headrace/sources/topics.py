"""The topics of a system: their names, and how they are to be made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

LARGEST = 16 * 1024 * 1024
"""Bytes of a record that is passed on: a dead letter is the event as it came, with headers."""
KINDS = {
    "events": "what comes in",
    "predictions": "an answer per event, on its partition",
    "dead_letters": "bad events as they came",
    "late": "events that came too late as they came",
    "state": "the workers' state, as many partitions as the events",
    "series": "on which partition each series is",
    "shadows": "what versions say beside the one that answers",
}
_OF_SERIES = ("late", "series")
_OF_ANSWERING = frozenset(KINDS) - {"shadows"}
_OF_SHADOW = frozenset({"events", "shadows", "state", "series"})
_MILLISECOND = timedelta(milliseconds=1)
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "600000",
}


@dataclass(frozen=True)
class WantedTopic:
    """A topic as it is to be made.

    Attributes:
        kind: What it holds, of `KINDS`.
        name: Its name.
        partitions: How many.
        replication: Copies of each; None: the cluster's default.
        config: What differs from the cluster's defaults.
    """

    kind: str
    name: str
    partitions: int
    replication: int | None
    config: Mapping[str, str]

    def line(self) -> str:
        """It in one line, for people."""
        copies = [] if self.replication is None else [f"replication factor {self.replication}"]
        parts = [f"{self.partitions} partition{'s' * (self.partitions > 1)}", *copies]
        return f"{self.name}: {', '.join([*parts, *(f'{k}={v}' for k, v in self.config.items())])}"

    def command(self, bootstrap: str) -> str:
        """It as a command of Kafka's own tool."""
        copies = [] if self.replication is None else ["--replication-factor", str(self.replication)]
        config = [part for k, v in self.config.items() for part in ("--config", f"{k}={v}")]
        head = ["kafka-topics.sh", "--bootstrap-server", bootstrap, "--create", "--topic", self.name]
        return shlex.join([*head, "--partitions", str(self.partitions), *copies, *config])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``kind name partitions replication config``."""
        document = {"kind": self.kind, "name": self.name, "partitions": self.partitions}
        return {**document, "replication": self.replication, "config": dict(self.config)}


@dataclass(frozen=True)
class Topics:
    """The topics of one system, and its consumers' group.

    Attributes:
        system: Its name.
        given: Names that are declared, by kind; the others are ``PREFIX`` and ``SYSTEM.KIND``.
        prefix: Before the names that are not declared, and the group's.
        group_given: The group's name, if it is declared.
        partitions: Of topics that are made.
        replication: Copies of topics that are made; None: the cluster's default.
        retention: How long topics that are made keep what is on them, the state aside; None: the cluster's default.
        create: Whether topics that are missing are made.
        of_series: Whether events are of series: rows cannot be late, and have keys without end.
        kinds: Which of `KINDS` there are.
        shadow: The version that scores beside the one that answers: it has a group and a state of its own, and shares
            the topic of its answers with other versions. None: what answers.
    """

    system: str
    given: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    group_given: str | None = None
    partitions: int = 4
    replication: int | None = None
    retention: timedelta | None = None
    create: bool = True
    of_series: bool = True
    kinds: tuple[str, ...] = tuple(KINDS)
    shadow: int | None = None

    def named(self, kind: str) -> str:
        """The name of the topic of a kind."""
        return self.given.get(kind) or f"{self.prefix}{self.system}.{kind}"

    def of_shadow(self, version: int | None) -> Topics:
        """Those of a version that scores beside; of None, those of what answers."""
        return replace(self, shadow=version)

    @property
    def stream(self) -> str:
        """The stream's name: the system's, with the version of a shadow."""
        return f"{self.system}{self._of_shadow}"

    @property
    def arguments(self) -> str:
        """How the stream is named on the command line."""
        return self.system if self.shadow is None else f"{self.system} --shadow {self.shadow}"

    @property
    def _of_shadow(self) -> str:
        return "" if self.shadow is None else f".shadow-{self.shadow}"

    @property
    def events(self) -> str:
        """What comes in."""
        return self.named("events")

    @property
    def predictions(self) -> str:
        """What goes out of the one that answers."""
        return self.named("predictions")

    @property
    def shadows(self) -> str:
        """What versions say beside it, all of them."""
        return self.named("shadows")

    @property
    def output(self) -> str:
        """What goes out of this stream."""
        return self.predictions if self.shadow is None else self.shadows

    @property
    def dead_letters(self) -> str:
        """Bad events as they came."""
        return self.named("dead_letters")

    @property
    def late(self) -> str:
        """Events that came too late as they came."""
        return self.named("late")

    @property
    def state(self) -> str:
        """The changelog of the state; as many partitions as the events have."""
        return f"{self.named('state')}{self._of_shadow}"

    @property
    def series(self) -> str:
        """Which partition each series is on; one partition."""
        return self.named("series")

    @property
    def group(self) -> str:
        """The consumers' group, and the beginning of the workers' names in the cluster."""
        return f"{self.group_given or f'{self.prefix}headrace.{self.system}'}{self._of_shadow}"

    def wanted(self, partitions: int) -> list[WantedTopic]:
        """All of them as they are to be made, if the events have so many partitions."""
        settings = {} if self.retention is None else {"retention.ms": str(self.retention // _MILLISECOND)}
        large = {"max.message.bytes": str(LARGEST)}
        config = {
            "events": {"message.timestamp.type": "LogAppendTime"} | settings,
            "predictions": settings,
            "shadows": settings,
            "dead_letters": large | settings,
            "late": large | settings,
            "state": _COMPACTED,
            "series": {"cleanup.policy": "delete", "retention.ms": "-1"},  # the first record counts, not the last
        }
        counts, names = {"series": 1}, {"state": self.state}
        kinds = _OF_ANSWERING if self.shadow is None else _OF_SHADOW
        return [
            WantedTopic(
                *(kind, names.get(kind, self.named(kind)), counts.get(kind, partitions)), self.replication, config[kind]
            )
            for kind in self.kinds
            if kind in kinds and (self.of_series or kind not in _OF_SERIES)
        ]
