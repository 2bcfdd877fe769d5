"""What all connections of a process share: their bounds, and what is told of a request that never became a call."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headrace.serving.http.options import Options
from headrace.serving.http.problem import Problem
from headrace.serving.http.telemetry import AccessLog, Telemetry

WIRE = "headrace.wire"
"""The name in the lifespan's state under which the server's connections find it."""
ALWAYS = frozenset((b"/health", b"/ready"))
"""Routes that are answered on a connection beyond the most that there may be."""
SPARE = 32
"""Connections beyond the most that are read at all, for those routes."""
RESERVE = 64
"""File descriptors that are kept for everything else than connections."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Wire:
    """Bounds of a connection, from the options, and where refusals are noted.

    Attributes:
        max_head: Bytes of a head, or of anything else that is neither head nor body.
        max_fields: Headers of a request.
        max_url: Bytes of its target.
        head_timeout: Seconds from the connection, or the first byte of a request, to the end of the head.
        most: Connections at a time.
        closing: Called when the server begins to end: long work stops.
    """

    max_head: int
    max_fields: int
    max_url: int
    head_timeout: float
    most: int
    telemetry: Telemetry
    log: AccessLog | None
    closing: list[Callable[[], None]] = field(default_factory=list)

    @classmethod
    def of(cls, options: Options, telemetry: Telemetry, log: AccessLog | None) -> Wire:
        """The bounds that options ask for, as far as the system has file descriptors for so many connections."""
        limit = min(options.max_connections, max(1, _descriptors(options.max_connections) - RESERVE - SPARE))
        return cls(options.max_head, options.max_headers, options.max_url, options.head_timeout, limit, telemetry, log)

    def note(self, method: str, path: str, client: Sequence[Any] | None, problem: Problem, request_id: bytes) -> None:
        """Count and log a request that was refused before it was whole."""
        self.telemetry.request(UNKNOWN, method, problem.status, 0.0)
        if self.log is not None:
            self.log.write(method, path, client, problem.status, 0.0, request_id)


def _descriptors(limit: int) -> int:
    """How many files this process may open: as many as are wanted, if it may say so itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = limit + SPARE + RESERVE
    if soft == resource.RLIM_INFINITY:
        return need
    if soft < need:
        more = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return soft
