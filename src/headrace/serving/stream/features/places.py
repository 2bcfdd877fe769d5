"""Where a worker begins with each partition: as the online side and the table say, never as offsets do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from headrace.errors import StreamError
from headrace.feature_system import EVENT, FeatureSystem
from headrace.serving.stream.features.feeding import Feeding, offsets_of
from headrace.sources.broker import TopicLog
from headrace.store import FeatureGroup, failures
from headrace.store.fed import settle
from headrace.store.online.feeds import Feed, FeedPosition

_HINT = "put it back from a backup"


class Places:
    """Positions of one group's partitions.

    Args:
        system: The declaration.
        group: Its group.
        topic: Name of the topic.
        feeding: Where positions are.
        accept_loss: Whether events that are gone, or what was remembered of them, may stay lost.
    """

    def __init__(
        self, system: FeatureSystem, group: FeatureGroup, topic: str, feeding: Feeding, *, accept_loss: bool
    ) -> None:
        self._system, self._group, self._topic = system, group, topic
        self._feeding, self._accept_loss = feeding, accept_loss
        self._stored: Mapping[tuple[int, int], int] | None = None
        self.lost = 0
        """Events that were gone before they were read, so far."""

    def take_up(self, partitions: list[int], log: TopicLog) -> dict[int, FeedPosition]:
        """Where to begin with partitions; it is written down where it was not.

        Raises:
            StreamError: Events are gone that were not read; or what is remembered is of another declaration.
            OnlineUnavailableError: The online side is away.
        """
        self._group.online_side.follow(self._group, now=datetime.now(UTC))  # its database may be a new one
        number = self._number(log.id)
        self._stored = None
        known = self._feeding.positions()
        if any(partition not in known or known[partition].topic != log.id for partition in partitions):
            settle(self._group)
            self._stored = self._offsets()

        def chosen(feed: Feed) -> dict[int, FeedPosition]:
            stored_positions = feed.positions()
            positions = {p: self._begin(p, stored_positions.get(p), log, number) for p in partitions}
            feed.move({p: position for p, position in positions.items() if stored_positions.get(p) != position})
            return positions

        return self._feeding.session(chosen)

    def _begin(self, partition: int, position: FeedPosition | None, log: TopicLog, number: int) -> FeedPosition:
        begin, end = log.begins.get(partition, 0), log.ends.get(partition, 0)
        definition = self._system.state_definition
        if position is not None and position.definition != definition:
            raise StreamError(
                "keys, step, values or the longest window were declared otherwise when what is remembered was made",
                where=f"{self._system.name}: partition {partition}",
                hint="headrace materialize SYSTEM --bootstrap H:P --rebuild makes it anew from the topic",
            )
        if position is None or position.topic != log.id:
            quiet = (self._stored or {}).get((number, partition), -1) + 1
            if quiet and begin:
                self._lose(partition, begin, f"what is remembered is gone, and the topic begins at offset {begin}")
            return FeedPosition(log.id, number, begin, quiet, definition)
        if position.place < begin:
            self._lose(
                partition, begin - position.place, f"events from offset {position.place} to {begin - 1} are gone"
            )
            return position._replace(place=begin)
        if position.place > end:
            self._lose(
                partition, 0, f"it was cut off: it ends at {end}, and offset {position.place} was to be the next"
            )
            return position._replace(place=end)
        return position

    def _lose(self, partition: int, events: int, text: str) -> None:
        if not self._accept_loss:
            hint = "--accept-loss goes on with what is there; features lack what is gone"
            raise StreamError(text, where=f"{self._topic}[{partition}]", hint=hint)
        self.lost += events

    def _number(self, topic: str | None) -> int:
        """Which of the logs of the topic's name this is; a new one is written down."""
        path, store = f"{self._group.system}/logs-{self._group.name}.json", self._group.store
        noted = store.noted(path, _HINT)
        logs: list[str | None] = []
        if noted is not None:
            with failures.intact(f"{store.uri}/{path}", _HINT):
                logs = list(json.loads(noted)["logs"])
        if topic not in logs:
            logs.append(topic)
            store.note(path, json.dumps({"logs": logs, "at": datetime.now(UTC).isoformat()}).encode())
        return logs.index(topic) + 1

    def _offsets(self) -> Mapping[tuple[int, int], int]:
        """The last offset of each log and partition whose row the table has."""
        table = self._group.table
        names = table.collect(table.scan().select(EVENT)).to_series()
        return offsets_of(names.drop_nulls().to_list(), self._topic)
