"""What a server is told: limits, time-outs, tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from headrace.declaration import Declared
from headrace.settings import Tokens


def _parts(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_Texts = Annotated[tuple[str, ...], BeforeValidator(_parts)]
_Public = Annotated[tuple[Literal["docs", "metrics", "ready"], ...], BeforeValidator(_parts)]


class Options(Declared):
    """Options of one server. All bounds are there to refuse early, with a reason, what would hurt later.

    Attributes:
        logged: Whether predictions are written to the ledger before they are answered. Off is for load tests.
        access_log: ``on``: each request is logged, one JSON line in the Elastic Common Schema; ``inputs``: its body
            too; or ``off``.
        max_body: Bytes that a body may have, as sent and unpacked (413).
        max_rows: Rows that a request may have (413).
        max_head: Bytes that the head of a request may have (431).
        max_headers: Headers that a request may have (431).
        max_url: Bytes that the target of a request may have (414).
        max_connections: Connections at a time, of each process (503). At most as many as it may open files.
        head_timeout: Seconds from the connection, or the first byte of a request, to the end of its head (408).
        idle_timeout: Seconds after which a connection on which nothing is asked is closed.
        body_timeout: Seconds in which a body must have arrived (408).
        answer_timeout: Seconds after which a prediction that is not durable is given up (503).
        capacity: Predictions that may wait for the ledger (503 beyond).
        readers: Processes that read for people, with lower priority; 0: threads of the server.
        read_timeout: Seconds that such a read may take (503).
        refresh: Seconds between looks for a new champion and newer forecasts.
        tokens: Bearer tokens to what they may do, ``system:scope`` each, ``*`` for any; none at all means an open
            server. Scopes are ``read``, ``predict``, ``decide`` and ``write``.
        cors: Origins that browsers may call from.
        public: What is open to all although there are tokens: ``docs metrics ready``.
        rate: Requests a second that a token may make, in each process, unless it has a limit of its own (429).
        concurrent: Requests of a token at a time, likewise (429).
        shadow: Versions asked of everything that is answered: ``VERSION``, or ``SYSTEM=VERSION``.
        canary: Versions that answer a share of the keys: ``VERSION=SHARE``, or ``SYSTEM=VERSION=SHARE``.
    """

    logged: bool = True
    access_log: Literal["off", "on", "inputs"] = "on"
    max_body: int = Field(default=4 * 2**20, ge=1024)
    max_rows: int = Field(default=10_000, ge=1)
    max_head: int = Field(default=2**16, ge=1024)
    max_headers: int = Field(default=128, ge=8)
    max_url: int = Field(default=2**14, ge=256)
    max_connections: int = Field(default=10_000, ge=1)
    head_timeout: float = Field(default=30.0, gt=0)
    idle_timeout: float = Field(default=30.0, gt=0)
    body_timeout: float = Field(default=30.0, gt=0)
    answer_timeout: float = Field(default=10.0, gt=0)
    capacity: int = Field(default=20_000, ge=1)
    readers: int = Field(default=1, ge=0, le=64)
    read_timeout: float = Field(default=30.0, gt=0)
    refresh: float = Field(default=2.0, gt=0)
    tokens: Tokens = Field(default_factory=dict)
    cors: _Texts = ()
    public: _Public = ()
    rate: float | None = Field(default=None, gt=0)
    concurrent: int | None = Field(default=None, ge=1)
    shadow: _Texts = ()
    canary: _Texts = ()
