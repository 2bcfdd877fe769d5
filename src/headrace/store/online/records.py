"""Facts between the table's columns and the bytes that a database holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from headrace.errors import StoreError, UsageError
from headrace.store.online.base import OnlineFact

if TYPE_CHECKING:
    import polars as pl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ANEW = "headrace materialize online SYSTEM makes it anew from the tables"
_SEAL, _ARRAY = b"\xc1", b"\x94"
"""A byte that msgpack never begins with; and what it begins four values with."""
SEALED = 5
"""Bytes of a seal."""
_key_text = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[int, int, int, dict[str, Any]]).decode


def sealed(key: str, data: bytes) -> bytes:
    """A payload with a checksum of it and its key before it."""
    return _SEAL + crc32(data, crc32(key.encode())).to_bytes(4) + data


def opened(key: str, payload: bytes) -> bytes:
    """What `sealed` was given; a payload of an earlier headrace, which has no checksum, is taken as it is.

    Raises:
        StoreError: It is another one.
    """
    if payload[:1] == _ARRAY:
        return payload
    data = payload[SEALED:]
    if payload[:SEALED] != sealed(key, data)[:SEALED]:
        raise StoreError(f"what is kept online of {key} is not what was written", where="online", hint=ANEW)
    return data


class KeyedValues(dict[str, Any]):
    """The values of a key by name, and where they come from.

    Attributes:
        time: When what they say happened.
        known_at: Since when it is known.
        version: The logical version of the group's table that brought it.
    """

    __slots__ = ("known_at", "time", "version")

    def __init__(self, key: str, payload: bytes) -> None:
        time, known_at, self.version, values = _unpack(opened(key, payload))
        super().__init__(values)
        self.time, self.known_at = _EPOCH + time * _MICROSECOND, _EPOCH + known_at * _MICROSECOND

    def age(self, now: datetime) -> timedelta:
        """How long ago it happened, seen from `now`."""
        return now - self.time


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC.

    Raises:
        UsageError: The time has no zone.
    """
    if moment.tzinfo is None:
        raise UsageError(f"{moment} has no time zone", where="as_of", hint="use datetime.now(UTC)")
    return (moment - _EPOCH) // _MICROSECOND


def key_text(key: Any, count: int) -> str:
    """The text under which a key is stored: a JSON array of its values.

    Args:
        key: A value, or a tuple of them where there are several key columns (or none).
        count: Number of key columns.

    Raises:
        UsageError: The key has another number of values.
    """
    values = key if isinstance(key, tuple) else (key,)
    if len(values) != count:
        raise UsageError(f"{key!r} has {len(values)} values, the group has {count} keys", where="key")
    values = tuple(v.astimezone(UTC) if isinstance(v, datetime) else v for v in values)
    return _key_text(values).decode()


def facts_of(frame: pl.DataFrame, keys: Sequence[str], time: str, columns: Sequence[str]) -> Iterator[OnlineFact]:
    """The rows of a frame (keys, time, known_at, _version, columns) as facts."""
    keyed, count = list(zip(*(frame[name].to_list() for name in keys), strict=True)), len(keys)
    texts = [key_text(key, count) for key in keyed] if keys else ["[]"] * frame.height
    times, known = (frame[name].to_physical().to_list() for name in (time, "known_at"))
    values = frame.select(columns).iter_rows(named=True)
    for key, at, since, version, row in zip(texts, times, known, frame["_version"].to_list(), values, strict=True):
        yield OnlineFact(key, at, since, version, sealed(key, _pack((at, since, version, row))))


def refuse_types(columns: Mapping[str, pl.DataType], where: str) -> None:
    """Raise `UsageError` naming the first column whose values the online side could not give back as they were."""
    import polars as pl

    for name, dtype in columns.items():
        inner = dtype
        while isinstance(inner, pl.List) and isinstance(inner.inner, pl.DataType):
            inner = inner.inner
        if not (
            inner.is_float() or inner.is_integer() or inner in (pl.Boolean, pl.String) or isinstance(inner, pl.Datetime)
        ):
            raise UsageError(
                f"a column of {dtype} cannot be looked up online",
                where=f"{where}:{name}",
                hint="make it a number, a truth, a text or a time",
            )
