"""Posted events: a series' next steps as the answer, by the stream's state and predictor, logged before it leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from headrace.contract.apart import called
from headrace.errors import DeclarationError, HeadraceError, KeyConflictError, LateEventError, LedgerFullError
from headrace.home import Home
from headrace.identity import digest_of_row
from headrace.ledger import Entry, LedgerWriter, call_each
from headrace.lineage import iso
from headrace.serving.http.asking import version_at
from headrace.serving.http.body import parsed
from headrace.serving.http.call import Call, given_keys
from headrace.serving.http.champion import KEPT
from headrace.serving.http.options import Options
from headrace.serving.http.problem import SHOWN, Problem, busy
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.telemetry import trace_text
from headrace.serving.posted.log import EventLog
from headrace.sources.events import EventDecoder, Events, EventShape
from headrace.system import System

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LARGE = 2**16
"""Bytes of a body that is read in a thread."""
_BATCH = 256
"""Events of a transaction, unless one body has more: while they are answered, no other writer has the ledger."""
_encode = msgspec.json.Encoder().encode


Opened = Callable[[Sequence[str], LedgerWriter, Callable[[], None]], None]


@dataclass(frozen=True)
class _EventDoor:
    """What answers the events of one system."""

    shape: EventShape
    log: EventLog
    writer: LedgerWriter
    decode: EventDecoder
    place: int


class EventRoute:
    """Answers the events of the systems that forecast.

    Args:
        options: Limits and time-outs.
        opened: Told of every writer, the systems that it is for, and how to see whether it can write.
    """

    def __init__(self, options: Options, opened: Opened) -> None:
        self._options, self.opened = options, opened
        self._doors: OrderedDict[tuple[str, int | None], _EventDoor] = OrderedDict()
        self._opening = asyncio.Lock()

    async def answer(self, served: ServedSystem, call: Call) -> tuple[bytes, int, int]:
        """The answer's bytes, the number of events, and the version of the model.

        Raises:
            Problem: Something is refused; then nothing of the body was logged.
        """
        if served.lost is not None:
            raise busy(f"{served.system.name} is not ready: {served.lost}", 5)
        asked = call.version
        door, champion = await self._door(served, asked), served.champion
        assert champion is not None
        prepare = partial(self._prepared, served.system, door, call)
        entries, single = await run_in_threadpool(prepare, None) if len(call.body) >= _LARGE else prepare(door.decode)
        if asked is not None:
            entries = [entry._replace(strict=True) for entry in entries]
        answers = [entry.answer for entry in await self._durable(door, entries, call, single=single)] if entries else []
        version = champion.version.version if asked is None else asked
        if single:
            return answers[0], 1, version
        return b'{"predictions":[%b],"model_version":%d}' % (b",".join(answers), version), len(answers), version

    def close(self, timeout: float) -> None:
        """Log what is waiting, and take nothing more."""
        for door in self._doors.values():
            door.writer.close(timeout)

    async def _door(self, served: ServedSystem, version: int | None) -> _EventDoor:
        """What answers events by the champion, or by a version: with a state of its own, which follows the one log."""
        name = served.system.name
        door = self._doors.get((name, version))
        if version is not None and door is not None:
            self._doors.move_to_end((name, version))
        if door is None:
            shape = shape_of(served.system, served.home, logged=self._options.logged)
            if isinstance(shape, str):
                raise Problem(404, f"{name} forecasts series; read them: GET /v1/systems/{name}/predictions: {shape}")
            if served.champion is None:
                raise busy(f"{name} is not ready: {served.trouble}", 5)
            async with self._opening:
                door = self._doors.get((name, version)) or await self._opened(served, shape, version)
        return door

    async def _opened(self, served: ServedSystem, shape: EventShape, asked: int | None) -> _EventDoor:
        if asked is None:
            log = EventLog(served.system, served.home, lambda: served.champion.pins if served.champion else None)
        else:
            version = await run_in_threadpool(version_at, served, asked)
            log = EventLog(served.system, served.home, lambda: version.pins)
        try:
            await run_in_threadpool(log.open)
        except HeadraceError as error:
            raise busy(f"{served.system.name} cannot answer events: {error.message}", 5) from error
        loop = asyncio.get_running_loop()

        def settle(thunks: Sequence[Callable[[], None]]) -> None:
            # A loop that has closed has nobody left to answer; what was logged is durable all the same.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(call_each, thunks)

        writer = LedgerWriter(log, capacity=self._options.capacity, batch=_BATCH, on_batch=settle)
        name, place = served.system.name, 0
        if asked is not None:
            place = await self._place(name)
        self.opened([name if asked is None else f"{name}, asked version {place}"], writer, log.look)
        door = self._doors[name, asked] = _EventDoor(shape, log, writer, EventDecoder(shape), place)
        return door

    async def _place(self, name: str) -> int:
        """A place for a version that is asked for; where all are taken, that of the one not asked for longest."""
        keys = [key for key in self._doors if key[0] == name and key[1] is not None]
        if len(keys) < KEPT:
            return len(keys) + 1
        oldest = self._doors.pop(keys[0])
        await run_in_threadpool(oldest.writer.close, self._options.answer_timeout)
        return oldest.place

    def _prepared(
        self, system: System, door: _EventDoor, call: Call, decode: EventDecoder | None
    ) -> tuple[list[Entry], bool]:
        """The events of a body, and whether it is a single one. A decoder is for one thread; None makes another."""
        body, headers = call.body, call.headers
        data = parsed(body)
        single = not isinstance(data, list)
        posted = [data] if single else data
        if len(posted) > self._options.max_rows:
            raise Problem(413, f"{len(posted):,} events are more than {self._options.max_rows:,}")
        now = datetime.now(UTC)
        bodies = [body] if single else [_encode(event) for event in posted]
        decode = decode or EventDecoder(door.shape)
        events = decode(bodies, [int(now.timestamp() * 1000)] * len(bodies))
        _refuse(events, door, single=single)
        entries = [_entry(system.name, door.shape, decode, events, i, now) for i in range(len(posted))]
        trace = trace_text(headers, None if call.span is None else call.span.span)
        if trace:
            entries = [entry._replace(trace=trace) for entry in entries]
        keys = given_keys(headers, None if single else len(entries))
        if keys is not None:
            entries = [entry._replace(key=key) for entry, key in zip(entries, keys, strict=True)]
        return entries, single

    async def _durable(self, door: _EventDoor, entries: list[Entry], call: Call, *, single: bool) -> list[Entry]:
        """The entries that stand, answered and durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            if not future.done():
                future.set_result(result)

        if call.span is not None:
            call.span.keeps()
            door.log.traced[entries[0].trace] = call.span.span
        try:
            door.writer.submit(entries, settle)
            async with asyncio.timeout(self._options.answer_timeout):
                result = await future
        except LedgerFullError as error:
            raise busy(error.message) from error
        except TimeoutError as error:
            # Logged or not is not known here; the same event sent again finds out.
            raise busy("the answer was not durable in time; send the same event again") from error
        except HeadraceError as error:
            raise busy(error.message, 5) from error
        finally:
            if call.span is not None:
                call.span.kept()
                door.log.traced.pop(entries[0].trace, None)
        if isinstance(result, HeadraceError):
            raise busy(result.message, 5) from result
        _refuse_standing(result, door.shape, single=single)
        answered: list[Entry] = result
        return answered


