"""A connection to PostgreSQL that never waits for ever: a paused server or a cut cable sends not even an error."""

from __future__ import annotations

from typing import Any, TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

T = TypeVar("T")


class BoundedConnection(Connection[Any]):
    """Gives up when the server has not answered for `longest` seconds, and is closed then: its state is not known."""

    longest: float = 60.0

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """As psycopg's, with a bound. Called by psycopg for every exchange with the server."""
        try:
            return super().wait(gen, interval, self.longest if timeout is None else timeout)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect(longest: float, *arguments: Any, **options: Any) -> BoundedConnection:
    """Connect as psycopg does, to a connection that waits `longest` seconds for an answer."""
    connection = BoundedConnection.connect(*arguments, **options)
    connection.longest = longest
    return connection
