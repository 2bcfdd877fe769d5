"""Simulations that people asked a server for: a short queue, one at a time, and what came of the newest ones."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, delete, func, insert, select, update

from headrace.errors import LedgerDamagedError, UsageError
from headrace.ledger.database import Database
from headrace.ledger.records import DAMAGED_HINT
from headrace.ledger.tables import simulations

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
WAITING = 8
"""Simulations that may wait for their turn, of all systems."""
KEPT = 20
"""Simulations of a system that are kept after their end."""
LARGEST = 4 * 2**20
"""Bytes of a result, compressed."""
SILENT = timedelta(seconds=30)
"""Whoever does a simulation and says nothing for so long is gone."""
GONE = "interrupted: the server that did it is gone"
_COLUMNS = tuple(column for column in simulations.columns if column.name not in ("beat_at", "result"))


@dataclass(frozen=True)
class QueuedSimulation:
    """One simulation.

    Attributes:
        id: Its id.
        system: Name of the system.
        by: What the token is called that asked for it.
        request: What was asked for, JSON-ready.
        state: ``queued running done failed cancelled``.
        created_at: When it was asked for, UTC.
        started_at: When it began.
        ended_at: When it ended, however it did.
        stage: What is being done.
        count: How many runs of the stage are done.
        total: Of how many.
        reason: Why it failed, or was cancelled.
    """

    id: str
    system: str
    by: str
    request: Mapping[str, Any]
    state: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stage: str = ""
    count: int = 0
    total: int = 0
    reason: str | None = None


class SimulationQueue:
    """The simulations of all systems. Errors are those of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, simulation: QueuedSimulation) -> QueuedSimulation | None:
        """Queue a simulation, durably, and let go of the oldest that ended.

        Returns:
            The one that has this id now: the very same where it was asked for before. None where too many wait.
        """

        def work(connection: Connection) -> QueuedSimulation | None:
            known = _by_id(connection, simulation.system, simulation.id)
            if known is not None:
                return known
            waiting = select(func.count()).select_from(simulations).where(simulations.c.state == QUEUED)
            if (connection.scalar(waiting) or 0) >= WAITING:
                return None
            values = vars(simulation) | {"request": dict(simulation.request)}
            connection.execute(insert(simulations).values(**values))
            ended = _ordered(select(simulations.c.id), simulation.system).where(simulations.c.ended_at.is_not(None))
            old = list(connection.scalars(ended.offset(KEPT - 1)))
            connection.execute(delete(simulations).where(simulations.c.id.in_(old)))
            return simulation

        return self._database.write(work)

    def claim(self, now: datetime, systems: Sequence[str]) -> QueuedSimulation | None:
        """The next one of these systems, now marked as being done; None where none waits, or any is being done."""

        def work(connection: Connection) -> QueuedSimulation | None:
            lost = (simulations.c.state == RUNNING) & (simulations.c.beat_at < now - SILENT)
            connection.execute(update(simulations).where(lost).values(state=FAILED, ended_at=now, reason=GONE))
            if connection.scalar(select(simulations.c.id).where(simulations.c.state == RUNNING).limit(1)) is not None:
                return None
            waits = (simulations.c.state == QUEUED) & simulations.c.system.in_(systems)
            query = select(*_COLUMNS).where(waits).order_by(simulations.c.created_at).limit(1)
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            values = {"state": RUNNING, "started_at": now, "beat_at": now}
            connection.execute(update(simulations).where(simulations.c.id == row["id"]).values(**values))
            return replace(_simulation(row), state=RUNNING, started_at=now)

        return self._database.write(work)

    @property
    def any_open(self) -> bool:
        """Whether one waits or is being done: cheap, and writes nothing."""
        query = select(simulations.c.id).where(simulations.c.state.in_((QUEUED, RUNNING))).limit(1)
        return self._database.read(lambda connection: connection.scalar(query) is not None)

    def beat(self, name: str, now: datetime) -> bool:
        """Say that a simulation is being done; whether it is to go on: nobody cancelled it, and it did not end."""
        return self._change(name, (RUNNING,), {"beat_at": now})

    def progress(self, name: str, stage: str, count: int, total: int) -> None:
        """Say what is being done, and how far it is."""
        self._change(name, (RUNNING,), {"stage": stage, "count": count, "total": total})

    def settle(self, name: str, now: datetime, *, result: bytes | None = None, reason: str | None = None) -> bool:
        """Say what came of one that is being done: its result as JSON, or why it failed.

        Returns:
            Whether it was being done: nothing changes of one that ended.

        Raises:
            UsageError: The result is too large to be kept.
        """
        packed = None if result is None else zlib.compress(result, 6)
        if packed is not None and len(packed) > LARGEST:
            hint = "simulate fewer runs or policies, or use headrace simulate"
            raise UsageError(f"the result has {len(packed) / 2**20:.1f} MiB compressed, too much", hint=hint)
        state = FAILED if packed is None else DONE
        return self._change(name, (RUNNING,), {"state": state, "ended_at": now, "result": packed, "reason": reason})

    def cancel(self, system: str, name: str, now: datetime, by: str) -> QueuedSimulation | None:
        """Cancel one that waits or is being done; of one that ended nothing changes.

        Returns:
            As it is now; None where there is none.
        """
        values = {"state": CANCELLED, "ended_at": now, "reason": f"by {by}"}
        self._change(name, (QUEUED, RUNNING), values, system)
        return self.get(system, name, now)

    def get(self, system: str, name: str, now: datetime) -> QueuedSimulation | None:
        """One of a system; None where there is none."""
        return self._database.read(lambda connection: _by_id(connection, system, name, now))

    def result(self, system: str, name: str) -> bytes | None:
        """What came of one, as JSON; None where nothing did.

        Raises:
            LedgerDamagedError: It is not what was written.
        """
        query = select(simulations.c.result).where(simulations.c.system == system, simulations.c.id == name)
        packed = self._database.read(lambda connection: connection.scalar(query))
        try:
            return None if packed is None else zlib.decompress(packed)
        except zlib.error as error:
            raise LedgerDamagedError("a result is not what was written", where=name, hint=DAMAGED_HINT) from error

    def newest(self, system: str, now: datetime) -> list[QueuedSimulation]:
        """All that are kept of a system, those asked for last first."""
        query = _ordered(select(*_COLUMNS, simulations.c.beat_at), system)
        return self._database.read(
            lambda connection: [_simulation(row, now) for row in connection.execute(query).mappings()]
        )

    def _change(self, name: str, states: tuple[str, ...], values: Mapping[str, Any], system: str | None = None) -> bool:
        condition = (simulations.c.id == name) & simulations.c.state.in_(states)
        if system is not None:
            condition &= simulations.c.system == system
        query = update(simulations).where(condition).values(**values)
        return self._database.write(lambda connection: connection.execute(query).rowcount > 0)


def _ordered(query: Select[Any], system: str) -> Select[Any]:
    query = query.where(simulations.c.system == system)
    return query.order_by(simulations.c.created_at.desc(), simulations.c.id.desc())


def _by_id(connection: Connection, system: str, name: str, now: datetime | None = None) -> QueuedSimulation | None:
    query = select(*_COLUMNS, simulations.c.beat_at).where(simulations.c.system == system, simulations.c.id == name)
    row = connection.execute(query).mappings().first()
    return None if row is None else _simulation(row, now)


def _simulation(row: RowMapping, now: datetime | None = None) -> QueuedSimulation:
    """A row of the table; one that nobody does any more has failed, whether or not that is written by now."""
    simulation = QueuedSimulation(**{column.name: row[column.name] for column in _COLUMNS})
    if now is not None and simulation.state == RUNNING and row["beat_at"] < now - SILENT:
        return replace(simulation, state=FAILED, ended_at=row["beat_at"], reason=GONE)
    return simulation
