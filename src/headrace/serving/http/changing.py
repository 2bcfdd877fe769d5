"""How a route changes something: who may, a small body, one after the other, and the trail of it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.ledger.audit import BEGUN, AuditEntry
from headrace.serving.http.access import Access
from headrace.serving.http.body import parsed, unmarked, whole
from headrace.serving.http.options import Options
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.query import check_names
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.telemetry import request_id_of

MAX_BODY = 2**16
"""Bytes of a body that says what is to be changed."""
LONGEST = 500
"""Characters of a text of it."""
DONE = "done"
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]").search
"""Control characters, ends of lines, and what turns the direction of a text."""
_log = logging.getLogger("headrace.serving")
Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Whether a value is a text of 1 to `LONGEST` characters."""
    return isinstance(value, str) and 0 < len(value.strip()) <= LONGEST


def is_said(value: Any) -> bool:
    """Whether a value is such a text that people wrote for the record, on one line: nothing in it steers a terminal.

    >>> is_said("better on the last week"), is_said("fine\\x1b[2K"), is_said("a\\u202eb")
    (True, False, False)
    """
    return is_text(value) and not _STEERING(value)


def is_texts(value: Any) -> bool:
    """Whether a value is such a text, or up to 1,000 of them."""
    return is_text(value) or (isinstance(value, list) and 0 < len(value) <= 1000 and all(map(is_text, value)))


def is_truth(value: Any) -> bool:
    """Whether a value is true or false."""
    return isinstance(value, bool)


class Changes:
    """Makes changes, and keeps who asked for them.

    A change is written down before it is told to whoever asked: done, or why it failed. Where it cannot be written
    down beforehand, nothing is changed.

    Args:
        home: Where the trail is.
        access: Who may.
        options: How long a body may take.
        reads: Forgets what it holds after a change.
    """

    def __init__(self, home: Home, access: Access, options: Options, reads: Reads) -> None:
        self._home, self._access, self._options, self._reads = home, access, options, reads
        self._one = asyncio.Lock()  # two changes of one process come one after the other

    def token(self, request: Request, name: str, scope: str) -> str:
        """What the token of a request is called, if it may change a system.

        Raises:
            Problem: 401, 403; 422: the query has a parameter.
        """
        token = self._access.check_change(request.headers.get("authorization", "").encode("latin-1"), name, scope)
        check_names([key for key, _ in request.query_params.multi_items()], ())
        return token

    async def body(self, request: Request, fields: Mapping[str, Check]) -> dict[str, Any]:
        """What the body says, an object of some fields; none at all is an empty one.

        Args:
            request: The request.
            fields: What each value must be, by name; a name with ``!`` at its end must be there.

        Raises:
            Problem: 400, 408, 413, 422.
        """
        try:
            async with asyncio.timeout(self._options.body_timeout):
                body = unmarked(await whole(request.receive, min(MAX_BODY, self._options.max_body)))
        except TimeoutError as error:
            raise Problem(408, "the body did not arrive in time") from error
        data = parsed(body) if body.strip() else {}
        names = {name.rstrip("!"): check for name, check in fields.items()}
        shape = f"write an object with {', '.join(names)}"
        if not isinstance(data, dict):
            raise Problem(422, shape)
        errors = [{"loc": ["body", str(key)[:80]], "msg": "is not known"} for key in data if key not in names]
        errors += [
            {"loc": ["body", key], "msg": "is not as it should be"}
            for key, value in data.items()
            if key in names and not names[key](value)
        ]
        errors += [
            {"loc": ["body", name[:-1]], "msg": "is missing"}
            for name in fields
            if name.endswith("!") and name[:-1] not in data
        ]
        if errors:
            raise Problem(422, shape, errors=errors)
        return data

    async def change(
        self,
        request: Request,
        token: str,
        what: tuple[str, str, str],
        details: Mapping[str, Any],
        work: Callable[[], Awaitable[Response]],
    ) -> Response:
        """Make a change, and keep the trail of it.

        Args:
            request: Who asks.
            token: What its token is called.
            what: The action, the system, and what of it; empty: the system.
            details: What is asked for, JSON-ready.
            work: Makes it.

        Raises:
            Problem: As `work`; 503: it cannot be written down, so nothing was changed.
        """
        request_id = request_id_of(request.headers.get("x-request-id", "").encode("latin-1")).decode()
        action, system, target = what
        entry = AuditEntry(datetime.now(UTC), token, action, system, target, details, BEGUN, request_id)
        async with self._one:
            number = await run_in_threadpool(self._kept, entry)
            outcome = "failed in an unforeseen way"
            try:
                response = await work()
                outcome = DONE
            except Problem as problem:
                outcome = f"{problem.status}: {problem.detail}"[:LONGEST]
                raise
            except HeadraceError as error:
                outcome = error.message[:LONGEST]
                raise
            finally:
                self._reads.forget()
                await run_in_threadpool(self._settled, number, outcome)
        return response

    def _kept(self, entry: AuditEntry) -> int:
        try:
            return self._home.ledger.audit.put(entry)
        except HeadraceError as error:
            raise busy(f"the change cannot be written down, and is not made: {error.message}", 5) from error

    def _settled(self, number: int, outcome: str) -> None:
        try:
            self._home.ledger.audit.settle(number, outcome)
        except HeadraceError as error:  # that it was begun is kept; what became of it only the log knows
            _log.warning("the outcome of change %d, %s, cannot be written down: %s", number, outcome, error)
