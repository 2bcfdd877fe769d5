"""Whether events lie on the partition of their series, and what becomes of those that do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from headrace.serving.engine.batch import MessageBatch
from headrace.serving.engine.rings import Keys, Series
from headrace.sources.events import Events
from headrace.sources.keys import agrees
from headrace.sources.messages.opening import as_it_is

Key = Callable[[bytes | None], bytes | None]
Settle = Callable[[Iterable[Series]], Mapping[Keys, int]]
"""The partition of each series, given partitions on which they were found; see `Homes.settle`."""


@dataclass
class Placed:
    """Events that are not to be answered where they lie, by their place among the good ones.

    Attributes:
        refused: With the reason.
        moved: With the partition that they belong to.
    """

    refused: dict[int, str] = field(default_factory=dict)
    moved: dict[int, int] = field(default_factory=dict)


class Placing:
    """Looks at every series where it is met first; after that an event costs next to nothing.

    Args:
        names: The key columns, as messages call them.
        moves: Whether events are sent to the right partition, rather than refused.
        settle: Says where a series is.
        key: What a message's key says, as text.
    """

    def __init__(self, names: tuple[str, ...], settle: Settle, *, moves: bool, key: Key = as_it_is) -> None:
        self._key = key
        self._names, self._settle, self._moves = names, settle, moves
        self._fine: set[Series] = set()
        self._elsewhere: dict[Keys, int] = {}

    def __call__(self, batch: MessageBatch, events: Events, but: Container[int]) -> Placed:
        """Look at a batch.

        Args:
            batch: The messages.
            events: The good ones among them.
            but: Places of events that are refused already.

        Raises:
            BrokerUnavailableError: The cluster did not say in time where a series is.
        """
        placed, keyless = Placed(), None in batch.key
        partitions = batch.partition if len(events.rows) == len(batch) else [batch.partition[i] for i in events.place]
        strange = set(zip(partitions, events.keys, strict=True)) - self._fine
        if not strange and not keyless:
            return placed
        looked = [
            i for i, item in enumerate(zip(partitions, events.keys, strict=True)) if item in strange and i not in but
        ]
        named = [i for i in looked if self._moves or self._named(batch, events, i)]
        if named:
            homes = self._settle((partitions[i], events.keys[i]) for i in named)
            self._elsewhere |= homes
            self._fine |= {(partition, keys) for keys, partition in homes.items()}
        for i in range(len(events.rows)) if keyless else looked:
            if i not in but:
                self._place(batch, events, i, partitions[i], placed)
        return placed

    def _named(self, batch: MessageBatch, events: Events, i: int) -> bool:
        return agrees(self._key(batch.key[events.place[i]]), self._names, events.keys[i])

    def _place(self, batch: MessageBatch, events: Events, i: int, partition: int, placed: Placed) -> None:
        key, keys = batch.key[events.place[i]], events.keys[i]
        home = self._elsewhere.get(keys)
        if key is None and not self._moves:
            placed.refused[i] = "the message has no key: events of one series could lie on several partitions"
        elif home == partition:
            return
        elif self._moves and home is not None:
            placed.moved[i] = home
        else:
            placed.refused[i] = self._reason(key or b"", keys, home, partition)

    def _reason(self, key: bytes, keys: Keys, home: int | None, partition: int) -> str:
        key_text, series = key[:80].decode(errors="backslashreplace"), json.dumps(list(keys))
        if not agrees(self._key(key), self._names, keys):
            return f"the message's key {key_text!r} is not that of its series {series}"
        return (
            f"the series {series} is on partition {home}, where it was seen first, and this message, with the key "
            f"{key_text!r}, on partition {partition}: its producers write or hash keys differently"
        )
