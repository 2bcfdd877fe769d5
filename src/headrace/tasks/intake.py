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
    from headrace.store.facts import RowParts
    from headrace.store.written import Written

TWIN = "_twin"
"""How many rows of the same ingest that say the same came before an event."""
_LABEL = "conflicting duplicate"
_MOVED = f"{_LABEL}: an earlier ingest stored another row of this step; rows of one step are put together by "
_MOVED += "Column(aggregate=...)"
_TIED = f"{_LABEL}: an earlier ingest stored other values that became known at this very time"
_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Intake:
    """Adds good rows of one system.

    A fact is about its keys and event time, and another value is a correction. An event is told from another by all
    that its row says, and by its place among the same rows of one ingest: two equal sales are two, and the same file
    read again, or another that overlaps with it, adds nothing. A target that is missing is not known yet: it takes no
    known one's place, unless `Source.retracts`.

    Args:
        system: The declaration.
        home: Where the table is.
        as_of: When a correction that does not say so itself became known.
        own: Whether rows say themselves when they became known.
        part: What a row says beside its part known in advance, which is stored before it.
    """

    def __init__(self, system: System, home: Home, *, as_of: datetime, own: bool, part: RowParts | None = None) -> None:
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
            "awaited": None if self._events or system.source.retracts else system.target,
        }

    @property
    def window(self) -> str:
        """The column by whose range the table looks up what is stored."""
        return str(self._about["window"])

    def checked(self, found: Validation) -> Validation:
        """The outcome of a check, less the rows that contradict what an earlier ingest stored.

        Where times are moved down to their step, a row with another time in it and another value is no correction: it
        is another row of one step, as if both had come together. Where rows say when they became known, neither is one
        that became known when a stored one of other values did: nothing says which of them holds.
        """
        import polars as pl

        from headrace.contract.quarantine import ids_of, row_texts

        marks = self.against(found.good)
        if marks is None or not marks.any():
            return found
        rows = found.good.with_columns(marks)
        against = rows.filter(":against").select(self._system.contract.names)
        texts, reason = row_texts(against), self.said_against
        time = self._system.time
        times = pl.lit(None, pl.Datetime("us", "UTC")) if time is None else against[time]
        bad = pl.DataFrame([ids_of(texts), texts]).with_columns(
            times.alias("time"),
            rows.filter(":against")[KNOWN_AT],
            pl.lit([reason]).alias("reasons"),
        )
        reasons = dict(found.reasons) | {_LABEL: found.reasons.get(_LABEL, 0) + against.height}
        good = rows.filter(~pl.col(":against")).drop(":against")
        return replace(found, good=good, bad=pl.concat([found.bad, bad.select(found.bad.columns)]), reasons=reasons)

    @property
    def said_against(self) -> str:
        """What is said of a row that `against` marks."""
        return _TIED if self._tied else _MOVED

    def against(self, rows: pl.DataFrame) -> pl.Series | None:
        """Which rows contradict what an earlier ingest stored, as ``:against``; None where none can."""
        if not (self._moved or self._tied) or not rows.height or not self._table.exists():
            return None
        return self._contradicts(rows)

    def _contradicts(self, rows: pl.DataFrame) -> pl.Series:
        import polars as pl

        system, values = self._system, self._about["compare"]
        window = self._about["window"]
        first, last = (pl.lit(bound, rows.schema[window]) for bound in (rows[window].min(), rows[window].max()))
        facts = self._table.collect(self._table.scan(where=pl.col(window).is_between(first, last)))
        facts = facts.sort(KNOWN_AT, "_version", maintain_order=True)
        identity = [*system.identity, *([KNOWN_AT] if self._tied else [])]
        stored = facts.unique(identity, keep="last" if self._tied else "first", maintain_order=True)
        names = [name for name in (*values, *([] if self._tied else [KNOWN_AT])) if name not in identity]
        stored = stored.select(
            *identity, *(pl.col(name).alias(f":{name}") for name in names), pl.lit(True).alias(":there")
        )
        pairs = joined(rows, stored, identity)
        other = pl.any_horizontal(pl.lit(False), *(self._differs(name) for name in names if name != KNOWN_AT))
        present = pl.col(":there")
        if not self._tied:
            present = present & (pl.col(KNOWN_AT) != pl.col(f":{KNOWN_AT}"))
        return pairs.select((present & other).fill_null(False).alias(":against")).to_series()

    def _differs(self, name: str) -> pl.Expr:
        """Whether a row and a stored one cannot both be right about a column."""
        import polars as pl

        own, stored = pl.col(name), pl.col(f":{name}")
        differs = own.ne_missing(stored)
        return differs & own.is_not_null() & stored.is_not_null() if name == self._about["awaited"] else differs

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
