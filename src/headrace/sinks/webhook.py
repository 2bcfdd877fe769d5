"""``https://HOST/PATH``: predictions as requests, each under an idempotency key, the order kept for each key.

The signature is that of Standard Webhooks, which libraries of most languages check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import httpx
import msgspec

from headrace._version import __version__
from headrace.errors import ConfigError, SinkError, SinkUnavailableError, UsageError
from headrace.lineage import digest_of
from headrace.sinks.address import Address
from headrace.sinks.base import Begun, Position, Prediction, PredictionLayout, Sent, SinkContext
from headrace.sinks.journal import DeadLetter, Journal, Parcel, stamp
from headrace.sinks.posting import Posting

_ATTEMPTS = 5
_FIRST, _LONGEST = 0.25, 30.0
"""Seconds between two tries."""
_AGAIN = frozenset((408, 409, 425, 429))
"""Of the 4xx, those that say nothing about the request: it may be sent again."""
_REFUSALS = 20
"""So many refusals, and nothing accepted, are not about single predictions."""
_WINDOW = 64
"""Requests that are under way, or wait to be, for each that may be under way."""
_encode = msgspec.json.Encoder(order="deterministic").encode


class _TargetResponse(NamedTuple):
    """What the target said: `status` 0 where nothing; `after`: in how many seconds it asks to be tried again."""

    status: int
    said: str
    after: float | None = None

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """For good: no later try changes it."""
        return 400 <= self.status < 500 and self.status not in _AGAIN


class Webhook:
    """Posts predictions.

    Args:
        address: Where to; redirects are not followed.
        layout: What predictions look like.
        place: What is known here.
        clock: Tells the time of signatures and letters.
        journal: Its journal, where that is open already.
    """

    def __init__(
        self,
        address: Address,
        layout: PredictionLayout,
        place: SinkContext,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        journal: Journal | None = None,
    ) -> None:
        self.target = address.shown
        self._address, self._place, self._clock = address, place, clock
        self._path = journal_of(address, layout.system, layout.source, place.folder)
        self._secret = None if place.secret is None else _secret_of(place.secret)
        self._journal = journal
        self._accepted, self._refused = 0, 0

    @property
    def journal(self) -> Journal:
        """Opened when it is needed first."""
        if self._journal is None:
            self._journal = Journal(self._path)
        return self._journal

    @cached_property
    def client(self) -> Posting:
        """Its certificates are checked; it goes nowhere else."""
        return Posting(self._place.timeout, self._place.concurrent)

    def begin(self) -> Begun:
        """Send what an earlier process wrote down, and was not known to be there."""
        position = self.journal.position
        return Begun(position, self._deliver())

    def send(self, predictions: Sequence[Prediction], before: Position | None, after: Position) -> Sent:
        """Write requests down, and send them. Until all of them are settled nothing more is taken."""
        self.journal.write(self._parcels(predictions), before, after)
        return self._deliver()

    def resend(self, letters: Sequence[DeadLetter]) -> Sent:
        """Send letters again, under the keys that they had; those that are refused once more stay."""
        sent, over = Sent(), []
        try:
            for letter in letters:
                answer = self._insist(letter.parcel, threading.Event())
                if answer.accepted:
                    sent.passed += letter.parcel.size
                    over.append(letter.parcel.number)
                else:
                    sent.refused += letter.parcel.size
        finally:
            self.journal.settle(over)
        return sent

    def close(self) -> None:
        """Let go of connections and of the journal."""
        if "client" in vars(self):
            self.client.close()
            del self.client
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def _parcels(self, predictions: Sequence[Prediction]) -> Iterator[Parcel]:
        lanes: dict[int, list[Prediction]] = {}
        for prediction in predictions:
            lanes.setdefault(crc32(prediction.key.encode()) % self._place.concurrent, []).append(prediction)
        for lane, waiting in lanes.items():
            left = iter(waiting)
            while part := list(islice(left, self._place.batch)):
                yield _parcel(lane, part)

    def _deliver(self) -> Sent:
        sent = Sent()
        while not self._place.stop.is_set() and (window := self.journal.outbox(_WINDOW * self._place.concurrent)):
            lanes: dict[int, list[Parcel]] = {}
            for parcel in window:
                lanes.setdefault(parcel.lane, []).append(parcel)
            self._window(list(lanes.values()), sent)
        return sent

    def _window(self, lanes: list[list[Parcel]], sent: Sent) -> None:
        """Send some requests, lane by lane at once, and write down what became of them, whatever becomes of others."""
        _ = self.client  # made here, not by several threads at once
        stop, failures = threading.Event(), list[SinkError]()
        over: list[tuple[Parcel, _TargetResponse]] = []

        def run(lane: list[Parcel]) -> None:
            for post in lane:
                if stop.is_set() or self._place.stop.is_set():
                    return
                try:
                    over.append((post, self._insist(post, stop)))
                except SinkError as error:
                    failures.append(error)
                    stop.set()

        with ThreadPoolExecutor(self._place.concurrent, thread_name_prefix="webhook") as pool:
            try:
                list(pool.map(run, lanes))
            finally:  # an interrupt too: what the target has is not sent again
                stop.set()
        over.sort(key=lambda post: post[0].number)  # letters are in the order of predictions, not of answers
        moment = stamp(self._clock())
        parcels = [parcel for parcel, answer in over if answer.accepted]
        letters = [DeadLetter(p, a.status, a.said, moment) for p, a in over if not a.accepted]
        self.journal.done(parcels, letters)
        sent.passed += sum(parcel.size for parcel in parcels)
        sent.refused += sum(letter.parcel.size for letter in letters)
        self._accepted, self._refused = self._accepted + len(parcels), self._refused + len(letters)
        if failures:
            raise failures[0]
        if not self._accepted and self._refused >= _REFUSALS:
            reason = "; ".join(f"{letter.status} {letter.reason}" for letter in letters[-1:])
            hint = "mend it, then send again what was refused: headrace sink dead-letters SYSTEM --to URI --resend"
            raise SinkError(f"everything is refused: {reason}", where=self.target, hint=hint)

    def _insist(self, parcel: Parcel, stop: threading.Event) -> _TargetResponse:
        """Send one request until it is accepted or refused for good."""
        pause, answer = _FIRST, _TargetResponse(0, "")
        for attempt in range(_ATTEMPTS):
            answer = self._post(parcel)
            if answer.accepted or answer.refused:
                return answer
            if 300 <= answer.status < 400:
                raise SinkError(
                    f"it answers {answer.status}: it is elsewhere, and no redirect is followed",
                    where=self.target,
                    hint="name where it is, if you trust it",
                )
            if attempt + 1 == _ATTEMPTS or stop.is_set() or (answer.after or 0) > _LONGEST:
                break
            wait = answer.after if answer.after is not None else pause * random.uniform(0.5, 1.0)
            if self._place.stop.wait(wait):
                break
            pause = min(pause * 2, _LONGEST)
        status = f"it answers {answer.status}" if answer.status else "it does not answer"
        failure = SinkUnavailableError(f"{status}: {answer.said}".rstrip(": "), where=self.target)
        failure.after = answer.after
        raise failure

    def _post(self, parcel: Parcel) -> _TargetResponse:
        try:
            answer = self.client.post(self._address.uri, parcel.body, self._headers(parcel))
        except httpx.InvalidURL as error:
            raise UsageError("is no URL", where=self.target) from error
        except httpx.HTTPError as error:
            return _TargetResponse(0, self._address.hide(str(error) or type(error).__name__))
        except TimeoutError:
            return _TargetResponse(0, f"nothing within {self._place.timeout:g} s")
        plain = "".join(
            character if character.isprintable() else " " for character in answer.body.decode(errors="replace")
        )
        text = self._address.hide(plain.strip())[:300]  # nothing that a terminal would do
        return _TargetResponse(answer.status, text or answer.reason, _after(answer.headers, self._clock()))

    def _headers(self, parcel: Parcel) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"headrace/{__version__}",
            "idempotency-key": parcel.name,
            "webhook-id": parcel.name,
        }
        if self._secret is not None:
            stamp_text = str(int(self._clock().timestamp()))
            headers |= {
                "webhook-timestamp": stamp_text,
                "webhook-signature": signature(self._secret, parcel.name, stamp_text, parcel.body),
            }
        return headers


def signature(secret: bytes, name: str, moment: str, body: bytes) -> str:
    """As Standard Webhooks has it: HMAC with SHA-256 over id, time (seconds since 1970) and body, in base64.

    >>> signature(b"key", "id", "1", b"{}")[:3]
    'v1,'
    """
    signed = hmac.new(secret, f"{name}.{moment}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _secret_of(text: str) -> bytes:
    """A secret: as it is, or behind ``whsec_`` in base64."""
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ConfigError("is not base64 behind whsec_", where="HEADRACE_SINK_SECRET") from error


def _parcel(lane: int, predictions: Sequence[Prediction]) -> Parcel:
    documents: Any = [prediction.document for prediction in predictions]
    if len(predictions) == 1:
        return Parcel(0, lane, predictions[0].id, predictions[0].key, 1, _encode(documents[0]))
    names = digest_of([prediction.id for prediction in predictions], 32)
    keys = list(dict.fromkeys(prediction.key for prediction in predictions))
    return Parcel(
        0, lane, names, ", ".join(keys[:5]) + (" …" if len(keys) > 5 else ""), len(predictions), _encode(documents)
    )


def _after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the target asks to be tried again."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)


def journal_of(address: Address, system: str, source: str, folder: Path) -> Path:
    """Where the journal of a target is; `source` ``*``: those of all sources, as a pattern."""
    return folder / f"{system}-{address.mark}-{source if source == '*' else digest_of(source, 6)}.db"


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> Webhook:
    """The target of a URL.

    Raises:
        UsageError: It has no host.
        ConfigError: The secret is none.
    """
    if not address.parts.hostname:
        raise UsageError("names no host", where=address.shown, hint="write https://HOST/PATH")
    return Webhook(address, layout, place)
