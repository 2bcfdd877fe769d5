"""Puts good rows into the table of what a source said, each once: facts, or the events that facts are made from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract import KNOWN_AT
from headrace.features.keyed import joined
from headrace.home import Home
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Validation
    from headrace.store.delta import Written
    from headrace.store.facts import Part

TWIN = "_twin"
"""How many rows of the same ingest that say the same came before an event."""
_TIED = "conflicting duplicate: an earlier ingest stored other values that became known at this very time"
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
        self._system, self._table, self._events = system, home.raw(system), system.contract.aggregates
        moved = system.time is not None and system.contract.column(system.time).align
        self._moved = moved and not (own or self._events or system.leads)
        self._tied = own and not self._events and part is None
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

    def checked(self, found: Validation) -> Validation:
        """The outcome of a check, less the rows that contradict what an earlier ingest stored.

        Where times are moved down to their step, a row with another time in it and another value is no correction: it
        is another row of one step, as if both had come together. Where rows say when they became known, neither is one
        that became known when a stored one of other values did: nothing says which of them holds.
        """
        import polars as pl

        from headrace.contract.quarantine import ids_of, row_texts

        if not (self._moved or self._tied) or not found.good.height or not self._table.exists():
            return found
        rows = found.good.with_columns(self._contradicts(found.good))
        against = rows.filter(":against").select(self._system.contract.names)
        if not against.height:
            return found
        texts, label = row_texts(against), "conflicting duplicate"
        reason = f"{label}: an earlier ingest stored another row of this step; rows of one step are put together by "
        reason = _TIED if self._tied else reason + "Column(aggregate=...)"
        bad = pl.DataFrame([ids_of(texts), texts]).with_columns(
            against[self._system.event_time].alias("time"),
            rows.filter(":against")[KNOWN_AT],
            pl.lit([reason]).alias("reasons"),
        )
        reasons = dict(found.reasons) | {label: found.reasons.get(label, 0) + against.height}
        good = rows.filter(~pl.col(":against")).drop(":against")
        return replace(found, good=good, bad=pl.concat([found.bad, bad.select(found.bad.columns)]), reasons=reasons)

    def _contradicts(self, rows: pl.DataFrame) -> pl.Series:
        import polars as pl

        system, values = self._system, self._about["compare"]
        window = self._about["window"]
        first, last = (pl.lit(each, rows.schema[window]) for each in (rows[window].min(), rows[window].max()))
        facts = self._table.collect(self._table.scan(where=pl.col(window).is_between(first, last)))
        facts = facts.sort(KNOWN_AT, "_version", maintain_order=True)
        about = [*system.identity, *([KNOWN_AT] if self._tied else [])]
        stored = facts.unique(about, keep="last" if self._tied else "first", maintain_order=True)
        theirs = [name for name in (*values, *([] if self._tied else [KNOWN_AT])) if name not in about]
        stored = stored.select(
            *about, *(pl.col(name).alias(f":{name}") for name in theirs), pl.lit(True).alias(":there")
        )
        beside = joined(rows, stored, about)
        other = pl.any_horizontal(
            pl.lit(False), *(pl.col(n).ne_missing(pl.col(f":{n}")) for n in theirs if n != KNOWN_AT)
        )
        there = pl.col(":there")
        if not self._tied:
            there = there & (pl.col(KNOWN_AT) != pl.col(f":{KNOWN_AT}"))
        return beside.select((there & other).fill_null(False).alias(":against")).to_series()

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
