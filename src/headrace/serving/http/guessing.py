"""Wrong tokens are told so a few times; then whoever sends more of them waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from headrace.serving.http.problem import Problem
from headrace.tries import INSIDE, TokenTries


class WrongTokens:
    """Counts requests with a wrong token. It is asked after a request was refused, so a right token costs nothing more.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._tries = TokenTries(clock)

    def judged(self, problem: Problem, authorization: bytes, client: Sequence[Any] | None) -> Problem:
        """What a refused request is told.

        Args:
            problem: Why it is refused. Only 401 is counted.
            authorization: What it said of itself. Without a word there was no guess.
            client: Address and port; a Unix socket has none.

        Returns:
            The problem itself, or 429 with ``Retry-After`` where too many wrong tokens came from there, or in all.
        """
        if problem.status != HTTPStatus.UNAUTHORIZED or not authorization:
            return problem
        seconds = self._tries.begin(str(client[0]) if client else "")
        if not seconds:
            return problem
        return Problem(
            429, f"too many wrong tokens; try again in {seconds} s", headers=[(b"retry-after", b"%d" % seconds)]
        )

    def of_request(self, problem: Problem, scope: Mapping[str, Any]) -> Problem:
        """`judged` for a request that came through the ASGI door."""
        if problem.status != HTTPStatus.UNAUTHORIZED or INSIDE in (scope.get("extensions") or ()):
            return problem
        return self.judged(problem, dict(scope["headers"]).get(b"authorization", b""), scope.get("client"))
