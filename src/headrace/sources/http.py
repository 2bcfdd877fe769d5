"""JSON over HTTP, politely: a rate limit, time-outs, and retries that back off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from headrace.declaration import Declared, Duration
from headrace.errors import SourceError

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))


class Politeness(Declared):
    """How hard an API is asked.

    Attributes:
        timeout: For connecting, and between two pieces of an answer.
        interval: Least time from one request to the next.
        attempts: Requests for one page before giving up.
        patience: Longest time spent on one page, and longest wait that a ``Retry-After`` is granted.
        pause: First wait after a failure; it doubles, and the actual wait is drawn from nothing to it.
        most_bytes: Longest answer.
    """

    timeout: Duration = timedelta(seconds=30)
    interval: Duration = timedelta(milliseconds=200)
    attempts: int = 6
    patience: Duration = timedelta(minutes=5)
    pause: Duration = timedelta(seconds=1)
    most_bytes: int = 64_000_000


class _TryAgainError(Exception):
    """A failure that may pass.

    Args:
        reason: What happened.
        after: Seconds that the server asked to wait.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class JsonClient:
    """Fetches JSON objects, one request at a time. A context manager; numbers come as the text that was sent.

    Args:
        politeness: How hard to ask.
        sleep: Waits some seconds; tests give another one.
    """

    def __init__(self, politeness: Politeness, sleep: Callable[[float], None] = time.sleep) -> None:
        import httpx

        self._polite, self._sleep, self._next = politeness, sleep, 0.0
        self._http = httpx.Client(timeout=politeness.timeout.total_seconds(), follow_redirects=True)

    def __enter__(self) -> JsonClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, url: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object at a URL.

        Raises:
            SourceError: It could not be had; with the URL, the status and what to do.
        """
        import tenacity

        full = str(self._http.build_request("GET", url, params=dict(parameters)).url)
        patience = self._polite.patience.total_seconds()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            stop=tenacity.stop_after_attempt(self._polite.attempts) | tenacity.stop_before_delay(patience),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            document: dict[str, Any] = retrying(self._once, full)
        except _TryAgainError as error:
            hint = "the service is down or busy: try again later; what was stored stays"
            raise SourceError(
                f"{error}, {retrying.statistics['attempt_number']} times", where=full, hint=hint
            ) from error
        return document

    def _wait(self, state: RetryCallState) -> float:
        import tenacity

        failure = state.outcome.exception() if state.outcome else None
        after = getattr(failure, "after", None)
        if after is not None:
            return float(min(after, self._polite.patience.total_seconds()))
        backoff = tenacity.wait_random_exponential(multiplier=self._polite.pause.total_seconds(), max=60)
        return float(backoff(state))

    def _once(self, url: str) -> dict[str, Any]:
        import httpx

        self._sleep(max(self._next - time.monotonic(), 0.0))
        self._next = time.monotonic() + self._polite.interval.total_seconds()
        try:
            with self._http.stream("GET", url) as answer:
                body = self._body(answer)
        except httpx.RequestError as error:
            raise _TryAgainError(f"no whole answer: {type(error).__name__} {error}".strip()) from error
        if answer.status_code in _AGAIN:
            raise _TryAgainError(f"HTTP {answer.status_code}", _retry_after(answer))
        if answer.status_code != 200:
            text = body[:300].decode("utf-8", errors="replace").strip()
            raise SourceError(
                f"HTTP {answer.status_code}: {text}", where=url, hint="check source.api in the declaration"
            )
        try:
            data = json.loads(body, parse_float=str, parse_int=str)
        except ValueError as error:
            raise _TryAgainError(f"the answer is not whole JSON ({error})") from error
        if not isinstance(data, dict):
            raise SourceError("the answer is not a JSON object", where=url)
        return data

    def _body(self, answer: httpx.Response) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > self._polite.most_bytes:
                hint = "ask for less at once: a smaller source.api.page"
                raise SourceError(
                    f"the answer is longer than {self._polite.most_bytes:,} bytes", where=str(answer.url), hint=hint
                )
            parts.append(part)
        return b"".join(parts)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that the server asks to wait, given as a number or as a date."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0) if text else None
    except (ValueError, TypeError):
        return None  # neither a number nor a date: back off as without it
