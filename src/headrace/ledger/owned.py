"""What the ledger has of one system as a whole: how much, taking it away, giving it another name."""

from __future__ import annotations

from sqlalchemy import Connection, Table, bindparam, delete, func, select, update

from headrace.errors import UsageError
from headrace.ledger.database import Database
from headrace.ledger.records import is_sound, seal_of
from headrace.ledger.tables import (
    COLUMNS,
    audit,
    events,
    followers,
    latencies,
    notices,
    pins,
    predictions,
    shadows,
    simulations,
    traces,
)

_AT_ONCE = 10_000


class Owned:
    """The rows of whole systems. Stop what serves a system before it is changed: a server knows what it wrote."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def systems(self) -> list[str]:
        """Names of the systems that have anything here, sorted."""

        def work(connection: Connection) -> set[str]:
            tables = (predictions, followers, notices)
            return {name for table in tables for name in connection.scalars(select(table.c.system).distinct())}

        return sorted(self._database.read(work))

    def counts(self, system: str) -> dict[str, int]:
        """Rows of a system: ``predictions shadows``."""

        def work(connection: Connection) -> dict[str, int]:
            return {
                table.name: connection.scalar(select(func.count()).select_from(table).where(table.c.system == system))
                or 0
                for table in (predictions, shadows)
            }

        return self._database.read(work)

    def model_versions(self, system: str) -> set[int]:
        """The versions that answered, or stood beside an answer."""

        def work(connection: Connection) -> set[int]:
            return {
                number
                for table in (predictions, shadows, followers)
                for number in connection.scalars(
                    select(table.c.model_version).where(table.c.system == system).distinct()
                )
            }

        return self._database.read(work)

    def forget(self, system: str) -> dict[str, int]:
        """Take all rows of a system away, in one durable transaction; how many went, by kind."""

        def work(connection: Connection) -> dict[str, int]:
            ids = select(predictions.c.id).where(predictions.c.system == system)
            shadow_ids = select(shadows.c.id).where(shadows.c.system == system)
            both = (predictions, shadows)
            own = {n for t in both for n in connection.scalars(select(t.c.pins).where(t.c.system == system).distinct())}
            connection.execute(delete(traces).where(traces.c.prediction.in_(ids.union(shadow_ids))))
            counts = {}
            for table in (events, shadows, followers, notices, latencies, simulations, predictions):
                counts[table.name] = connection.execute(delete(table).where(table.c.system == system)).rowcount
            pinned = select(predictions.c.pins).union(select(shadows.c.pins))
            digests = sorted(own)  # no others: a server of another system may have pinned, and not answered yet
            for first in range(0, len(digests), _AT_ONCE):
                some = digests[first : first + _AT_ONCE]
                connection.execute(delete(pins).where(pins.c.digest.in_(some), pins.c.digest.not_in(pinned)))
            return counts

        return self._database.write(work)

    def rename(self, system: str, new_name: str) -> None:
        """Give all rows of a system, its audit trail too, to another name, in one durable transaction; ids stay.

        Raises:
            UsageError: The other name has rows.
        """

        def work(connection: Connection) -> None:
            tables = (predictions, followers, notices)
            old, new = ({t for t in tables if _has(connection, t, name)} for name in (system, new_name))
            if old and new:
                raise UsageError(f"the ledger has rows of {new_name!r}", where=new_name, hint="choose another name")
            self._resealed(connection, system, new_name)
            for table in (events, shadows, followers, notices, latencies, simulations, audit):
                connection.execute(update(table).where(table.c.system == system).values(system=new_name))

        self._database.write(work)

    def _resealed(self, connection: Connection, system: str, new_name: str) -> None:
        """The name is a part of a row's seal. One that was damaged stays so, and one without a seal without."""
        columns = [predictions.c[name] for name in COLUMNS]
        change = update(predictions).where(predictions.c.sequence == bindparam("number"))
        change = change.values(system=new_name, seal=bindparam("checked"))
        while rows := connection.execute(
            select(predictions.c.sequence, *columns).where(predictions.c.system == system).limit(_AT_ONCE)
        ).all():
            told = []
            for number, *row in rows:
                sound = row[-1] is not None and is_sound(row)
                told.append({"number": number, "checked": seal_of((new_name, *row[1:-1])) if sound else row[-1]})
            connection.execute(change, told)


def _has(connection: Connection, table: Table, system: str) -> bool:
    return connection.scalar(select(table.c.system).where(table.c.system == system).limit(1)) is not None
