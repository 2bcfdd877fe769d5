"""Templates to pages: everything that comes from data is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request

from headrace._version import __version__
from headrace.dashboard import words
from headrace.dashboard.assets import Assets
from headrace.dashboard.options import DashboardOptions
from headrace.dashboard.view import series_text

_SEEN = "@@seen@@"


class DataEnvironment(Environment):
    """Templates in which ``row[name]`` is what the data have under a name, and nothing else.

    Jinja goes on to attributes, so that a column called ``items`` which a row has not would be a method.
    """

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Called for each ``obj[argument]``."""
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)


class Rendering:
    """Makes pages.

    Args:
        assets: Where scripts and styles are.
        options: Of the dashboard.
        docs: Where the documents of the API are; a path is one below the root.
    """

    def __init__(self, assets: Assets, options: DashboardOptions, docs: str = "/docs") -> None:
        self._environment = DataEnvironment(
            loader=PackageLoader("headrace.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "clock": words.clock,
            "lasted": words.lasted,
            "number": words.number,
            "cell": words.cell,
            "state": words.state,
            "sign": words.sign,
            "ago": words.ago,
            "series_text": series_text,
            "ticks": ticks,
            "values": lambda row: list(row.values()),
        }
        self._environment.tests |= {"right": words.numeric, "timely": words.timely, "long": words.long}
        self._environment.globals |= {
            "asset": assets.path,
            "version": __version__,
            "refresh": options.refresh,
            "read_only": options.read_only,
            "seen": _SEEN,
            "docs": docs,
        }

    def page(self, request: Request, template: str, context: Mapping[str, Any]) -> tuple[bytes, str]:
        """A page, and a digest by which a browser says that it has seen it."""
        root = str(request.scope.get("root_path", "")).rstrip("/")
        address = root + str(request.scope["path"]).removeprefix(root)
        if request.url.query:
            address += f"?{request.url.query}"
        context = {"view": None, "said": "", "root": root, "address": address, **context}
        text = self._environment.get_template(template).render(context)
        digest = digest_of(text.encode())
        return text.replace(_SEEN, digest).encode(), digest


def ticks(text: object) -> Markup:
    """A text, escaped, whose parts between back ticks are code.

    >>> ticks("see `a < b`")
    Markup('see <code>a &lt; b</code>')
    """
    parts = [escape(part) for part in str(text).split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def digest_of(body: bytes) -> str:
    """A short digest."""
    return hashlib.sha256(body).hexdigest()[:20]


def encoded(document: Any) -> bytes:
    """JSON."""
    return msgspec.json.encode(document)
