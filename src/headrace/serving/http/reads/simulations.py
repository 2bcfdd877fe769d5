"""Simulations that people asked for: all that are kept of a system, and one with what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import NotFoundError
from headrace.serving.http.reads.paging import page
from headrace.serving.http.reads.reader import ReadHome

if TYPE_CHECKING:
    from headrace.ledger.simulations import QueuedSimulation


def simulations(place: ReadHome, name: str, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """Simulations of a system, those asked for last first."""
    rows = []
    if place.home.has_ledger:
        rows = [row_of(simulation) for simulation in place.home.ledger.simulations.newest(name, datetime.now(UTC))]
    part, following = page(rows, limit, cursor, lambda row: row["id"])
    return {"simulations": part, "next": following}


def simulation(place: ReadHome, name: str, *, simulation_id: str) -> dict[str, Any]:
    """One simulation: how far it is, and what came of it, a document for each policy."""
    row = None
    if place.home.has_ledger:
        row = place.home.ledger.simulations.get(name, simulation_id, datetime.now(UTC))
    if row is None:
        raise missing(name, simulation_id)
    body = place.home.ledger.simulations.result(name, row.id)
    return row_of(row) | {"result": None if body is None else msgspec.Raw(body)}


def row_of(simulation: QueuedSimulation) -> dict[str, Any]:
    """A simulation as the API tells it: what was asked for is among its own fields."""
    fields = {part: value for part, value in vars(simulation).items() if part != "request"}
    progress = {part: fields.pop(part) for part in ("stage", "count", "total")}
    return {**fields, **simulation.request, "progress": progress}


def missing(system: str, name: str) -> NotFoundError:
    """There is no such simulation."""
    hint = "the newest 20 are kept"
    return NotFoundError(f"{system} has no simulation {name[:80]!r}", where="simulation_id", hint=hint)
