"""Opens messages: from bytes and headers to the values of the contract's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from headrace.contract import Column, Contract
from headrace.sources.messages.base import Decode, Headers, Opened, Unreadable
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.envelopes import ENVELOPES
from headrace.sources.messages.natural import natural, time_written
from headrace.sources.messages.paths import ENVELOPE, Path, found, parsed

Record = dict[str, Any]
_FRAME = 6
"""Bytes of a key in Confluent's wire format at least."""


class Opener:
    """Opens the messages of one system.

    Args:
        messages: How they are written.
        contract: The column rules.
        decode: How their format is decoded.

    Attributes:
        plain: Whether there is nothing to open: a message is a JSON object with the columns.
        passed: Headers that go on from an event to its outcome, in lower case.
    """

    def __init__(self, messages: Messages, contract: Contract, decode: Decode) -> None:
        self._framed = messages.format != "json"
        self.plain, self.passed = messages.plain, messages.passed
        self._envelope, self._decode = ENVELOPES[messages.envelope], decode
        paths = {name: parsed(path) for name, path in messages.paths.items()}
        self._columns = tuple(_ValuePlace(c, paths.get(c.name), natural(c)) for c in contract.columns)

    def __call__(self, value: bytes | None, headers: Headers) -> Record:
        """The values of the contract's columns that a message has, by what messages call the columns.

        Raises:
            Unreadable: The message is bad.
            Ignored: It is no event.
            Unfit: As `Unreadable`, of one column.
        """
        return self._opened(self._envelope(value, headers, self._decode, json_of))

    def decoded(self, data: Any, headers: Headers, more: Sequence[str] = ()) -> Record:
        """The same of a message that came as JSON, and was decoded; errors as of `__call__`.

        Args:
            data: The message.
            headers: Of it.
            more: Names beside the contract's whose values are wanted, where the event has them at the top.
        """

        def decode(value: bytes, headers: Headers) -> Any:
            return data

        return self._opened(self._envelope(b"", headers, decode, decode), more)

    def written(self, data: Any, headers: Headers, more: Sequence[str] = ()) -> Record:
        """As `decoded`, with times as texts or numbers that the contract reads; errors as of `__call__`."""
        record = self.decoded(data, headers, more)
        for place in self._columns:
            if isinstance(record.get(place.name), date):
                record[place.name] = time_written(place.column, record[place.name])
        return record

    def _opened(self, opened: Opened, more: Sequence[str] = ()) -> Record:
        event, around = opened
        if not isinstance(event, Mapping):
            raise Unreadable("is not an object")
        record: Record = {name: event[name] for name in more if name in event}
        for place in self._columns:
            if place.path is None:
                if place.name not in event:
                    continue
                raw = event[place.name]
            elif place.path[0] == ENVELOPE:
                raw = found(around, place.path[1:])
            else:
                raw = found(event, place.path)
            record[place.name] = place.convert(raw)
        return record

    def key(self, key: bytes | None) -> bytes | None:
        """What a message's key says, as text: a key may be in the wire format of the value, or text all the same."""
        if key is None or not self._framed or len(key) < _FRAME or key[0] != 0:
            return key
        import msgspec

        try:
            return msgspec.json.encode(self._decode(key, ()), enc_hook=str)
        except Unreadable:
            return key


def as_it_is(key: bytes | None) -> bytes | None:
    """A key that is text."""
    return key


def of_json(messages: Messages, contract: Contract) -> Opener:
    """Opens what comes elsewhere than on a topic: in the envelope and with the paths that are declared, as JSON."""
    return Opener(messages.model_copy(update={"format": "json"}), contract, json_of)


class _ValuePlace:
    """Where the value of a column lies, and how it becomes the contract's."""

    __slots__ = ("column", "convert", "name", "path")

    def __init__(self, column: Column, path: Path | None, convert: Callable[[Any], Any]) -> None:
        self.column, self.name, self.path, self.convert = column, column.called, path, convert


def json_of(value: bytes, headers: Headers) -> Any:
    """What a JSON document holds."""
    import msgspec

    try:
        return msgspec.json.decode(value.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from error


def framed_json(value: bytes, headers: Headers) -> Any:
    """The same behind the five bytes of Confluent's wire format, or behind none where headers have the schema's id."""
    if value[:1] == b"\x00":
        return json_of(value[5:], headers)
    if any(name == "__value_schema_id" for name, _ in headers):
        return json_of(value, headers)
    raise Unreadable("is not in Confluent's wire format: it does not begin with the byte 0 and the id of a schema")
