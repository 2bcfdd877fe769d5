"""What was answered to which row: per partition the newest keys, each with a digest of its row and its answer.

A record of the state topic is one key's; it is written when the key is first answered and never changed. Where there
are more keys than are remembered, the oldest one goes, by its place in the log alone: so a partition's log says what is
remembered, whoever reads it and however fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import NamedTuple

from headrace.errors import StreamError
from headrace.serving.engine.changelog import Change, DamagedRecord, StateRecord
from headrace.serving.engine.positions import Total

_FORMAT = 1
_DIGEST, _CHECK = 24, 8
"""Letters of a row's digest, and bytes of a checksum."""
_OVERHEAD = 700
"""Bytes that an entry takes beside its texts, about."""
_PART = 10_000


class KeptAnswer(NamedTuple):
    """What was said to a key: `digest` of its row, and the `answer` but for the event that it answers."""

    digest: str
    answer: bytes


class KeyMemory:
    """The keys of the partitions that a worker has.

    Args:
        most: How many keys of a partition are remembered.

    Attributes:
        totals: What the records of each partition come to.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[int, dict[str, KeptAnswer]] = {}
        self._bytes: dict[int, int] = {}
        self.totals: dict[int, Total] = {}

    def get(self, partition: int, key: str) -> KeptAnswer | None:
        """What was said to a key; None if it is new, or forgotten."""
        kept_answers = self._kept.get(partition)
        return None if kept_answers is None else kept_answers.get(key)

    def put(self, partition: int, key: str, kept: KeptAnswer) -> list[Change]:
        """Remember a key that is new; returns the records of the change, those of forgotten keys among them."""
        kept_answers = self._kept.setdefault(partition, {})
        changes: list[Change] = [(partition, key.encode(), self._write(partition, key, kept))]
        kept_answers[key] = kept
        while len(kept_answers) > self._most:
            oldest = next(iter(kept_answers))
            oldest_answer = kept_answers.pop(oldest)
            self._count(partition, oldest, oldest_answer, -1, _check(oldest.encode(), oldest_answer))
            changes.append((partition, oldest.encode(), None))
        return changes

    def _write(self, partition: int, key: str, kept_answer: KeptAnswer) -> bytes:
        check = _check(key.encode(), kept_answer)
        self._count(partition, key, kept_answer, 1, check)
        return bytes([_FORMAT]) + check.to_bytes(_CHECK, "little") + kept_answer.digest.encode() + kept_answer.answer

    def _count(self, partition: int, key: str, kept_answer: KeptAnswer, sign: int, check: int) -> None:
        self.totals[partition] = self.totals.get(partition, Total()) + Total(sign, sign * check)
        size = len(key) + len(kept_answer.digest) + len(kept_answer.answer) + _OVERHEAD
        self._bytes[partition] = self._bytes.get(partition, 0) + sign * size

    def drop(self, partition: int) -> None:
        """Forget all keys of a partition."""
        self._kept.pop(partition, None)
        self._bytes.pop(partition, None)
        self.totals.pop(partition, None)

    def checked(self, live: Mapping[bytes, bytes]) -> tuple[list[StateRecord], list[DamagedRecord]]:
        """The good and the bad of the records of a partition, each key's last one, in their order.

        Raises:
            StreamError: They were written by a newer version.
        """
        good: list[StateRecord] = []
        faults: list[DamagedRecord] = []
        for key, value in live.items():
            if not _is_key(key):
                faults.append(DamagedRecord(key, "is not the key of a row", foreign=True))
                continue
            if len(value) <= 1 + _CHECK + _DIGEST:
                faults.append(DamagedRecord(key, f"is cut off after {len(value)} bytes"))
                continue
            kept_answer, check = _decoded(value), int.from_bytes(value[1 : 1 + _CHECK], "little")
            if kept_answer is None or _check(key, kept_answer) != check:
                faults.append(DamagedRecord(key, "differs from its checksum"))
            elif value[0] != _FORMAT:
                reason = f"has format {value[0]}, this version knows {_FORMAT}"
                raise StreamError(reason, where=f"the record {key.decode(errors='replace')}")
            else:
                good.append(StateRecord(key, 0, value, check, True))
        return good, faults

    def restore(self, partition: int, records: Iterable[StateRecord]) -> int:
        """Put in the records of a partition, in their order; returns how many there are."""
        kept_answers = self._kept.setdefault(partition, {})
        for record in records:
            kept_answer, key = _decoded(record.value), record.series.decode()
            assert kept_answer is not None, "it was checked"
            kept_answers[key] = kept_answer
            self._count(partition, key, kept_answer, 1, record.check)
        return len(kept_answers)

    def written_anew(self, partition: int) -> Iterator[list[Change]]:
        """All records of a partition, as if none had been written before, in parts."""
        items = list(self._kept.get(partition, {}).items())
        self.totals.pop(partition, None)
        self._bytes.pop(partition, None)
        for begin in range(0, len(items), _PART):
            part = items[begin : begin + _PART]
            yield [(partition, key.encode(), self._write(partition, key, kept_answer)) for key, kept_answer in part]

    def count(self, partition: int) -> int:
        """How many keys of a partition are remembered."""
        return len(self._kept.get(partition, ()))

    def size(self) -> tuple[int, int]:
        """How many keys are remembered, and about how many bytes they take."""
        return sum(map(len, self._kept.values())), sum(self._bytes.values())


def _decoded(value: bytes) -> KeptAnswer | None:
    begin = 1 + _CHECK
    try:
        return KeptAnswer(value[begin : begin + _DIGEST].decode("ascii"), value[begin + _DIGEST :])
    except UnicodeDecodeError:
        return None


def _check(key: bytes, kept_answer: KeptAnswer) -> int:
    content = b"%b\x00%b%b" % (key, kept_answer.digest.encode(), kept_answer.answer)
    return int.from_bytes(blake2b(content, digest_size=_CHECK).digest(), "little")


def _is_key(key: bytes) -> bool:
    if key[:1] != b"[":
        return False
    try:
        named = json.loads(key)
    except ValueError:
        return False
    return isinstance(named, list)
