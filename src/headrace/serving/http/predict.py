"""The hot route: rows in, durably logged predictions out. Plain ASGI, one request a few tens of microseconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from headrace.contract.many import ManyRows
from headrace.errors import HeadraceError, KeyConflictError, LedgerFullError
from headrace.identity import digest_of_row, inputs_of, key_text, with_features
from headrace.ledger import Entry, LedgerWriter, call_each
from headrace.lineage import row_cause, row_prediction_id
from headrace.serving.http.access import PREDICT, Access
from headrace.serving.http.answered_why import AnsweredWhy
from headrace.serving.http.asking import Why, asked_by, refuse_unknown_class, taken, version_at
from headrace.serving.http.body import Receive, Uncarried, every_fault, parsed, rows_of, unmarked, whole
from headrace.serving.http.call import JSON, Answer, Call, given_keys
from headrace.serving.http.champion import Champion
from headrace.serving.http.deadline import Deadlines
from headrace.serving.http.events import EventRoute, Opened
from headrace.serving.http.form import Form
from headrace.serving.http.guessing import WrongTokens
from headrace.serving.http.many import entries_of, key_texts, no_features, together
from headrace.serving.http.options import Options
from headrace.serving.http.packing import packed_by, unpacked
from headrace.serving.http.problem import Problem, busy, unforeseen
from headrace.serving.http.protocols import tables
from headrace.serving.http.protocols.enveloped import Envelopes
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.spans import Spans, within
from headrace.serving.http.spans import together as rows_together
from headrace.serving.http.telemetry import AccessLog, Telemetry, headers_of, trace_text, traced
from headrace.tasks.explanation import Explanation

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATE = "headrace.predict"
"""The name in the lifespan's state under which the server's connections find the route."""
ROUTE = "/v1/systems/{system}/predict"
_OK = 200
_encode = msgspec.json.Encoder().encode
LARGE = 2**16
"""Bytes of a body that is worked on in a thread: on the event loop the other requests would wait for it. So they would
for look-ups over a network; one in a file is quicker than a thread."""
SMALL = 4096
"""Bytes of a body up to which a call waits for others of its turn."""
SEVERAL = 3
"""From so many calls of one turn on they are quicker as the rows of one array."""
MOST = 64
"""So many calls wait for no more."""
_log = logging.getLogger("headrace.serving")


class _Awaited(Call):
    """A call that a task of the server waits for."""

    __slots__ = ("answered", "explained", "form", "version", "why")

    def __init__(self, form: Form | None, *about: Any) -> None:
        super().__init__(*about)
        self.form, self.version, self.why = form, None, None
        self.explained: list[Explanation] = []
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def reply(self, answer: Answer) -> None:
        """Wake the task."""
        if not self.answered.done():  # the task was cancelled
            self.answered.set_result(answer)


class PredictRoute:
    """``POST /v1/systems/{s}/predict``: for the systems that score rows here, for those that forecast in `events`."""

    def __init__(
        self,
        served: Mapping[str, ServedSystem],
        options: Options,
        access: Access,
        telemetry: Telemetry,
        log: AccessLog | None,
        opened: Opened,
        wrong: WrongTokens,
    ) -> None:
        self._served, self._options, self._access, self._wrong = served, options, access, wrong
        self._telemetry, self._log = telemetry, log
        self.writer: LedgerWriter | None = None
        self.spans: Spans | None = None
        self.quick = min(LARGE, options.max_body)
        self.deadlines: Deadlines[Call] = Deadlines()
        self.events = EventRoute(options, opened)
        self.both = AnsweredWhy(options.max_body)
        self._come: list[Call] = []
        self._waiting: list[tuple[list[Entry], Callable[[Any], None]]] = []
        self._envelopes = Envelopes([each.system for each in served.values()])
        self._paths = {
            ROUTE.format(system=name).encode(): each
            for name, each in served.items()
            if not each.task.stateful and name not in self._envelopes.openers
        }

    async def __call__(self, name: str, scope: Scope, receive: Receive, send: Send, form: Form | None = None) -> None:
        """Answer one request of any kind. What is said is a prediction or a problem, never an exception."""
        headers = headers_of(scope["headers"])
        form = form or self._envelopes.asked(name, headers) or tables.asked(headers)
        call = _Awaited(form, name, scope["method"], scope["path"], headers, scope.get("client"))
        self._trace(call)
        try:
            served = self._allowed(call)
            call.version, call.why = asked_by(scope["query_string"], form)
            if b"class=" in scope["query_string"]:
                refuse_unknown_class(scope["query_string"], served)
            if call.why is not None:
                self.both.refuse(served)
            limit = self._options.max_body if call.why is None else self.both.limit
            call.body = await self._body(call.headers, receive, limit)
            tell = await self._prepare(served, call, receive)
        except Exception as error:  # noqa: BLE001  # it is told, and logged where nobody foresaw it
            self._refuse(call, error)
        else:
            tell()
        answer = await call.answered
        if call.form is not None:
            answer = await self._written(call, call.form, answer)
        if call.why is not None:
            answer = await self._explained(call, call.why, receive, answer)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers(call.request_id)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _explained(self, call: _Awaited, why: Why, receive: Receive, answer: Answer) -> Answer:
        """The answer with its explanations."""
        if answer.status == HTTPStatus.OK:
            try:
                answer = await self.both.joined(self._served[call.name].home, answer, call.explained, receive, why)
            except Problem as problem:
                answer = Answer.of(problem)
        self._noted(call, ROUTE, answer.status)
        return answer

    async def _written(self, call: Call, form: Form, answer: Answer) -> Answer:
        """The answer in the form that the request has."""
        if answer.status == HTTPStatus.OK:
            write = partial(form.answer, self._served[call.name], answer.body)
            try:
                body, kind, more = (
                    await run_in_threadpool(write) if form.threaded or len(answer.body) >= LARGE else write()
                )
                answer = Answer(body, kind=kind, more=more)
            except Exception:  # noqa: BLE001  # it is logged, and the client has an answer
                _log.exception("request %s failed in an unforeseen way", call.request_id.decode())
                answer = _refused(form, unforeseen())
        self._noted(call, form.route, answer.status)
        return answer

    async def _prepare(self, served: ServedSystem, call: _Awaited, receive: Receive) -> Callable[[], None]:
        """What is left to do for the answer, once the rest was done that can go wrong."""
        champion = await self._asked(served, call)
        if call.form is not None:
            await self._read(call.form, served, champion or served.champion, call)
        if champion is None:
            body, events, version = await self.events.answer(served, call)
            return partial(self._predicted, call, version, events, body)
        if call.why is not None:
            return await self._with_reasons(served, champion, call, call.why, receive)
        prepare: Callable[[], Any] = partial(
            _prepared, served, champion, call.body, call.headers, self._options.max_rows
        )
        threaded = _far(champion) or len(call.body) >= LARGE
        if call.span is not None:
            prepare = call.span.timed(prepare)
        prepared = await run_in_threadpool(prepare) if threaded else prepare()
        return partial(self._keep, call, champion.version.version, *prepared)

    async def _with_reasons(
        self, served: ServedSystem, champion: Champion, call: _Awaited, why: Why, receive: Receive
    ) -> Callable[[], None]:
        """As `_prepare`, with what explains the answer. Nothing is stored where that fails."""
        read = partial(_read, served, call.body, call.headers, self._options.max_rows)
        rows, keys, single = await run_in_threadpool(read)
        entries = await run_in_threadpool(_answered, served, champion, rows, keys, datetime.now(UTC))
        call.explained = await self.both.of_rows(receive, served, champion, rows, keys, why)
        return partial(self._keep, call, champion.version.version, entries, single)

    async def _asked(self, served: ServedSystem, call: Call) -> Champion | None:
        """The version that a call asks for, or the champion; None where it is events that are answered."""
        if served.task.stateful:
            return None
        champion = self._champion(served)
        if call.version is None:
            return champion
        if call.version == champion.version.version:
            return replace(champion, canary=None)
        ready = served.versions.ready(call.version)
        return ready if ready is not None else await run_in_threadpool(version_at, served, call.version)

    async def _read(self, form: Form, served: ServedSystem, champion: Champion | None, call: Call) -> None:
        form.most = self._options.max_rows
        read = partial(form.rows, served, 0 if champion is None else champion.version.version, call.body)
        call.body = await run_in_threadpool(read) if form.threaded or len(call.body) >= LARGE else read()

    def close_short(self) -> None:
        """Answer nothing at once: each request is counted by who made it first."""
        self._paths = {}

    def short(self, path: bytes) -> str | None:
        """The system that a path posts rows to, if one row of it is quick: then `at_once` may be called."""
        served = self._paths.get(path)
        return None if served is None or _far(served.champion) else served.system.name

    def at_once(self, call: Call) -> None:
        """Answer a call whose body is there: at the end of this turn of the loop, or once its predictions are durable.

        What came in one turn, and while it came, is worked on together. Were each call answered by itself, the kernel's
        way through the network and ours through the model would drive each other out of the processor's caches, and the
        client be woken for every answer. A body that is not small has enough to do by itself: nobody waits for its
        answer.
        """
        self._trace(call)
        if len(call.body) > SMALL:
            self._tell(call)()
            return
        self._come.append(call)
        if len(self._come) == 1:
            asyncio.get_running_loop().call_soon(self._answer_soon, 0)

    def _answer_soon(self, systems: int) -> None:
        """Answer what has come, as soon as a look at the sockets brings no more."""
        if systems < len(self._come) < MOST:
            asyncio.get_running_loop().call_soon(self._answer_soon, len(self._come))
        else:
            self.answer_come()

    def answer_come(self) -> None:
        """Work the answers to all calls that have come out, before the first is told."""
        come, self._come = self._come, []
        by_system: dict[str, list[Call]] = {}
        for call in come:
            by_system.setdefault(call.name, []).append(call)
        call_each([tell for calls in by_system.values() for tell in self._tells(calls)])

    def _tells(self, calls: list[Call]) -> list[Callable[[], None]]:
        """What is left to do for the answers to calls for one system, once the rest was done that can go wrong."""
        entries = None
        began = 0 if self.spans is None else time.time_ns()
        if len(calls) >= SEVERAL:
            try:
                served = [self._allowed(call) for call in calls][-1]
                champion = self._champion(served)
                entries = together(served, champion, calls)
            except Problem:
                entries = None  # whose it is turns out one by one
            except Exception:  # noqa: BLE001  # it is logged, and one by one they may be answered
                _log.exception("answering calls together failed in an unforeseen way")
        if entries is None:
            return list(map(self._tell, calls))
        version = champion.version.version
        if self.spans is not None:
            rows_together([call.span for call in calls], began)
        return [partial(self._keep, call, version, [entry], True) for call, entry in zip(calls, entries, strict=True)]

    def _tell(self, call: Call) -> Callable[[], None]:
        """`_tells` for a call alone."""
        try:
            served = self._allowed(call)
            champion = self._champion(served)
            if call.span is None:
                prepared = _prepared(served, champion, call.body, call.headers, self._options.max_rows)
            else:
                with call.span.predicting():
                    prepared = _prepared(served, champion, call.body, call.headers, self._options.max_rows)
        except Exception as error:  # noqa: BLE001  # it is told, and logged where nobody foresaw it
            return partial(self._refuse, call, error)
        return partial(self._keep, call, champion.version.version, *prepared)

    def _trace(self, call: Call) -> None:
        if self.spans is not None:
            ago = time.perf_counter() - call.began
            request = call.method, call.path, call.headers, call.client
            call.span = self.spans.of(*request, ago=ago, system=call.name)

    def _finish(self, call: Call, answer: Answer) -> None:
        call.reply(answer)
        if call.form is None and call.why is None:  # else it is yet to be written
            self._noted(call, ROUTE, answer.status)

    def _noted(self, call: Call, route: str, status: int) -> None:
        seconds = time.perf_counter() - call.began
        self._telemetry.request(route, call.method, status, seconds)
        if status == _OK:
            self._telemetry.latencies.note(call.name, seconds)
        span = call.span
        if span is not None:
            span.over(route, status)
        if self._log is not None:
            trace = traced(call.headers, None if span is None else span.span)
            self._log.write(call.method, call.path, call.client, status, seconds, call.request_id, call.body, trace)

    def _refuse(self, call: Call, error: Exception) -> None:
        if isinstance(error, Problem):
            error = self._wrong.judged(error, call.headers.get(b"authorization", b""), call.client)
            known = call.name if call.name in self._served else "unknown"
            self._telemetry.refused.labels(known, error.reason).inc(error.rows)
            # Its frames refer to it in a circle, which would keep the call until the collector comes.
            error.__traceback__ = error.__context__ = error.__cause__ = None
        elif isinstance(error, HeadraceError | OSError):  # what is to be read cannot be, now
            _log.warning("request %s: %s", call.request_id.decode(), error)
            error = busy(error.message if isinstance(error, HeadraceError) else str(error), 5)
        else:
            _log.error("request %s failed in an unforeseen way", call.request_id.decode(), exc_info=error)
            error = unforeseen()
        self._finish(call, Answer.of(error) if call.form is None else _refused(call.form, error))

    def _allowed(self, call: Call) -> ServedSystem:
        name, headers = call.name, call.headers
        self._access.check(headers.get(b"authorization", b""), name, PREDICT)
        served = self._served.get(name)
        if served is None:
            several = "several systems are served here: post to /v1/systems/{system}/invocations"
            raise Problem(404, f"no system {name[:80]!r} is served here" if name else several)
        if call.method != "POST":
            raise Problem(405, "rows are posted", headers=[(b"allow", b"POST")])
        kind = headers.get(b"content-type", b"")
        if call.form is not None:
            call.form.check(headers)
        elif kind != JSON and not _is_json(kind):
            raise Problem(
                415,
                "the body must be JSON, CSV with a header or an Arrow stream",
                errors=[{"loc": ["header", "content-type"], "msg": "is not application/json"}],
            )
        packed_by(headers)
        return served

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            raise Problem(413, f"the body is larger than {limit:,} bytes")
        try:
            async with asyncio.timeout(self._options.body_timeout):
                body = await whole(receive, limit)
        except TimeoutError as error:
            raise Problem(408, "the body did not arrive in time") from error
        if packed_by(headers):
            body = await run_in_threadpool(unpacked, body, limit)
        return unmarked(body)

    def _champion(self, served: ServedSystem) -> Champion:
        champion = served.champion
        if served.lost is not None:
            raise busy(f"{served.system.name} is not ready: {served.lost}", 5)
        waits = self._options.logged and (self.writer is None or champion is None or not champion.pinned)
        if champion is None or champion.predictor is None or waits:
            raise busy(f"{served.system.name} is not ready: {served.trouble or 'the ledger is away'}", 5)
        return champion

    def _keep(self, call: Call, version: int, entries: list[Entry], single: bool) -> None:
        """Answer with these entries; where predictions are logged, when they are durable."""
        if self.writer is None:
            self._told(call, version, entries, single)
            return
        if call.span is not None:
            call.span.keeps()
        if call.span is not None or b"traceparent" in call.headers:
            trace = trace_text(call.headers, None if call.span is None else call.span.span)
            entries = [entry._replace(trace=trace) for entry in entries]
        if call.version is not None:
            entries = [entry._replace(strict=True) for entry in entries]
        self.deadlines.within(self._options.answer_timeout, call, self._late)
        self._waiting.append((entries, partial(self._settled, call, version, single)))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over, self.writer)

    def _hand_over(self, writer: LedgerWriter) -> None:
        """Give what came in one turn of the loop to the writer together: to wake it for each costs more than a row."""
        waiting, self._waiting = self._waiting, []
        call_each([partial(settle, error) for settle, error in writer.submit_all(waiting)])

    def _late(self, call: Call) -> None:
        # Written or not is not known here; the same key sent again finds out.
        self._refuse(call, busy("the prediction was not durable in time; send the same key again"))

    def _settled(self, call: Call, version: int, single: bool, result: Any) -> None:
        """Called from the writer by way of the loop: with the entries that stand, or why there are none."""
        if not self.deadlines.done(call):
            return
        if call.span is not None:
            call.span.kept()
        if isinstance(result, HeadraceError):
            self._refuse(call, busy(result.message, 1 if isinstance(result, LedgerFullError) else 5))
            return
        conflicts = [(place, error) for place, error in enumerate(result) if isinstance(error, KeyConflictError)]
        if conflicts:
            self._refuse(call, taken(conflicts, len(result), single=single))
            return
        self._told(call, version, result, single)

    def _told(self, call: Call, version: int, entries: list[Entry], single: bool) -> None:
        if single:
            body = entries[0].answer
        else:
            body = b'{"predictions":[%b],"model_version":%d}' % (
                b",".join([entry.answer for entry in entries]),
                version,
            )
        if self._served[call.name].beside.canary is not None:
            for other, count in Counter(entry.model_version for entry in entries).items():
                self._telemetry.predicted(call.name, other, count)
            self._finish(call, Answer(body))
            return
        self._predicted(call, version, len(entries), body)

    def _predicted(self, call: Call, version: int, count: int, body: bytes) -> None:
        self._telemetry.predicted(call.name, version, count)
        if call.span is not None:
            call.span.say(headrace__model_version=version, headrace__rows=count)
        self._finish(call, Answer(body))


def _far(champion: Champion | None) -> bool:
    """Whether a row needs look-ups that take longer than a thread is worth."""
    return champion is not None and champion.far


def _refused(form: Form, problem: Problem) -> Answer:
    body, kind = form.refusal(problem)
    return Answer(body, problem.status, kind, problem.headers)


def _is_json(kind: bytes) -> bool:
    plain = kind.partition(b";")[0].strip().lower()
    return plain in (JSON, b"text/json") or plain.endswith(b"+json")


def _prepared(
    served: ServedSystem, champion: Champion, body: bytes, headers: Mapping[bytes, bytes], limit: int
) -> tuple[list[Entry], bool]:
    """The entries that a body asks for, and whether it is a single row."""
    now = datetime.now(UTC)
    rows_many = served.many(body) if champion.plain else None
    if rows_many is not None:
        _refuse_more(len(rows_many.inputs), limit)
        keys_given = given_keys(headers, len(rows_many.inputs))
        return entries_of(
            served, champion, rows_many, keys_given or key_texts(served.system.keys, rows_many.columns), now
        ), False
    rows, keys, single = _read(served, body, headers, limit)
    return _answered(served, champion, rows, keys, now), single


def _read(
    served: ServedSystem, body: bytes, headers: Mapping[bytes, bytes], limit: int
) -> tuple[list[dict[str, Any]], list[str], bool]:
    """The rows of a body, decoded, with their keys, and whether it is a single one."""
    try:
        data = parsed(body)
    except Uncarried as error:
        raise every_fault(error, served.decoder) from error
    single = not isinstance(data, list)
    posted = [data] if single else data
    _refuse_more(len(posted), limit)
    try:
        rows = rows_of(served.decoder, posted, single=single)
    except Problem as problem:
        problem.rows = len(posted)
        raise
    return rows, _keys(served, rows, headers, single=single), single


def _answered(
    served: ServedSystem, champion: Champion, rows: list[dict[str, Any]], keys: list[str], now: datetime
) -> list[Entry]:
    """The entries of rows, in order; they get what is looked up."""
    parts = champion.parts(keys)
    if parts is None:
        return _looked_up(served, champion, rows, keys, now)
    entries_found: dict[int, Entry] = {}
    for champion_part, places in parts:
        entries = _looked_up(
            served, champion_part, [rows[place] for place in places], [keys[place] for place in places], now
        )
        entries_found |= zip(places, entries, strict=True)
    return [entries_found[index] for index in range(len(keys))]


def _looked_up(
    served: ServedSystem, champion: Champion, rows: list[dict[str, Any]], keys: list[str], now: datetime
) -> list[Entry]:
    """The entries of rows that one version answers, once they have what it looks up."""
    if champion.lookups is None:
        return _entries(served, champion, rows, keys, now, None)
    # The same row sent again is the same, whatever is known of its keys by then.
    digests = [digest_of_row(inputs_of(row, served.system.target)) for row in rows]
    try:
        with within("look up"):
            champion.lookups.fill(rows, now)
    except HeadraceError as error:
        raise busy(f"the stored features cannot be looked up: {error.message}", 5) from error
    return _entries(served, champion, rows, keys, now, digests)


def _refuse_more(rows: int, limit: int) -> None:
    if rows > limit:
        raise Problem(413, f"{rows:,} rows are more than {limit:,}")


def _keys(
    served: ServedSystem, rows: list[dict[str, Any]], headers: Mapping[bytes, bytes], *, single: bool
) -> list[str]:
    sent = given_keys(headers, None if single else len(rows))
    return [key_text(served.system.keys, row) for row in rows] if sent is None else sent


def _entries(
    served: ServedSystem,
    champion: Champion,
    rows: list[dict[str, Any]],
    keys: list[str],
    now: datetime,
    digests: list[str] | None,
) -> list[Entry]:
    system, predictor = served.system, champion.predictor
    assert predictor is not None
    inputs = [inputs_of(row, system.target) for row in rows]
    if len(rows) != 1:
        columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else served.system.contract.names)}
        return entries_of(served, champion, ManyRows(columns, inputs), keys, now, digests)
    row, key = rows[0], keys[0]
    try:
        said = predictor.answer(row)
    except (HeadraceError, ArithmeticError, ValueError) as error:
        raise no_features(error) from error
    version = champion.version.version
    digest = digests[0] if digests is not None else digest_of_row(inputs[0])
    name = row_prediction_id(f"{row_cause(system.name, champion.pins)}|{digest}", key, now)
    shown = row[system.keys[0]] if len(system.keys) == 1 else [row[k] for k in system.keys]
    logged = inputs[0]
    if system.log_features:
        logged = with_features(logged, predictor.features({column: [value] for column, value in row.items()})[0])
    answer = _encode({"id": name, "key": shown, **said, "model_version": version})
    return [Entry(system.name, key, name, digest, logged, answer, champion.pinned, version, now)]
