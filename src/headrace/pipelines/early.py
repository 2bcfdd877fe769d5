"""What a row tells before its time: columns known in advance are facts of their own, which the whole row completes.

A row whose `temp` is declared ``known_future="48h"`` is two facts: from 48 hours before its event time the temperature
is known and all else is missing; from the event time and the source's lag on the row is known as a whole. Columns of
different leads make one fact each lead. So a run as of any time sees what it would have seen live, and one ordinary
file suffices.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.contract import KnownTimes
from headrace.store.facts import RowParts
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import CheckContext, Contract
    from headrace.grid import Grid
    from headrace.store import Table

_AT_THE_TIME = timedelta(0)


class Early:
    """Takes the early facts out of frames of one source, and stores them.

    Args:
        system: The declaration.
        context: How its rows are checked. A row that is bad tells nothing early; it is set apart when its time comes.
        contract: What they must look like.
    """

    def __init__(self, system: System, context: CheckContext, contract: Contract) -> None:
        self._system, self._seen, self._whole = system, context, contract
        timed = context["known"].column is not None  # then a row says itself since when it is known, unless a lead does
        leads = {name: lead for name, lead in system.leads.items() if not timed or lead is not True}
        order = sorted(set(leads.values()), key=lambda lead: timedelta.max if lead is True else lead, reverse=True)
        self._leads = order
        self._columns = [[n for n, lead in leads.items() if lead in order[: i + 1]] for i in range(len(order))]
        self._rows: list[list[pl.DataFrame]] = [[] for _ in order]

    def __bool__(self) -> bool:
        return bool(self._leads)

    @property
    def told(self) -> bool:
        """Whether some row that was taken tells anything yet."""
        return any(frame.height for rows in self._rows for frame in rows)

    @property
    def rest(self) -> RowParts | None:
        """What a whole row is beside its early facts."""
        return RowParts(self._system.event_time) if self else None

    def take(self, frame: pl.DataFrame, grid: Grid | None = None) -> pl.DataFrame:
        """Note what the rows tell early, on a grid if it was found by now; returns the frame as it came."""
        from headrace.contract import check

        for lead, columns, rows in zip(self._leads, self._columns, self._rows, strict=True):
            known: KnownTimes = self._seen["known"].model_copy(update={"ahead": lead, "target": None})
            context: CheckContext = {**self._seen, "known": known, "grid": grid or self._seen["grid"]}
            rows.append(check(self._contract(columns), frame, **context).good)
        return frame

    def store(self, raw: Table, whole: pl.DataFrame) -> int:
        """Store what was noted and is new; returns the number of facts.

        Args:
            raw: The table of the system's facts.
            whole: Rows, or none, with every column that the facts have.
        """
        import polars as pl

        if not self:
            return 0
        added, time = 0, self._system.event_time
        ends = [*(lead for lead in self._leads[1:] if lead is not True), _AT_THE_TIME]
        for columns, parts, end in zip(self._columns, self._rows, ends, strict=False):
            part = RowParts(time, end)
            present = pl.any_horizontal(pl.col(columns).is_not_null())
            rows = pl.concat(parts).filter(present & (pl.col("known_at") < pl.col(time) - end))
            lacking = {name: kind for name, kind in whole.schema.items() if name not in rows.columns}
            rows = rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in lacking.items())
            written = raw.append(
                rows.select(whole.columns),
                identity=self._system.identity,
                compare=columns,
                window=time,
                corrected_at=self._seen["as_of"],
                part=part,
            )
            added += written.added
        return added

    def _contract(self, columns: list[str]) -> Contract:
        names = {*self._system.identity, *columns}
        columns_there = tuple(column for column in self._whole.columns if column.name in names)
        update = {"columns": columns_there, "rules": (), "staleness": None, "allow_empty": True}
        return self._whole.model_copy(update=update)
