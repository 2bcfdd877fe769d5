"""Posts in an envelope: CloudEvents in either mode or several at once, and whatever a system declares of messages.

What is opened here is opened on topics and in files by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace.serving.http.body import parsed
from headrace.serving.http.call import JSON
from headrace.serving.http.form import Form, Header
from headrace.serving.http.problem import SHOWN, Problem
from headrace.serving.http.protocols.tables import of_content
from headrace.serving.http.served import ServedSystem
from headrace.sources.messages.base import Headers, Ignored, Unreadable
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.natural import Unfit
from headrace.sources.messages.opening import Opener, of_json
from headrace.system import System

_EVENTS = b"application/cloudevents"
_ONE, _SEVERAL = b"application/cloudevents+json", b"application/cloudevents-batch+json"
_VERSION, _PREFIX = b"ce-specversion", b"ce-"
_CLOUDEVENTS = "cloudevents"


class Envelopes:
    """What is served, by what posts come in.

    Args:
        systems: What is served.

    Attributes:
        openers: By system, where its declaration may say something of a post.
    """

    def __init__(self, systems: Sequence[System]) -> None:
        self._contracts = {system.name: system.contract for system in systems if not _says(system.stream)}
        declared = [system for system in systems if _says(system.stream)]
        self.openers = {each.name: of_json(each.stream, each.contract) for each in declared}
        self._always = {each.name for each in declared if "http" in each.stream.also}
        self._events = {each.name for each in declared if each.stream.envelope == _CLOUDEVENTS}

    def asked(self, name: str, headers: Mapping[bytes, bytes]) -> Enveloped | None:
        """The form of a post to a system that comes in an envelope; None for one that does not."""
        kind = headers.get(b"content-type", b"").lower()
        if kind.startswith(_EVENTS) or _VERSION in headers:
            if name in self._events:
                return Enveloped(self.openers[name], headers)
            if name in self._contracts and kind.startswith(_EVENTS):  # it says itself what it is
                return Enveloped(of_json(Messages(envelope=_CLOUDEVENTS), self._contracts[name]), headers)
        return Enveloped(self.openers[name], headers) if name in self._always and of_content(kind) is None else None


def _says(messages: Messages) -> bool:
    return "http" in messages.also or messages.envelope == _CLOUDEVENTS


class Enveloped(Form):
    """``POST /v1/systems/{s}/predict`` with events in an envelope.

    Args:
        opener: Opens them.
        headers: Of the request.
    """

    route = "/v1/systems/{system}/predict"

    def __init__(self, opener: Opener, headers: Mapping[bytes, bytes]) -> None:
        self._opener, self._headers = opener, _as_of_messages(headers)
        self._ignored: dict[int, str] = {}
        self._single = False

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """CloudEvents are written as JSON, one or several, and their data is JSON."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        known = kind in (_ONE, _SEVERAL) or (not kind.startswith(_EVENTS) and (kind == JSON or kind.endswith(b"+json")))
        if not known:
            raise Problem(
                415,
                "events are read as JSON",
                errors=[{"loc": ["header", "content-type"], "msg": f"is neither {JSON.decode()} nor {_ONE.decode()}"}],
            )

    def rows(self, served: ServedSystem, version: int, body: bytes) -> bytes:
        """The rows inside; what is no event is left out, and told in its place."""
        data = parsed(body)
        several = isinstance(data, list)
        self._single = not several
        events, errors = [], []
        for place, event in enumerate(data if several else [data]):
            path: list[str | int] = ["body", place] if several else ["body"]
            try:
                events.append(self._opener.written(event, self._headers))
            except Ignored as ignored:
                self._ignored[place] = str(ignored)
            except Unfit as bad:
                errors.append({"loc": [*path, bad.column], "msg": str(bad)})
            except Unreadable as bad:
                errors.append({"loc": path, "msg": str(bad)})
            if len(errors) >= SHOWN:
                break
        if errors:
            raise Problem(422, f"{errors[0]['loc'][-1]}: {errors[0]['msg']}", errors=errors, reason="bad_row")
        return msgspec.json.encode(events[0] if self._single and events else events)

    def answer(self, served: ServedSystem, body: bytes) -> tuple[bytes, bytes, tuple[Header, ...]]:
        """As it is; with a place for what was no event."""
        if not self._ignored:
            return body, JSON, ()
        if self._single:
            return msgspec.json.encode({"ignored": self._ignored[0]}), JSON, ()
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        left = iter(msgspec.json.decode(fields["predictions"], type=list[msgspec.Raw]))
        count = len(self._ignored) + len(msgspec.json.decode(fields["predictions"], type=list[msgspec.Raw]))
        parts: list[Any] = [
            {"ignored": self._ignored[place]} if place in self._ignored else next(left) for place in range(count)
        ]
        return msgspec.json.encode({**fields, "predictions": parts}), JSON, ()


def _as_of_messages(headers: Mapping[bytes, bytes]) -> Headers:
    """Headers as a message on a topic has them: of a binary CloudEvent by the names of its Kafka binding."""
    pairs: list[tuple[str, bytes | None]] = []
    for name, value in headers.items():
        if name.startswith(_PREFIX):
            pairs.append((f"ce_{name[len(_PREFIX) :].decode('latin-1')}", unquote(value.decode("latin-1")).encode()))
        elif name == b"content-type":  # several events are opened one by one
            pairs.append(("content-type", value.replace(_SEVERAL, _ONE)))
    return pairs
