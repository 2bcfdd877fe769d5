"""A call of the API, apart from how it travels: what is asked, how often it is tried, and what its answer means."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from headrace import errors
from headrace.client.values import encoded
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
_HELD = 32 * 2**20
"""Bytes of answers that are kept with their tags."""
_KINDS = {401: AccessDeniedError, 403: AccessDeniedError, 409: ConflictError, 429: ThrottledError}
_decoder = msgspec.json.Decoder()


class Ask(NamedTuple):
    """One request.

    Attributes:
        method: ``GET``, ``POST`` or ``DELETE``.
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
    """A request that does something, with a JSON body.

    Raises:
        UsageError: The body has what JSON cannot carry.
    """
    given = None if body is None else encoded(body)
    return Ask("POST", path, query_of(params), given, again=again)


def keyed(ask: Ask, key: str | None) -> Ask:
    """A request with a key of its own, if it has one: sent twice, it is done once."""
    return ask if key is None else ask._replace(headers={"idempotency-key": sendable(key)}, again=True)


def query_of(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Parameters as text: times in UTC, truths as ``true``, lists several times, None left out."""
    pairs = []
    for name, value in params.items():
        values = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, text_of(item)) for item in values if item is not None]
    return pairs


def text_of(value: Any) -> str:
    """A parameter as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso(value) if isinstance(value, datetime) else str(value)


def chosen(**choices: Any) -> dict[str, Any]:
    """What a body chooses by; what is None chooses nothing out.

    Raises:
        UsageError: A choice is empty: left out of the body, it would choose all.

    >>> chosen(ids=("a",), reason=None)
    {'ids': ['a']}
    """
    given = {name: choice for name, choice in choices.items() if choice is not None}
    for name, choice in given.items():
        if not len(choice):
            raise UsageError(f"{name} is empty: it chooses nothing", where=name, hint="leave it out where you mean all")
    return {name: choice if isinstance(choice, str) else list(choice) for name, choice in given.items()}


def sendable(key: str) -> str:
    """A key for a header.

    Raises:
        UsageError: It cannot be one.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        hint = "use 1 to 255 visible ASCII characters"
        raise UsageError(f"{key[:80]!r} cannot be a key", where="key", hint=hint)
    return key


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
    text: str = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = _date(text)
    if moment is None:
        return None
    # By the server's own clock, where it tells it: this machine's may be another.
    now = _date(response.headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def _date(text: str) -> datetime | None:
    """A date as HTTP writes it."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def again(ask: Ask, response: httpx.Response | None, error: Exception | None) -> bool:
    """Whether a request that failed may be sent once more: it was never sent, or it does no harm twice."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return True
    if isinstance(error, httpx.LocalProtocolError):
        return False
    if error is not None:
        return ask.again
    assert response is not None
    return response.status_code == 429 or (ask.again and response.status_code in _AGAIN)


def unreachable(ask: Ask, error: Exception, url: str) -> ServiceUnavailableError:
    """The error of a request that got no answer."""
    kind = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    kind = "answers what cannot be read" if isinstance(error, httpx.DecodingError) else kind
    detail = str(error) or type(error).__name__
    hint = "check the address (HEADRACE_URL) and whether `headrace serve` runs there"
    return ServiceUnavailableError(f"the server {kind}: {detail}", where=f"{ask.method} {url}{ask.path}", hint=hint)


def failed(ask: Ask, response: httpx.Response) -> HeadraceError:
    """The error that a response tells of, by the name that the server gives it, or by its status."""
    problem, status = _problem(response), response.status_code
    where, hint = f"{ask.method} {ask.path}", problem.get("hint")
    detail, faults = str(problem.get("detail") or response.reason_phrase or status), _faults(problem)
    if faults:
        places = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:5])
        detail = f"{detail} ({places})" if places not in detail else detail
    hint = hint if isinstance(hint, str) else None
    if status == 404:
        return NotFoundError(detail, where=where, hint=hint)
    named = getattr(errors, str(problem.get("error")), None)
    if isinstance(named, type) and issubclass(named, HeadraceError) and not issubclass(named, UsageError):
        named_error = named(detail, where=where, hint=hint)
        named_error.http_status = status
        return named_error
    if status < 400:
        there = response.headers.get("location", "")
        hint = f"give the address that it sends on to: {there}" if there else "is it headrace that answers there?"
        return ServiceError(f"the server answers {status}: {detail}", where=where, hint=hint)
    kind = _KINDS.get(status, ServiceUnavailableError if status >= 500 else RefusedRequestError)
    error: ServiceError = kind(detail, where=where, hint=hint)
    error.status, error.faults = status, tuple(faults)
    error.request_id = response.headers.get("x-request-id")
    return error


def _faults(problem: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong where, as far as it is told in our way: a proxy may have another."""
    listed = problem.get("errors")
    return [
        {**fault, "loc": fault["loc"] if isinstance(fault.get("loc"), list) else [], "msg": fault.get("msg") or ""}
        for fault in (listed if isinstance(listed, list) else ())
        if isinstance(fault, dict)
    ]


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
    hint = "is it headrace that answers there, of this version?"
    if kind in (bytes, str):
        media = response.headers.get("content-type", "").partition(";")[0].strip()
        if media != ask.accept:
            raise ServiceError(f"the answer is {media or 'of no type'}, not {ask.accept}", where=ask.path, hint=hint)
        return response.content if kind is bytes else response.text
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise ServiceError(f"the answer is not understood: {error}", where=ask.path, hint=hint) from error


class Stored(NamedTuple):
    """An answer with its tag."""

    tag: str
    response: httpx.Response


class Held:
    """Answers with their tags, so that what did not change is not sent again. Any number of threads may use it.

    Args:
        size: How many at most; 0: none. All together they have `_HELD` bytes at most.
    """

    def __init__(self, size: int) -> None:
        self._size, self._bytes = size, 0
        self._known: dict[tuple[Any, ...], Stored] = {}
        self._lock = threading.Lock()

    def stored(self, ask: Ask) -> Stored | None:
        """What is held of a request."""
        with self._lock:
            return self._known.get(_name(ask))

    def settled(self, ask: Ask, response: httpx.Response, stored: Stored | None) -> httpx.Response:
        """The response that counts: what was held when it was asked for, where the server says that it stands."""
        if response.status_code == 304 and stored is not None:
            self._keep(_name(ask), stored)
            return stored.response
        tag = response.headers.get("etag")
        if ask.method == "GET" and response.status_code == 200 and tag:
            self._keep(_name(ask), Stored(tag, response))
        return response

    def _keep(self, name: tuple[Any, ...], stored: Stored) -> None:
        """Hold it as the one that was used last."""
        with self._lock:
            self._drop(name)
            self._known[name] = stored
            self._bytes += len(stored.response.content)
            while len(self._known) > self._size or self._bytes > _HELD:
                self._drop(next(iter(self._known)))

    def _drop(self, name: tuple[Any, ...]) -> None:
        stored = self._known.pop(name, None)
        if stored is not None:
            self._bytes -= len(stored.response.content)


def _name(ask: Ask) -> tuple[Any, ...]:
    return ask.path, tuple(ask.params), ask.accept


def seconds(value: float | timedelta) -> float:
    """A length of time in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