def shape_of(system: System, home: Home, *, logged: bool = True) -> EventShape | str:
    """What the events of a system look like, or why it answers none."""
    if not logged:
        return "a server that logs nothing answers no events"
    try:
        return system.event_shape(home.grid(system))
    except DeclarationError as error:
        return error.message


def _entry(system: str, shape: EventShape, decode: EventDecoder, events: Events, i: int, now: datetime) -> Entry:
    """An event on its way to the log; its answer is still to come."""
    row, micros = events.rows[i], int(events.time[i])
    time = iso(_EPOCH + micros * _MICROSECOND)
    values = {name: getattr(row, attribute) for name, attribute in decode.fields.items()}
    values_of = {name: row.time if name == shape.time else values[name] for name in shape.contract.names}
    digest = digest_of_row(_encode(values | {shape.time: time}))
    # A step has any number of events: one is told from another by all that it says.
    key = _encode([*events.keys[i], time, *([digest] if shape.aggregates else [])]).decode()
    inputs = _encode({called(name): value for name, value in values_of.items() if value is not None})
    return Entry(system, key, "", digest, inputs, b"", "", 0, now)


def _refuse(events: Events, door: _EventDoor, *, single: bool) -> None:
    """Refuse a body with a bad event: 422, or 409 where it would be good at another time."""
    errors: list[dict[str, Any]] = []
    early = True
    for place, reason in events.bad:
        path = ["body"] if single else ["body", place]
        early = early and reason.early
        errors += [{"loc": [*path, *([column] if column else [])], "msg": message} for column, message in reason.faults]
    for place, series in zip(events.place, events.keys, strict=True):
        unknown = door.log.refused(series)
        if unknown is not None:
            early = False
            errors.append({"loc": [*(["body"] if single else ["body", place]), *door.shape.keys[:1]], "msg": unknown})
    if errors:
        message = f"{errors[0]['loc'][-1]}: {errors[0]['msg']}"
        raise Problem(409 if early else 422, message, errors=errors[:SHOWN], reason="early" if early else "bad_event")


def _refuse_standing(result: Sequence[Entry | HeadraceError], shape: EventShape, *, single: bool) -> None:
    """Refuse a body that the log speaks against."""
    errors, detail, reason = [], "", ""
    for place, answer in enumerate(result):
        path: list[str | int] = ["body"] if single else ["body", place]
        if isinstance(answer, LateEventError):
            errors.append({"loc": [*path, shape.time], "msg": answer.message})
            detail, reason = f"{shape.time}: {answer.message}", "late"
        elif isinstance(answer, KeyConflictError):
            other = "another event has" if answer.version is None else f"version {answer.version} has answered"
            errors.append({"loc": path, "msg": f"{other} this key"})
            detail, reason = f"{answer.message}; {answer.hint}", "conflict"
    if errors:
        raise Problem(409, detail, errors=errors, reason=reason)
