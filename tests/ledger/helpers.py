"""Entries for tests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from headrace.ledger import Entry, Ledger

NOW = datetime(2026, 3, 2, 12, 30, 15, 123456, tzinfo=UTC)
PINS = {"model_version": 3, "feature_version": "4c1f", "as_of": "2026-03-02T12:00:00Z"}


def entry(ledger: Ledger, key: str, row: str = "a", **other: Any) -> Entry:
    """A prediction for a row that is told from others by one word."""
    values: dict[str, Any] = {
        "system": "titanic",
        "key": key,
        "id": str(uuid.uuid4()),
        "digest": row.encode().hex(),
        "inputs": f'{{"row": "{row}"}}'.encode(),
        "answer": b'{"Survived": 1}',
        "pins": ledger.pin(PINS),
        "model_version": 3,
        "created_at": NOW,
    }
    return Entry(**values | other)
