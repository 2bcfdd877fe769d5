"""Posted events: a series' next steps as the answer, by the stream's state and predictor, logged before it leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from headrace.contract.apart import called
from headrace.errors import DeclarationError, HeadraceError, KeyConflictError, LateEventError, LedgerFullError
from headrace.home import Home
from headrace.ledger import Entry, Writer, call_each
from headrace.lineage import iso
from headrace.row_predictor import digest_of_row
from headrace.serving.http.body import parsed
from headrace.serving.http.call import given_keys
from headrace.serving.http.options import Options
from headrace.serving.http.problem import SHOWN, Problem, busy
from headrace.serving.http.served import Served
from headrace.serving.http.telemetry import trace_of
from headrace.serving.posted.log import EventLog
from headrace.sources.events import EventDecoder, Events, Shape
from headrace.system import System

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_LARGE = 2**16
"""Bytes of a body that is read in a thread."""
_BATCH = 256
"""Events of a transaction, unless one body has more: while they are answered, no other writer has the ledger."""
_encode = msgspec.json.Encoder().encode


Opened = Callable[[Sequence[str], Writer, Callable[[], None]], None]


@dataclass(frozen=True)
class _Door:
    """What answers the events of one system."""

    shape: Shape
    log: EventLog
    writer: Writer
    decode: EventDecoder


class EventRoute:
    """Answers the events of the systems that forecast.

    Args:
        options: Limits and time-outs.
        opened: Told of every writer, the systems that it is for, and how to see whether it can write.
    """

    def __init__(self, options: Options, opened: Opened) -> None:
        self._options, self.opened = options, opened
        self._doors: dict[str, _Door] = {}
        self._opening = asyncio.Lock()

    async def answer(self, served: Served, body: bytes, headers: Mapping[bytes, bytes]) -> tuple[bytes, int, int]:
        """The answer's bytes, the number of events, and the version of the model.

        Raises:
            Problem: Something is refused; then nothing of the body was logged.
        """
        if served.lost is not None:
            raise busy(f"{served.system.name} is not ready: {served.lost}", 5)
        door, champion = await self._door(served), served.champion
        assert champion is not None
        prepare = partial(self._prepared, served.system, door, body, headers)
        entries, single = await run_in_threadpool(prepare, None) if len(body) >= _LARGE else prepare(door.decode)
        told = [each.answer for each in await self._durable(door, entries, single=single)] if entries else []
        if single:
            return told[0], 1, champion.version.version
        version = champion.version.version
        return b'{"predictions":[%b],"model_version":%d}' % (b",".join(told), version), len(told), version

    def close(self, timeout: float) -> None:
        """Log what is waiting, and take nothing more."""
        for door in self._doors.values():
            door.writer.close(timeout)

    async def _door(self, served: Served) -> _Door:
        name = served.system.name
        door = self._doors.get(name)
        if door is None:
            shape = shape_of(served.system, served.home, logged=self._options.logged)
            if isinstance(shape, str):
                raise Problem(404, f"{name} forecasts series; read them: GET /v1/systems/{name}/predictions: {shape}")
            if served.champion is None:
                raise busy(f"{name} is not ready: {served.trouble}", 5)
            async with self._opening:
                door = self._doors.get(name) or await self._opened(served, shape)
        return door

    async def _opened(self, served: Served, shape: Shape) -> _Door:
        log = EventLog(served.system, served.home, lambda: served.champion.pins if served.champion else None)
        try:
            await run_in_threadpool(log.open)
        except HeadraceError as error:
            raise busy(f"{served.system.name} cannot answer events: {error.message}", 5) from error
        loop = asyncio.get_running_loop()

        def settle(thunks: Sequence[Callable[[], None]]) -> None:
            # A loop that has closed has nobody left to answer; what was logged is durable all the same.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(call_each, thunks)

        writer = Writer(log, capacity=self._options.capacity, batch=_BATCH, on_batch=settle)
        self.opened([served.system.name], writer, log.look)
        door = self._doors[served.system.name] = _Door(shape, log, writer, EventDecoder(shape))
        return door

    def _prepared(
        self, system: System, door: _Door, body: bytes, headers: Mapping[bytes, bytes], decode: EventDecoder | None
    ) -> tuple[list[Entry], bool]:
        """The events of a body, and whether it is a single one. A decoder is for one thread; None makes another."""
        data = parsed(body)
        single = not isinstance(data, list)
        posted = [data] if single else data
        if len(posted) > self._options.max_rows:
            raise Problem(413, f"{len(posted):,} events are more than {self._options.max_rows:,}")
        now = datetime.now(UTC)
        bodies = [body] if single else [_encode(each) for each in posted]
        decode = decode or EventDecoder(door.shape)
        events = decode(bodies, [int(now.timestamp() * 1000)] * len(bodies))
        _refuse(events, door, single=single)
        entries = [_entry(system.name, door.shape, decode, events, i, now) for i in range(len(posted))]
        trace = trace_of(headers.get(b"traceparent"))
        if trace:
            entries = [entry._replace(trace=trace) for entry in entries]
        keys = given_keys(headers, None if single else len(entries))
        if keys is not None:
            entries = [entry._replace(key=key) for entry, key in zip(entries, keys, strict=True)]
        return entries, single

    async def _durable(self, door: _Door, entries: list[Entry], *, single: bool) -> list[Entry]:
        """The entries that stand, answered and durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            if not future.done():
                future.set_result(result)

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
        if isinstance(result, HeadraceError):
            raise busy(result.message, 5) from result
        _refuse_standing(result, door.shape, single=single)
        answered: list[Entry] = result
        return answered


