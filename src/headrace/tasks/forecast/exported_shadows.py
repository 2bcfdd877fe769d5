"""What versions said to posted events beside the one that answered, from the ledger into a table of its own."""

from __future__ import annotations

import json

from headrace.home import SHADOWS, Home
from headrace.lineage import ROLE, SHADOW, SHADOW_OF
from headrace.system import System
from headrace.tasks.forecast.answers import StoredAnswers
from headrace.tasks.rows.inference import SEQUENCE
from headrace.tasks.rows.shadows import exported_of

_PART = 2_000
"""Answers that are computed again at once."""


def export_shadows(system: System, home: Home, until: int) -> dict[str, int]:
    """Export what they said to events that are in the tables; returns ``predictions differing``.

    Each is computed again from the tables on the way: `differing` counts those that are not equal.

    Args:
        system: The declaration.
        home: Where ledger and tables are.
        until: Sequence number of the last entry whose event is in the tables.

    Raises:
        LedgerError: The ledger cannot be read.
        StoreError: A table cannot be read or written.
    """
    import polars as pl

    stored = StoredAnswers(system, home, SHADOWS, {ROLE: pl.String, SHADOW_OF: pl.String, SEQUENCE: pl.Int64})
    for follower, _ in home.ledger.shadows.followers(system.name):
        after = exported_of(system, home, follower.model_version)
        for shadows in home.ledger.shadows.parts(system.name, follower, after=after, until=until, limit=_PART):
            part = [(shadow, entry, json.loads(shadow.answer)) for shadow, entry in shadows]
            stored.add(
                (answer | {ROLE: SHADOW, SHADOW_OF: entry.id, SEQUENCE: shadow.of}, entry.created_at)
                for shadow, entry, answer in part
                if "predictions" in answer
            )
    return stored.counts
