"""Pages for people that are served beside the API, in the same process; who makes them is handed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


class PageMaker(Protocol):
    """Makes the pages; every process makes its own, so it is one that can be pickled."""

    def owns(self, path: str, accept: str) -> bool:
        """Whether a path, without what a proxy has taken off, is a page for who accepts this.

        Asked for every request whose path is none of the hot ones: it must be quick.
        """
        ...

    def over(self, api: AsgiApp) -> AsgiApp:
        """The application of the pages, which asks this API and nothing else. Called once in each process."""
        ...