def shape_of(system: System, home: Home, *, logged: bool = True) -> Shape | str:
    """What the events of a system look like, or why it answers none."""
    if not logged:
        return "a server that logs nothing answers no events"
    try:
        return system.event_shape(home.grid(system))
    except DeclarationError as error:
        return error.message


def _entry(system: str, shape: Shape, decode: EventDecoder, events: Events, i: int, now: datetime) -> Entry:
    """An event on its way to the log; its answer is still to come."""
    row, micros = events.rows[i], int(events.time[i])
    time = iso(_EPOCH + micros * _MICROSECOND)
    values = {name: getattr(row, attribute) for name, attribute in decode.fields.items()}
    given = {name: row.time if name == shape.time else values[name] for name in shape.contract.names}
    digest = digest_of_row(_encode(values | {shape.time: time}))
    # A step has any number of events: one is told from another by all that it says.
    key = _encode([*events.keys[i], time, *([digest] if shape.aggregates else [])]).decode()
    inputs = _encode({called(name): value for name, value in given.items() if value is not None})
    return Entry(system, key, "", digest, inputs, b"", "", 0, now)


def _refuse(events: Events, door: _Door, *, single: bool) -> None:
    """Refuse a body with a bad event: 422, or 409 where it would be good at another time."""
    errors: list[dict[str, Any]] = []
    early = True
    for place, reason in events.bad:
        at = ["body"] if single else ["body", place]
        early = early and reason.early
        errors += [{"loc": [*at, *([column] if column else [])], "msg": said} for column, said in reason.faults]
    for place, series in zip(events.place, events.keys, strict=True):
        unknown = door.log.refused(series)
        if unknown is not None:
            early = False
            errors.append({"loc": [*(["body"] if single else ["body", place]), *door.shape.keys[:1]], "msg": unknown})
    if errors:
        said = f"{errors[0]['loc'][-1]}: {errors[0]['msg']}"
        raise Problem(409 if early else 422, said, errors=errors[:SHOWN], reason="early" if early else "bad_event")


def _refuse_standing(result: Sequence[Entry | HeadraceError], shape: Shape, *, single: bool) -> None:
    """Refuse a body that the log speaks against."""
    errors, detail, reason = [], "", ""
    for place, each in enumerate(result):
        at: list[str | int] = ["body"] if single else ["body", place]
        if isinstance(each, LateEventError):
            errors.append({"loc": [*at, shape.time], "msg": each.message})
            detail, reason = f"{shape.time}: {each.message}", "late"
        elif isinstance(each, KeyConflictError):
            errors.append({"loc": at, "msg": "another event has this key"})
            detail, reason = f"{each.message}; {each.hint}", "conflict"
    if errors:
        raise Problem(409, detail, errors=errors, reason=reason)
