"""What the ledger keeps: predictions as they were answered, and alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


class Known(NamedTuple):
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
        trace: Of the request: 32 hexadecimal digits of W3C's trace, a hyphen, 16 of the caller's span. Empty where it
            told of none. It is stored with the first entry of a key, and not read back with entries.
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


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry of a row of the table, its own columns in their order."""
    created = row[-1]
    at = datetime.fromisoformat(created) if isinstance(created, str) else created.astimezone(UTC)
    return Entry(*(*row[:-1], at))


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold that was passed.

    Attributes:
        id: Made by the caller from what the alert is about, so that raising it twice is one alert.
        system: Name of the system.
        severity: ``warning`` or ``alarm``.
        name: The rule that was broken.
        message: For people.
        opened_at: UTC.
        closed_at: UTC; None while it is open.
        details: JSON-ready.
    """

    id: str
    system: str
    severity: str
    name: str
    message: str
    opened_at: datetime
    closed_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
