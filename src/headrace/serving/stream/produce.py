"""Sends a source's records as events: a file replayed at real or scaled speed, or a simulation."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.apart import called
from headrace.contract.parse import parse_columns
from headrace.contract.times import as_written
from headrace.errors import StreamError
from headrace.pipelines.messages import file_opener
from headrace.sources import SourceContext, open_source
from headrace.sources.base import under_declared_names
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

_CHUNK = 2_000


@dataclass(frozen=True)
class Playing:
    """What to send and how fast.

    Attributes:
        source: A source URI; None for the system's own.
        start: Events from this time on; None for all.
        end: Events up to this time.
        speed: How much faster than they happened: 1 is real time, 3600 an hour in a second, 0 as fast as possible.
        now: The clock's time.
    """

    source: str | None
    start: datetime | None
    end: datetime
    speed: float
    now: datetime


def produce(
    system: System, broker: Broker, playing: Playing, stop: threading.Event, partitions: int | None = None
) -> dict[str, Any]:
    """Send the events in the order of their times; returns ``topic sent unreadable seconds``.

    Rows without a time are sent in their order, as fast as possible.

    Raises:
        SourceError: The records cannot be read.
        StreamError: The cluster failed, or did not take an event.
    """
    from confluent_kafka import Producer

    topics = system.topics
    frame, unreadable = events(system, playing)
    broker.ensure(topics, partitions or topics.partitions)
    refused: list[str] = []
    producer = Producer(broker.settings(enable_idempotence=True, linger_ms=5, compression_type="lz4"))

    def told(error: Any, _: Any) -> None:
        if error is not None:
            refused.append(error.str())

    began, sent = time.monotonic(), 0
    for part in paced(frame, system.time, playing.speed, stop):
        for row in as_sent(system, part).iter_rows(named=True):
            key, value = message_of(system, row)
            while True:
                try:
                    producer.produce(topics.events, key=key, value=value, on_delivery=told)
                    break
                except BufferError:  # the queue is full: wait for room
                    producer.poll(0.1)
        sent += part.height
        producer.poll(0)
    left = producer.flush(TIMEOUT)
    if refused or left:
        reason = refused[0] if refused else "the cluster did not answer in time"
        raise StreamError(f"{len(refused) + left} of {sent} events were not taken: {reason}", where=topics.events)
    seconds = round(time.monotonic() - began, 3)
    return {"topic": topics.events, "sent": sent, "unreadable": unreadable, "seconds": seconds}


def events(system: System, playing: Playing) -> tuple[pl.DataFrame, int]:
    """The records under declared names and types, by time, and how many could not be read as such.

    Raises:
        SourceError: The source cannot be read.
    """
    import polars as pl

    reader = open_source(system.source, playing.source, SourceContext(opener=file_opener(system)))
    records = reader.read(as_of=playing.end, now=playing.now)
    records = under_declared_names(records, system.source, system.contract.names)
    events, step = system.contract.aggregates, system.step
    columns = [c.of_step(step, events=events) if c.name == system.time and step else c for c in system.contract.columns]
    names = [c for c in columns if c.name in records.frame.columns]
    parsed = parse_columns(names, records.frame, system.keys)
    wrong = pl.Series([False]).new_from_index(0, records.frame.height)
    for fault in (fault for column_parse in parsed for fault in column_parse.faults):
        wrong = wrong | fault.mask
    frame = pl.DataFrame(
        [column_parse.values if column_parse.ends is None else column_parse.ends for column_parse in parsed]
    ).filter(~wrong)
    if system.time is None:
        return frame, int(wrong.sum())
    frame = frame.sort(system.time, maintain_order=True)
    utc, time_column = pl.Datetime("us", "UTC"), pl.col(system.time)
    frame = frame.filter(time_column <= pl.lit(playing.end, utc))
    if playing.start is not None:
        frame = frame.filter(time_column >= pl.lit(playing.start, utc))
    return frame, int(wrong.sum())


def paced(frame: pl.DataFrame, time_column: str | None, speed: float, stop: threading.Event) -> Iterator[pl.DataFrame]:
    """Parts of the events, each when its time has come; at once where they have none."""
    if not frame.height:
        return
    speed = 0 if time_column is None else speed
    micros = frame[time_column or frame.columns[0]].to_physical().to_numpy()
    began, position = time.monotonic(), 0
    while position < frame.height and not stop.is_set():
        end = min(position + _CHUNK, frame.height)
        if speed:
            reached = micros[0] + (time.monotonic() - began) * speed * 1e6
            end = min(int(micros.searchsorted(reached, side="right")), end)
            if end == position:
                wait = (micros[position] - reached) / speed / 1e6
                stop.wait(min(max(wait, 0.001), 1.0))
                continue
        yield frame[position:end]
        position = end


def as_sent(system: System, part: pl.DataFrame) -> pl.DataFrame:
    """Typed events with their times as the contract wants them written."""
    times = [c for c in system.contract.columns if c.type == "time" and c.name in part.columns]
    return part.with_columns(as_written(column, part[column.name]) for column in times)


def message_of(system: System, row: dict[str, Any]) -> tuple[bytes | None, bytes]:
    """Key and value of an event. The key is the key column's text, a JSON object of several, or none of none."""
    body = {called(name): _plain(value) for name, value in row.items() if value is not None}
    key = key_of([(name, body.get(name)) for name in map(called, system.keys)])
    return key, json.dumps(body, ensure_ascii=False).encode()


def key_of(keys: Sequence[tuple[str, Any]]) -> bytes | None:
    """A message's key from the key columns and their values."""
    if not keys:
        return None
    if len(keys) == 1:
        return str(keys[0][1]).encode()
    return json.dumps(dict(keys), ensure_ascii=False).encode()


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
