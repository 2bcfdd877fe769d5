"""What a page and a write are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.dashboard.figures import Figure
from headrace.dashboard.forms import PostedForm
from headrace.dashboard.view import PageView

Build = Callable[[PageView], Awaitable[dict[str, Any]]]
Draw = Callable[[PageView, str], Awaitable[Figure]]


@dataclass(frozen=True)
class PageRoute:
    """One page.

    Attributes:
        path: Of its address, below the root.
        template: Its file.
        build: What the template is handed.
    """

    path: str
    template: str
    build: Build


@dataclass(frozen=True)
class WriteOutcome:
    """What a write did: an address to go on at, with a notice; or a template to show at once.

    Attributes:
        notice: A sentence.
        address: Where to go on.
        template: What to show instead.
        context: What the template is handed.
    """

    notice: str = ""
    address: str = ""
    template: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WriteRoute:
    """What a form does; read-only mode refuses it.

    Attributes:
        path: Where it is posted to.
        do: Asks the API, once.
    """

    path: str
    do: Callable[[PageView, PostedForm], Awaitable[WriteOutcome]]
