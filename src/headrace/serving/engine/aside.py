"""Small records of the state of series beside their values: ids of events, and leaps that no second event bore out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from headrace.serving.engine import small
from headrace.serving.engine.changelog import Change, Changelog, StateRecord, total_of
from headrace.serving.engine.positions import Total
from headrace.serving.engine.rings import Series
from headrace.sources.events import NONE, Leap
from headrace.sources.repeats import KeptId, NamedEvent, Repeats


class Aside:
    """The records of the partitions that a worker has. Their keys are JSON objects, those of series are arrays.

    Args:
        changelog: Of the series; it has the totals of both.
        most: How many ids of a partition are remembered.

    Attributes:
        repeats: The ids.
        leaps: Of series whose last events lay too far after them.
    """

    def __init__(self, changelog: Changelog, most: int) -> None:
        self._totals, self._most = changelog.totals, most
        self.repeats = Repeats(most)
        self.leaps: dict[Series, Leap] = {}

    def drop(self, partition: int) -> None:
        """Forget all of a partition; the totals are the changelog's to forget."""
        self.repeats.kept.pop(partition, None)
        for series in [leap for leap in self.leaps if leap[0] == partition]:
            del self.leaps[series]

    def remember(self, partition: int, named: NamedEvent) -> Iterator[Change]:
        """Remember an event."""
        now, dropped = self.repeats.put(partition, named)
        for name, kept_id in dropped.items():
            yield self._erased(partition, small.key_of("id", name), kept_id.encode())
        yield self._written(partition, small.key_of("id", named.name), now.encode())

    def set_apart(self, partition: int, name: str) -> Iterator[Change]:
        """Note that an event was set apart."""
        kept_id = self.repeats.set_apart(partition, name)
        if kept_id is not None:
            key, (before, now) = small.key_of("id", name), kept_id
            self._erased(partition, key, before.encode())
            yield self._written(partition, key, now.encode())

    def leap(self, series: Series, leap: Leap) -> Iterator[Change]:
        """Note the leap of a series; `NONE`: that is over."""
        key, before = small.key_of("leap", list(series[1])), self.leaps.pop(series, None)
        if before is not None:
            erased = self._erased(series[0], key, _told(before))
            if leap == NONE:
                yield erased
        if leap != NONE:
            self.leaps[series] = leap
            yield self._written(series[0], key, _told(leap))

    def restore(self, partition: int, records: Iterable[StateRecord]) -> None:
        """Put in the good records of a partition."""
        kept_ids: list[tuple[str, KeptId]] = []
        restored = list(records)
        for record in restored:
            (kind, name), value = json.loads(record.series).popitem(), record.value[small.HEAD :]
            if kind == "id":
                kept_ids.append((name, KeptId.decode(value)))
            else:
                self.leaps[partition, tuple(name)] = Leap(*map(int, value.split()))
        if kept_ids:
            self.repeats.kept[partition] = dict(sorted(kept_ids, key=lambda item: item[1].turn))
        self._totals[partition] = self._totals.get(partition, Total()) + total_of(record.check for record in restored)

    def written_anew(self, partition: int) -> list[Change]:
        """All records of a partition, as if none had been written before."""
        ids = [
            (small.key_of("id", name), kept_id.encode())
            for name, kept_id in self.repeats.kept.get(partition, {}).items()
        ]
        mine = {keys: leap for (number, keys), leap in self.leaps.items() if number == partition}
        leaps = [(small.key_of("leap", list(keys)), _told(leap)) for keys, leap in mine.items()]
        return [self._written(partition, key, value) for key, value in (*ids, *leaps)]

    def _written(self, partition: int, key: bytes, value: bytes) -> Change:
        check = small.check_of(key, value)
        self._totals[partition] = self._totals.get(partition, Total()) + Total(1, check)
        return partition, key, small.sealed(check, value)

    def _erased(self, partition: int, key: bytes, value: bytes) -> Change:
        self._totals[partition] = self._totals.get(partition, Total()) + Total(-1, -small.check_of(key, value))
        return partition, key, None


def _told(leap: Leap) -> bytes:
    return f"{leap.step} {leap.events}".encode()


def parted(records: Iterable[StateRecord]) -> tuple[list[StateRecord], list[StateRecord]]:
    """Records of series, and those beside them."""
    parted_records: tuple[list[StateRecord], list[StateRecord]] = [], []
    for record in records:
        parted_records[record.series[:1] == b"{"].append(record)
    return parted_records
