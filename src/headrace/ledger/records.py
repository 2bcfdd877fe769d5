"""What the ledger keeps: predictions as they were answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from headrace.errors import LedgerDamagedError

DAMAGED_HINT = "headrace verify --deep names all that is damaged; put the ledger back from a backup"


class LedgerIdentity(NamedTuple):
    """What tells a ledger from every other one.

    Attributes:
        identity: Made up when it was made.
        place: Device and inodes of its files, which stay as long as a process has them open; None for a server.
    """

    identity: str
    place: tuple[int, ...] | None


class Entry(NamedTuple):
    """One prediction, as it was asked for and answered.

    Attributes:
        system: Name of the system.
        key: Idempotency key, unique within the system.
        id: Prediction id (UUID text). Ids that sort by time, like UUID version 7, are stored at a third of the cost
            of random ones.
        digest: Hex digest of the row that was sent: the same key with another digest is a conflict.
        inputs: The row as JSON.
        answer: The prediction as JSON, exactly as answered.
        pins: Id of the pins record, from `Ledger.pin`.
        model_version: The version that answered.
        created_at: UTC.
        trace: Of the request: 32 hexadecimal digits of W3C's trace, a hyphen, 16 of the caller's span (the server's,
            where that is recorded); after a blank its ``tracestate``, if any. Empty where it told of none. It is stored
            with the first entry of a key, and not read back with entries.
        strict: Whether the key must stand for an answer of this very version; not stored.
    """

    system: str
    key: str
    id: str
    digest: str
    inputs: bytes
    answer: bytes
    pins: str
    model_version: int
    created_at: datetime
    trace: str = ""
    strict: bool = False


@lru_cache(256)
def utc_text(time: datetime) -> str:
    """ISO 8601 in UTC with six decimals: always of one length, so texts sort as times do; PostgreSQL reads it too."""
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry of a row of the table, its own columns in their order.

    Raises:
        LedgerDamagedError: It is not what was written.
    """
    if not is_sound(row):
        raise LedgerDamagedError(
            f"the row of key {row[1]!r} is not what was written", where=str(row[2]), hint=DAMAGED_HINT
        )
    created = row[-2]
    moment = datetime.fromisoformat(created) if isinstance(created, str) else created.astimezone(UTC)
    return Entry(*(*row[:-2], moment))


def row_of(entry: Entry) -> tuple[Any, ...]:
    """The row of an entry: its own columns in their order, the seal last."""
    fields = *entry[:8], utc_text(entry.created_at)
    return *fields, seal_of(fields)


def seal_of(fields: Sequence[Any]) -> int:
    """A checksum of a row's own columns; it tells every flipped byte, and no forger.

    Raises:
        TypeError: A column has another type than was written.
    """
    system, key, name, digest, inputs, answer, pins, version, created = fields
    if not isinstance(created, str):
        created = utc_text(created)
    texts = "\0".join((system, key, name, digest, pins, str(version), created)).encode("utf-8", "surrogateescape")
    return crc32(answer, crc32(inputs, crc32(texts)))


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a row, seal last, is what was written; one without a seal is taken as it is."""
    if row[-1] is None:
        return True
    try:
        return bool(seal_of(row[:-1]) == row[-1])
    except (TypeError, AttributeError, UnicodeError):
        return False
