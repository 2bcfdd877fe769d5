"""One request for a page: who looks, what they may do, and addresses that keep the state of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request

from headrace.dashboard.reading import ViewerApi
from headrace.dashboard.session import ViewerSession


@dataclass(frozen=True)
class PageView:
    """What pages are handed.

    Attributes:
        request: As it came.
        api: Asked as this viewer.
        session: Of this viewer.
        access: What ``GET /v1/access`` says of the viewer.
        read_only: Whether nothing is to be changed here.
        now: When the page was asked for.
    """

    request: Request
    api: ViewerApi
    session: ViewerSession
    access: Mapping[str, Any]
    read_only: bool
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def root(self) -> str:
        """What every address of this server begins with."""
        return str(self.request.scope.get("root_path", "")).rstrip("/")

    def may(self, system: str, scope: str) -> bool:
        """Whether the viewer may do this; what changes something never in read-only mode."""
        if self.read_only:
            return False
        return scope in (self.access.get("systems") or {}).get(system, ())

    def path(self, *parts: str, **query: Any) -> str:
        """An address of this dashboard, everything escaped."""
        pairs = [(name, value if isinstance(value, str) else str(value)) for name, value in query.items() if value]
        path = "/".join(quote(part, safe="") for part in parts)
        return f"{self.root}/{path}{'?' if pairs else ''}{urlencode(pairs)}"

    def again(self, **changed: Any) -> str:
        """The address of this page with some of its parameters changed, or left out where None."""
        query = {**dict(self.request.query_params), **changed}
        pairs = [(name, str(value)) for name, value in query.items() if value not in (None, "")]
        return f"{self.root}{self.here}{'?' if pairs else ''}{urlencode(pairs)}"

    @property
    def here(self) -> str:
        """The path of this page, as it is written in an address."""
        path = str(self.request.scope["path"]).removeprefix(self.root)
        return quote(path, safe="/")

    def asked(self, name: str, known: Sequence[str] = (), default: str = "") -> str:
        """A parameter of the page; the default where it is none of those that are known."""
        value = self.request.query_params.get(name, default)[:500]
        return value if not known or value in known else default

    def series(self, keys: Sequence[str]) -> dict[str, str] | None:
        """The series that the address names: a JSON list of the values of its keys."""
        return series_of(self.request.query_params.get("series", "null"), keys)


def system_path(name: str, *parts: str) -> str:
    """A route of the API about a system."""
    return "/".join(["/v1/systems", quote(name, safe=""), *(quote(part, safe="") for part in parts)])


def series_of(text: str, keys: Sequence[str]) -> dict[str, str] | None:
    """The series that a text names, as `series_text` writes it; None where it names none.

    >>> series_of('["DK1","111"]', ["area", "industry"]), series_of("[[", ["area"])
    ({'area': 'DK1', 'industry': '111'}, None)
    """
    try:
        values = msgspec.json.decode(text, type=list[str | int | float | bool | None])
        texts = [str(value) for value in values]
        "".join(texts).encode()  # half a surrogate pair is in no series
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return dict(zip(keys, texts, strict=True)) if len(texts) == len(keys) else None


def series_text(keys: Mapping[str, Any]) -> str:
    """A series as the address of a page names it."""
    return json.dumps([str(value) for value in keys.values()], ensure_ascii=False, separators=(",", ":"))
