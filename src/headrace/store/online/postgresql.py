"""The online side on a PostgreSQL server, by psycopg."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from headrace.errors import ConfigError, OnlineUnavailableError, StoreError
from headrace.passwords import is_cut
from headrace.store.online.base import GroupState, OnlineWrite, Session
from headrace.store.online.connections import Connections
from headrace.store.online.feeds import TABLES

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


class PostgreSQLOnline:
    """Readers see one snapshot of one statement; writers of one group take turns by an advisory lock.

    Args:
        uri: ``postgresql://user:password@host/database``.
        timeout: Longest wait in seconds, to connect and for every statement.
    """

    embedded = False

    def __init__(self, uri: str, timeout: float) -> None:
        if find_spec("psycopg") is None:
            raise ConfigError("PostgreSQL needs psycopg", where="online_uri", hint="pip install 'headrace[postgres]'")
        if is_cut(uri):
            hint = "write / ? # @ in the password as %2F %3F %23 %40"
            raise ConfigError("the password ends too early", where="online_uri", hint=hint)
        scheme, _, remainder = uri.partition("://")
        self._uri, parts = f"{scheme.partition('+')[0]}://{remainder}", urlsplit(uri)
        self._where = f"{parts.hostname or 'localhost'}{parts.path}"  # never the password
        # The server's own time-out comes first, as long as there is a server that does not stand still.
        self._timeout, self._longest = timeout, timeout + 1
        self._connections = Connections(self._connect)

    def state(self, group: str) -> GroupState | None:
        """One row."""
        return self._run(lambda connection: self._state(connection, group))

    def newest(self, group: str, keys: Sequence[str], as_of: int) -> tuple[GroupState, list[bytes | None]] | None:
        """One statement, which the server plans once; the keys travel as one array."""
        arguments = {"name": group, "keys": list(keys), "at": as_of}
        rows = self._run(lambda connection: connection.execute(_NEWEST, arguments, prepare=True).fetchall())
        if not rows:
            return None
        return self._known(rows[0][:4]), [row[4] for row in rows] if keys else []

    def last(self, group: str, key: str, count: int, as_of: int) -> list[bytes]:
        """A key has few facts, so going through all of them is quick."""
        arguments = (group, key, as_of, as_of, count)
        return [row[0] for row in self._run(lambda connection: connection.execute(_LAST, arguments).fetchall())]

    def write(self, group: str, batch: OnlineWrite) -> bool:
        """A connection that dies is replaced once: writing the same again changes nothing."""

        def transaction(connection: BoundedConnection) -> bool:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (group, _LOCK))
                return self._write(connection, group, batch)

        return self._run(transaction)

    def session(self, group: str, work: Callable[[Session], T], *, synced: bool = False) -> T:
        """Waits for the server's disk always: without, the death of the server alone undoes what was committed."""

        def transaction(connection: BoundedConnection) -> T:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (group, _LOCK))
                connection.execute("SET LOCAL synchronous_commit = on")
                connection.execute("SET LOCAL search_path = headrace_online")
                if connection.execute("SELECT to_regclass('headrace_online.pending')").fetchone() == (None,):
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    for statement in TABLES:
                        key = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
                        connection.execute(statement.format(number=key, bytes="bytea"))
                return work(_PostgreSQLSession(self, connection, group))

        return self._run(transaction)

    def close(self) -> None:
        """Those that are free."""
        self._connections.close()

    def _write(self, connection: BoundedConnection, group: str, batch: OnlineWrite) -> bool:
        connection.longest = self._longest if batch.after is not None else _CLEARING + 1
        try:
            return self._written(connection, group, batch)
        finally:
            connection.longest = self._longest

    def _written(self, connection: BoundedConnection, group: str, batch: OnlineWrite) -> bool:
        state, present = batch.state, self._state(connection, group)
        if batch.after is None:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", (str(_CLEARING * 1000),))
            connection.execute("DELETE FROM headrace_online.facts WHERE name = %s", (group,))
        elif present is None or present.version < batch.after or present.shape != state.shape:
            return False
        else:
            state = GroupState(max(state.version, present.version), max(state.since, present.since), state.shape)
        for start in range(0, len(batch.facts), _PART):
            part = batch.facts[start : start + _PART]
            connection.execute(_INSERT, (group, *(list(column) for column in zip(*part, strict=True))))
            if batch.after is not None:
                keys = sorted({fact.key for fact in part})
                connection.execute(_PRUNE, {"name": group, "keys": keys, "since": state.since, "keep": batch.keep})
        connection.execute(_SET, (group, *state, FORMAT))
        return True

    def _state(self, connection: BoundedConnection, group: str) -> GroupState | None:
        row = connection.execute(_STATE, (group,)).fetchone()
        return None if row is None else self._known(row)

    def _known(self, row: Sequence[Any]) -> GroupState:
        *state, payload = row
        if payload > FORMAT:
            raise StoreError(
                f"it has format {payload}, this headrace knows {FORMAT}", where=self._where, hint="upgrade"
            )
        return GroupState(*state)

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


class _PostgreSQLSession:
    """One transaction."""

    def __init__(self, backend: PostgreSQLOnline, connection: BoundedConnection, group: str) -> None:
        self._backend, self._connection, self._group = backend, connection, group

    def state(self) -> GroupState | None:
        return self._backend._state(self._connection, self._group)  # noqa: SLF001 - a part of it

    def write(self, batch: OnlineWrite) -> bool:
        return self._backend._write(self._connection, self._group, batch)  # noqa: SLF001 - a part of it

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        statement = statement.replace("AMONG ?", "= ANY(?::text[])").replace("?", "%s")
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), values)

    def texts(self, values: Sequence[str]) -> list[str]:
        return list(values)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
