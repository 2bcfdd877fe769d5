"""Runs made ahead of decisions: held in memory until it is known that nothing would have been done otherwise.

What alarms cause at an evaluation time depends on what was predicted before it, and what is predicted after it on what
they cause. But they seldom cause anything. So a long stretch of runs is made as if they did not, with scores and
readings, and all decisions of the stretch are looked at together. Up to the first one that does something the runs
stand and are stored in a few commits; those after it were never there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.home import (
    ANOMALIES,
    DRIFT,
    DRIFT_COUNTS,
    EVENTS,
    METRICS,
    PREDICTIONS,
    QUARANTINE,
    RAW,
    READINGS,
    RUNS,
    WARNINGS,
    Home,
)

if TYPE_CHECKING:
    from headrace.store import Table
    from headrace.store.held import HeldAppend, HeldTable

_MADE = (PREDICTIONS, RUNS)
"""What runs write; the others follow from it."""
_HELD = (*_MADE, ANOMALIES, METRICS, DRIFT_COUNTS, DRIFT, READINGS)
"""In the order in which it is stored: each follows from those before it."""
_READ = (RAW, EVENTS, QUARANTINE, WARNINGS)
"""What is only read, as it is when it is first looked at."""


class HoldingHome(Home):
    """A home over another one, in which what runs, scores and rules write is held in memory.

    Args:
        home: The one that is read, and that gets what is released.
        system: The name of the only system whose tables are held.
    """

    def __init__(self, home: Home, system: str) -> None:
        vars(self).update(vars(home), store=home.store, registry=home.registry)
        self._holds = system
        self._tables: dict[str, HeldTable] = {}

    def table(self, system: str, name: str) -> Table:
        """One table of one system; rows that are appended to those of runs are held."""
        beneath = super().table(system, name)
        if system != self._holds or name not in (*_HELD, *_READ):
            return beneath
        if name not in self._tables:
            from headrace.store.held import HeldTable

            self._tables[name] = HeldTable(beneath)
        return self._tables[name]

    @property
    def held(self) -> dict[str, list[HeldAppend]]:
        """What is held, by table; it can be pickled."""
        return {name: list(table.held) for name, table in self._tables.items() if table.held}

    def take(self, held: Mapping[str, Sequence[HeldAppend]]) -> None:
        """Hold what another process held."""
        for name, appends in held.items():
            self.table(self._holds, name)
            self._tables[name].take(appends)

    def release(self, before: datetime | None = None) -> bool:
        """Store what is held, and hold nothing any more.

        Args:
            before: Only of runs before it, UTC, without what follows from them; None: everything.

        Returns:
            Whether what follows from the runs was stored: not where another process wrote meanwhile, as it then has
            not seen all that it says it saw. It is made anew by whoever comes next.

        Raises:
            StoreError: It cannot be written; what was written stays, and repeating the runs goes on from there.
        """
        import polars as pl

        where = None if before is None else pl.col("as_of") < pl.lit(before, pl.Datetime("us", "UTC"))
        stands = before is None
        for name in _HELD:
            table = self._tables.get(name)
            if table is None:
                continue
            if name in _MADE:
                expected = table.release(where)
                stands = stands and (expected or name == RUNS)
            elif stands:
                stands = table.release()
            else:
                table.leave()
        return stands
