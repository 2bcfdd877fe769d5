"""A call of the API, apart from how it travels: what is asked, how often it is tried, and what its answer means."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from headrace import errors
from headrace.errors import (
    AccessDeniedError,
    ConflictError,
    HeadraceError,
    NotFoundError,
    RefusedRequestError,
    ServiceError,
    ServiceUnavailableError,
    ThrottledError,
    UsageError,
)
from headrace.lineage import iso

T = TypeVar("T")

JSON, ARROW, CSV = "application/json", "application/vnd.apache.arrow.stream", "text/csv"
_AGAIN = frozenset((429, 502, 503, 504))
_LONGEST = 30.0
"""Seconds that a server may ask to be left alone before the next try; longer, and the error is told at once."""
_KINDS = {401: AccessDeniedError, 403: AccessDeniedError, 409: ConflictError, 429: ThrottledError}
_decoder = msgspec.json.Decoder()


class Ask(NamedTuple):
    """One request.

    Attributes:
        method: ``GET`` or ``POST``.
        path: Below the address of the server.
        params: Of the query; those that are None are left out.
        body: What is posted, if anything.
        media: What `body` is.
        accept: What the answer is to be.
        again: Whether it may be tried again although it may have been done.
        headers: Further ones.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    media: str = JSON
    accept: str = JSON
    again: bool = True
    headers: Mapping[str, str] = {}


def reading(path: str, accept: str = JSON, /, **params: Any) -> Ask:
    """A request that changes nothing, for an answer of some media type."""
    return Ask("GET", path, query_of(params), accept=accept)


def posting(path: str, body: Any = None, /, *, again: bool = False, **params: Any) -> Ask:
    """A request that does something, with a JSON body."""
    given = None if body is None else msgspec.json.encode(body)
    return Ask("POST", path, query_of(params), given, again=again)


def query_of(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters as text: times in UTC, truths as ``true``, lists several times, None left out."""
    pairs = []
    for name, value in params.items():
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, _text(item)) for item in values if item is not None]
    return pairs


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso(value) if isinstance(value, datetime) else str(value)


def of_system(system: str, rest: str = "") -> str:
    """The path of a system's route.

    >>> of_system("energy", "/runs")
    '/v1/systems/energy/runs'
    """
    return f"/v1/systems/{quote(system, safe='')}{rest}"


def part(value: object) -> str:
    """A part of a path, whatever it has in it.

    >>> part("../a b")
    '..%2Fa%20b'
    """
    return quote(str(value), safe="")


class Retry(NamedTuple):
    """How often a request is tried that may be tried again.

    Attributes:
        tries: At most, the first one included; 1 tries once.
        first: Seconds before the second try; twice as long before each later one, each shortened by chance to half.
        longest: Seconds between two tries at most, unless the server asks for more.
    """

    tries: int = 4
    first: float = 0.2
    longest: float = 5.0

    def pause(self, number: int, response: httpx.Response | None) -> float | None:
        """Seconds before the next try, after so many; None: no more tries."""
        if number >= self.tries:
            return None
        wait = None if response is None else _retry_after(response)
        if wait is not None and wait > _LONGEST:
            return None
        pause = min(self.longest, self.first * 2.0 ** (number - 1)) * random.uniform(0.5, 1.0)  # no secret
        return max(pause, wait or 0.0)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds after which the server asks to be tried again; None where it says none that can be read."""
    text: str | None = response.headers.get("retry-after")
    return float(text) if text is not None and text.isdigit() else None


def again(ask: Ask, response: httpx.Response | None, error: Exception | None) -> bool:
    """Whether a request that failed may be sent once more: it was never sent, or it does no harm twice."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return True
    if error is not None:
        return ask.again
    assert response is not None
    return response.status_code == 429 or (ask.again and response.status_code in _AGAIN)


def unreachable(ask: Ask, error: Exception, url: str) -> ServiceUnavailableError:
    """The error of a request that got no answer."""
    kind = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    detail = str(error) or type(error).__name__
    hint = "check the address (HEADRACE_URL) and whether `headrace serve` runs there"
    return ServiceUnavailableError(f"the server {kind}: {detail}", where=f"{ask.method} {url}{ask.path}", hint=hint)


def failed(ask: Ask, response: httpx.Response) -> HeadraceError:
    """The error that a response tells of, by the name that the server gives it, or by its status."""
    problem = _problem(response)
    detail = str(problem.get("detail") or response.reason_phrase or response.status_code)
    faults = [fault for fault in problem.get("errors", []) if isinstance(fault, dict)]
    if faults:
        places = "; ".join(f"{'.'.join(map(str, f.get('loc', [])))}: {f.get('msg', '')}" for f in faults[:5])
        detail = f"{detail} ({places})" if places not in detail else detail
    named = getattr(errors, str(problem.get("error")), None)
    where, hint = f"{ask.method} {ask.path}", problem.get("hint")
    status = response.status_code
    if status == 404:
        return NotFoundError(detail, where=where, hint=hint)
    if isinstance(named, type) and issubclass(named, HeadraceError) and not issubclass(named, UsageError):
        return named(detail, where=where, hint=hint)
    kind = _KINDS.get(status, ServiceUnavailableError if status >= 500 else RefusedRequestError)
    error: ServiceError = kind(detail, where=where, hint=hint)
    error.status, error.faults = status, tuple(faults)
    error.request_id = response.headers.get("x-request-id")
    return error


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = _decoder.decode(response.content)
    except msgspec.DecodeError:
        return {}
    return problem if isinstance(problem, dict) else {}


def decoded(response: httpx.Response, kind: Any, ask: Ask) -> Any:
    """What a good response says.

    Raises:
        ServiceError: It is not what was expected: another server, or one that is older or newer than this client.
    """
    if kind is bytes:
        return response.content
    if kind is str:
        return response.text
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        hint = "is it headrace that answers there, of this version?"
        raise ServiceError(f"the answer is not understood: {error}", where=ask.path, hint=hint) from error


class Held:
    """Answers with their tags, so that what did not change is not sent again.

    Args:
        size: How many at most; 0: none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[tuple[Any, ...], tuple[str, httpx.Response]] = {}

    def tag(self, ask: Ask) -> str | None:
        """The tag of what is held of a request."""
        known = self._known.get(_name(ask))
        return None if known is None else known[0]

    def settled(self, ask: Ask, response: httpx.Response) -> httpx.Response:
        """The response that counts: what is held, where the server says that it stands."""
        name = _name(ask)
        if response.status_code == 304 and name in self._known:
            known = self._known.pop(name)
            self._known[name] = known  # the last one used
            return known[1]
        tag = response.headers.get("etag")
        if ask.method == "GET" and response.status_code == 200 and tag and self._size:
            self._known.pop(name, None)
            self._known[name] = (tag, response)
            while len(self._known) > self._size:
                del self._known[next(iter(self._known))]
        return response


def _name(ask: Ask) -> tuple[Any, ...]:
    return ask.path, tuple(ask.params), ask.accept


def seconds(value: float | timedelta) -> float:
    """A length of time in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
