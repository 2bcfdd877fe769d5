"""The hot route: rows in, durably logged predictions out. Plain ASGI, one request a few tens of microseconds."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from headrace.errors import HeadraceError, KeyConflictError, LedgerFullError
from headrace.ledger import Entry, Writer
from headrace.lineage import row_prediction_id
from headrace.pipelines.row_inference import key_text, row_cause
from headrace.row_predictor import digest_of_row, inputs_of
from headrace.serving.http.access import PREDICT, Access
from headrace.serving.http.body import Receive, parsed, rows_of, whole
from headrace.serving.http.deadline import Deadlines
from headrace.serving.http.options import Options
from headrace.serving.http.problem import MEDIA_TYPE, Problem, busy, unforeseen
from headrace.serving.http.served import Champion, Served
from headrace.serving.http.telemetry import AccessLog, Telemetry, request_id_of

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ROUTE = "/v1/systems/{system}/predict"
_encode = msgspec.json.Encoder().encode
_KEY = re.compile(rb"[\x21-\x7e]{1,255}").fullmatch
_JSON = (b"application/json", b"text/json")
_LARGE = 2**16
"""Bytes of a body that is worked on in a thread: on the event loop the other requests would wait for it. So they would
for look-ups over a network; one in a file is quicker than a thread."""
_log = logging.getLogger("headrace.serving")


@dataclass(frozen=True)
class Answer:
    """An answered request: its body, and how many rows of which version it holds."""

    body: bytes
    rows: int
    version: int


class PredictRoute:
    """``POST /v1/systems/{s}/predict`` for the systems that score rows."""

    def __init__(
        self,
        served: Mapping[str, Served],
        options: Options,
        access: Access,
        telemetry: Telemetry,
        log: AccessLog | None,
    ) -> None:
        self._served, self._options, self._access = served, options, access
        self._telemetry, self._log = telemetry, log
        self.writer: Writer | None = None
        self.deadlines = Deadlines()
        self._waiting: list[tuple[list[Entry], Callable[[Any], None]]] = []

    async def __call__(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever it holds, the answer is a prediction or a problem, never an exception."""
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id, body = request_id_of(headers.get(b"x-request-id", b"")), b""
        more: tuple[tuple[bytes, bytes], ...] = ()
        try:
            served = self._allowed(name, scope, headers)
            body = await self._body(headers, receive)
            answer = await self._answer(served, body, headers)
            status, kind, said = 200, b"application/json", answer.body
            self._telemetry.predicted(name, answer.version, answer.rows)
        except Problem as problem:
            status, kind, said, more = problem.status, MEDIA_TYPE, problem.body(), problem.headers
            self._telemetry.refused.labels(name if name in self._served else "unknown", problem.reason).inc()
        except Exception:  # noqa: BLE001  # it is logged, and the client has an answer
            _log.exception("request %s failed in an unforeseen way", request_id.decode())
            status, kind, said = 500, MEDIA_TYPE, unforeseen().body()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", kind),
                    (b"content-length", str(len(said)).encode()),
                    (b"x-request-id", request_id),
                    *more,
                ],
            }
        )
        await send({"type": "http.response.body", "body": said})
        seconds = time.perf_counter() - began
        self._telemetry.request(ROUTE, scope["method"], status, seconds)
        if self._log is not None:
            self._log.write(scope, status, seconds, request_id.decode(), body)

    def _allowed(self, name: str, scope: Scope, headers: Mapping[bytes, bytes]) -> Served:
        self._access.check(headers.get(b"authorization", b""), name, PREDICT)
        served = self._served.get(name)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        if served.system.forecasts:
            raise Problem(404, f"{name} forecasts series; read them: GET /v1/systems/{name}/predictions")
        if scope["method"] != "POST":
            raise Problem(405, "rows are posted", headers=[(b"allow", b"POST")])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in _JSON and not kind.endswith(b"+json"):
            raise Problem(
                415,
                "the body must be JSON",
                errors=[{"loc": ["header", "content-type"], "msg": "is not application/json"}],
            )
        if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
            errors = [{"loc": ["header", "content-encoding"], "msg": "is not identity"}]
            raise Problem(415, "the body must not be compressed", errors=errors)
        return served

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        limit = self._options.max_body
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            raise Problem(413, f"the body is larger than {limit:,} bytes")
        try:
            with self.deadlines.within(self._options.body_timeout):
                return await whole(receive, limit)
        except TimeoutError as error:
            raise Problem(408, "the body did not arrive in time") from error

    async def _answer(self, served: Served, body: bytes, headers: Mapping[bytes, bytes]) -> Answer:
        champion = served.champion
        waits = self._options.logged and (self.writer is None or champion is None or not champion.pinned)
        if champion is None or champion.predictor is None or waits:
            raise busy(f"{served.system.name} is not ready: {served.trouble or 'the ledger is away'}", 5)
        prepare = partial(_prepared, served, champion, body, headers, self._options.max_rows)
        far = champion.lookups is not None and not champion.lookups.embedded
        entries, single = await run_in_threadpool(prepare) if far or len(body) >= _LARGE else prepare()
        if self.writer is not None:
            entries = await self._durable(self.writer, entries, single=single)
        told = [entry.answer for entry in entries]
        version = champion.version.version
        if single:
            return Answer(told[0], 1, version)
        return Answer(b'{"predictions":[%b],"model_version":%d}' % (b",".join(told), version), len(told), version)

    def _hand_over(self, writer: Writer) -> None:
        """Give what came in one turn of the loop to the writer together: to wake it for each costs more than a row."""
        waiting, self._waiting = self._waiting, []
        for settle, error in writer.submit_all(waiting):
            settle(error)

    async def _durable(self, writer: Writer, entries: list[Entry], *, single: bool) -> list[Entry]:
        """The entries that stand, once they are durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            if not future.done():
                future.set_result(result)

        self._waiting.append((entries, settle))
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_over, writer)
        try:
            with self.deadlines.within(self._options.ledger_timeout):
                result = await future
        except TimeoutError as error:
            # Written or not is not known here; the same key sent again finds out.
            raise busy("the prediction was not durable in time; send the same key again") from error
        if isinstance(result, HeadraceError):
            raise busy(result.message, 1 if isinstance(result, LedgerFullError) else 5) from result
        conflicts = [place for place, each in enumerate(result) if isinstance(each, KeyConflictError)]
        if conflicts:
            said = "another row has this key"
            errors = [{"loc": ["body"] if single else ["body", at], "msg": said} for at in conflicts]
            raise Problem(409, "the key is taken by another row", errors=errors)
        standing: list[Entry] = result
        return standing


def _prepared(
    served: Served, champion: Champion, body: bytes, headers: Mapping[bytes, bytes], most: int
) -> tuple[list[Entry], bool]:
    """The entries that a body asks for, and whether it is a single row."""
    data = parsed(body)
    single = not isinstance(data, list)
    posted = [data] if single else data
    if len(posted) > most:
        raise Problem(413, f"{len(posted):,} rows are more than {most:,}")
    rows = rows_of(served.decoder, posted, single=single)
    keys = _keys(served, rows, headers, single=single)
    now, digests = datetime.now(UTC), None
    if champion.lookups is not None:
        # The same row sent again is the same, whatever is known of its keys by then.
        digests = [digest_of_row(inputs_of(row, served.system.target)) for row in rows]
        try:
            champion.lookups.fill(rows, now)
        except HeadraceError as error:
            raise busy(f"the stored features cannot be looked up: {error.message}", 5) from error
    return _entries(served, champion, rows, keys, now, digests), single


def _keys(served: Served, rows: list[dict[str, Any]], headers: Mapping[bytes, bytes], *, single: bool) -> list[str]:
    given = headers.get(b"idempotency-key")
    if given is None:
        return [key_text(served.system, row) for row in rows]
    if not _KEY(given):
        at = ["header", "idempotency-key"]
        raise Problem(
            400,
            "the Idempotency-Key is not of 1 to 255 visible ASCII characters",
            errors=[{"loc": at, "msg": "is not of 1 to 255 visible ASCII characters"}],
        )
    text = given.decode()
    # A blank cannot be part of the header, so no other key reads like that of a place.
    return [f"idempotency:{text}"] if single else [f"idempotency:{text} {place}" for place in range(len(rows))]


def _entries(
    served: Served,
    champion: Champion,
    rows: list[dict[str, Any]],
    keys: list[str],
    now: datetime,
    digests: list[str] | None,
) -> list[Entry]:
    system, predictor = served.system, champion.predictor
    assert predictor is not None
    cause = row_cause(system.name, champion.pins)
    try:
        told = [predictor.answer(rows[0])] if len(rows) == 1 else predictor.answers(rows)
    except (HeadraceError, ArithmeticError, ValueError) as error:
        raise Problem(422, f"a feature cannot be computed for this: {error}", reason="no_features") from error
    version, entries = champion.version.version, []
    for place, (row, key, said) in enumerate(zip(rows, keys, told, strict=True)):
        inputs = inputs_of(row, system.target)
        digest = digests[place] if digests is not None else digest_of_row(inputs)
        name = row_prediction_id(f"{cause}|{digest}", key, now)
        shown = row[system.keys[0]] if len(system.keys) == 1 else [row[k] for k in system.keys]
        answer = _encode({"id": name, "key": shown, **said, "model_version": version})
        entries.append(Entry(system.name, key, name, digest, inputs, answer, champion.pinned, version, now))
    return entries
