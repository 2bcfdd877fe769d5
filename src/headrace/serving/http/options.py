"""What a server is told: limits, time-outs, tokens."""

from __future__ import annotations

from pydantic import Field, SecretStr

from headrace.declaration import Declared


class Options(Declared):
    """Options of one server. All bounds are there to refuse early, with a reason, what would hurt later.

    Attributes:
        logged: Whether predictions are written to the ledger before they are answered. Off is for load tests.
        access_log: Whether each request is logged, one JSON line in the Elastic Common Schema.
        log_inputs: Whether the access log holds request bodies.
        max_body: Bytes that a request may have (413).
        max_rows: Rows that a request may have (413).
        max_head: Bytes that the head of a request may have (431).
        max_headers: Headers that a request may have (431).
        max_url: Bytes that the target of a request may have (414).
        max_connections: Connections at a time, of each process (503). At most as many as it may open files.
        head_timeout: Seconds from the connection, or the first byte of a request, to the end of its head (408).
        idle_timeout: Seconds after which a connection on which nothing is asked is closed.
        body_timeout: Seconds in which a body must have arrived (408).
        ledger_timeout: Seconds after which a prediction that is not durable is given up (503).
        capacity: Predictions that may wait for the ledger (503 beyond).
        refresh: Seconds between looks for a new champion and newer forecasts.
        tokens: Bearer tokens to what they may do, ``system:scope`` each, ``*`` for any; none at all means an open
            server. Scopes are ``read`` and ``predict``.
        cors: Origins that browsers may call from.
    """

    logged: bool = True
    access_log: bool = True
    log_inputs: bool = False
    max_body: int = Field(default=4 * 2**20, ge=1024)
    max_rows: int = Field(default=10_000, ge=1)
    max_head: int = Field(default=2**16, ge=1024)
    max_headers: int = Field(default=128, ge=8)
    max_url: int = Field(default=2**14, ge=256)
    max_connections: int = Field(default=10_000, ge=1)
    head_timeout: float = Field(default=30.0, gt=0)
    idle_timeout: float = Field(default=30.0, gt=0)
    body_timeout: float = Field(default=30.0, gt=0)
    ledger_timeout: float = Field(default=10.0, gt=0)
    capacity: int = Field(default=20_000, ge=1)
    refresh: float = Field(default=2.0, gt=0)
    tokens: dict[SecretStr, tuple[str, ...]] = Field(default_factory=dict)
    cors: tuple[str, ...] = ()
