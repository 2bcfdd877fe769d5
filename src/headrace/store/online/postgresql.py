"""The online side on a PostgreSQL server, by psycopg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from headrace.errors import ConfigError, OnlineUnavailableError, StoreError
from headrace.store.online.base import Batch, State
from headrace.store.online.connections import Connections

if TYPE_CHECKING:
    from headrace.store.bounded import BoundedConnection

T = TypeVar("T")
FORMAT = 1

_PART = 10_000
"""Facts that one statement brings: each has to be done within the time-out."""
_CLEARING = 600
"""Seconds in which everything of a group may be replaced."""
_LOCK = int.from_bytes(b"headonln")  # an advisory lock of ours: tables that are missing are made by one at a time
_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS headrace_online",
    """CREATE TABLE IF NOT EXISTS headrace_online.groups (
        name text PRIMARY KEY, version bigint NOT NULL, since bigint NOT NULL, shape text NOT NULL,
        format integer NOT NULL
    )""",
    # "C": a key is bytes, whatever the database's language.
    """CREATE TABLE IF NOT EXISTS headrace_online.facts (
        name text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, time bigint NOT NULL, known_at bigint NOT NULL,
        version bigint NOT NULL, payload bytea NOT NULL, PRIMARY KEY (name, key, time, known_at, version)
    )""",
)
_STATE = "SELECT version, since, shape, format FROM headrace_online.groups WHERE name = %s"
_NEWEST = """
    SELECT g.version, g.since, g.shape, g.format, f.payload
    FROM headrace_online.groups AS g
    LEFT JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS wanted (key, place) ON true
    LEFT JOIN LATERAL (
        SELECT payload FROM headrace_online.facts
        WHERE name = g.name AND key = wanted.key AND time <= %(at)s AND known_at <= %(at)s
        ORDER BY time DESC, known_at DESC, version DESC LIMIT 1
    ) AS f ON true WHERE g.name = %(name)s ORDER BY wanted.place"""
_LAST = """
    SELECT payload FROM (
        SELECT DISTINCT ON (time) time, payload FROM headrace_online.facts
        WHERE name = %s AND key = %s AND time <= %s AND known_at <= %s
        ORDER BY time DESC, known_at DESC, version DESC
    ) AS f ORDER BY time DESC LIMIT %s"""
_INSERT = """
    INSERT INTO headrace_online.facts SELECT %s, * FROM
    unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]) ON CONFLICT DO NOTHING"""
_PRUNE = """
    DELETE FROM headrace_online.facts AS f USING (
        SELECT key, time, known_at, version,
            dense_rank() OVER (PARTITION BY key ORDER BY time DESC) AS place,
            row_number() OVER (PARTITION BY key, time ORDER BY known_at DESC, version DESC) AS turn
        FROM headrace_online.facts
        WHERE name = %(name)s AND key = ANY(%(keys)s) AND time <= %(since)s AND known_at <= %(since)s
    ) AS old WHERE f.name = %(name)s AND (f.key, f.time, f.known_at, f.version)
        = (old.key, old.time, old.known_at, old.version) AND (old.place > %(keep)s OR old.turn > 1)"""
_SET = """
    INSERT INTO headrace_online.groups VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE
    SET version = excluded.version, since = excluded.since, shape = excluded.shape, format = excluded.format"""


class PostgreSQL:
    """Readers see one snapshot of one statement; writers of one group take turns by an advisory lock.

    Args:
        uri: ``postgresql://user:password@host/database``.
        timeout: Longest wait in seconds, to connect and for every statement.
    """

    embedded = False

    def __init__(self, uri: str, timeout: float) -> None:
        if find_spec("psycopg") is None:
            raise ConfigError("PostgreSQL needs psycopg", where="online_uri", hint="pip install 'headrace[postgres]'")
        scheme, _, rest = uri.partition("://")
        self._uri, parts = f"{scheme.partition('+')[0]}://{rest}", urlsplit(uri)
        self._where = f"{parts.hostname or 'localhost'}{parts.path}"  # never the password
        # The server's own time-out comes first, as long as there is a server that does not stand still.
        self._timeout, self._longest = timeout, timeout + 1
        self._connections = Connections(self._connect)

    def state(self, group: str) -> State | None:
        """One row."""
        return self._run(lambda connection: self._state(connection, group))

    def newest(self, group: str, keys: Sequence[str], at: int) -> tuple[State, list[bytes | None]] | None:
        """One statement, which the server plans once; the keys travel as one array."""
        given = {"name": group, "keys": list(keys), "at": at}
        rows = self._run(lambda connection: connection.execute(_NEWEST, given, prepare=True).fetchall())
        if not rows:
            return None
        return self._known(rows[0][:4]), [row[4] for row in rows] if keys else []

    def last(self, group: str, key: str, count: int, at: int) -> list[bytes]:
        """A key has few facts, so going through all of them is quick."""
        given = (group, key, at, at, count)
        return [row[0] for row in self._run(lambda connection: connection.execute(_LAST, given).fetchall())]

    def write(self, group: str, batch: Batch) -> bool:
        """A connection that dies is replaced once: writing the same again changes nothing."""

        def transaction(connection: BoundedConnection) -> bool:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (group, _LOCK))
                connection.longest = self._longest if batch.after is not None else _CLEARING + 1
                try:
                    return self._write(connection, group, batch)
                finally:
                    connection.longest = self._longest

        return self._run(transaction)

    def close(self) -> None:
        """Those that are free."""
        self._connections.close()

    def _write(self, connection: BoundedConnection, group: str, batch: Batch) -> bool:
        state, present = batch.state, self._state(connection, group)
        if batch.after is None:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_CLEARING * 1000),))
            connection.execute("DELETE FROM headrace_online.facts WHERE name = %s", (group,))
        elif present is None or present.version < batch.after or present.shape != state.shape:
            return False
        else:
            state = State(max(state.version, present.version), max(state.since, present.since), state.shape)
        for start in range(0, len(batch.facts), _PART):
            part = batch.facts[start : start + _PART]
            connection.execute(_INSERT, (group, *(list(column) for column in zip(*part, strict=True))))
            if batch.after is not None:
                keys = sorted({fact.key for fact in part})
                connection.execute(_PRUNE, {"name": group, "keys": keys, "since": state.since, "keep": batch.keep})
        connection.execute(_SET, (group, *state, FORMAT))
        return True

    def _state(self, connection: BoundedConnection, group: str) -> State | None:
        row = connection.execute(_STATE, (group,)).fetchone()
        return None if row is None else self._known(row)

    def _known(self, row: Sequence[Any]) -> State:
        *state, found = row
        if found > FORMAT:
            raise StoreError(f"it has format {found}, this headrace knows {FORMAT}", where=self._where, hint="upgrade")
        return State(*state)

    def _connect(self) -> BoundedConnection:
        from headrace.store.bounded import connect

        milliseconds = int(self._timeout * 1000)
        connection = connect(
            self._longest,
            self._uri,
            autocommit=True,
            connect_timeout=max(int(self._timeout), 2),
            application_name="headrace",
            tcp_user_timeout=milliseconds,
            options=f"-c statement_timeout={milliseconds} -c synchronous_commit=off",
        )
        try:
            if connection.execute("SELECT to_regclass('headrace_online.facts')").fetchone() == (None,):
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    for statement in _MAKE:
                        connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _run(self, work: Callable[[BoundedConnection], T]) -> T:
        """What `work` returns; run once more on a new connection where the old one has died."""
        import psycopg

        try:
            connection = self._connections.take()
            try:
                return work(connection)
            except psycopg.OperationalError:
                if not connection.closed:
                    raise
                self._connections.close()  # the others have died with it
                connection = self._connections.take()
                return work(connection)
            finally:
                if not connection.closed:
                    self._connections.give(connection)
        except psycopg.OperationalError as error:
            raise OnlineUnavailableError(f"cannot be used now: {_first_line(error)}", where=self._where) from error
        except psycopg.Error as error:
            raise StoreError(f"the database refused it: {_first_line(error)}", where=self._where) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
