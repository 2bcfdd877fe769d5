"""Puts good rows into the table of what a source said, each once: facts, or the events that facts are made from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract import KNOWN_AT
from headrace.home import Home
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.delta import Written
    from headrace.store.facts import Part

TWIN = "_twin"
"""How many rows of the same ingest that say the same came before an event."""
_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Intake:
    """Adds good rows of one system.

    A fact is about its keys and event time, and another value is a correction. An event is told from another by all
    that its row says, and by its place among the same rows of one ingest: two equal sales are two, and the same file
    read again, or another that overlaps with it, adds nothing.

    Args:
        system: The declaration.
        home: Where the table is.
        as_of: When a correction that does not say so itself became known.
        own: Whether rows say themselves when they became known.
        part: What a row says beside its part known ahead, which is stored before it.
    """

    def __init__(self, system: System, home: Home, *, as_of: datetime, own: bool, part: Part | None = None) -> None:
        self._table, self._events = home.raw(system), system.contract.aggregates
        names, identity = system.contract.names, system.identity
        self._said = [*names, *([KNOWN_AT] if own and KNOWN_AT not in names else [])]
        if self._events:
            # An event stands, whatever time a later ingest derives for it.
            identity, compare, corrected_at = [*self._said, TWIN], [], None if own else _EVER
        else:
            compare, corrected_at = [name for name in names if name not in identity], None if own else as_of
        self._about: dict[str, Any] = {
            "identity": identity,
            "compare": compare,
            "window": system.time or next(k for k in system.keys if not system.contract.column(k).nullable),
            "corrected_at": corrected_at,
            "part": part,
        }

    def news(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows that `add` would add now; numbered, where they are events."""
        return self._table.news(self._numbered(rows), **self._about)

    def add(self, rows: pl.DataFrame) -> Written:
        """Add what is new.

        Raises:
            StoreError: The table could not be written.
        """
        return self._table.append(rows if TWIN in rows.columns else self._numbered(rows), **self._about)

    def _numbered(self, rows: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        return rows.with_columns(pl.int_range(pl.len()).over(self._said).alias(TWIN)) if self._events else rows
