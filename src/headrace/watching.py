"""How far long work is, told to whoever watches; no result depends on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_watcher: Callable[[int], None] | None = None
_trees = 0


@contextmanager
def watching(watcher: Callable[[int], None]) -> Iterator[None]:
    """Tell `watcher` how many trees were grown in this process since then, from whatever thread grows them."""
    global _watcher, _trees  # noqa: PLW0603  # boosters are fitted in threads, which inherit no context
    with _lock:
        _watcher, _trees = watcher, 0
    try:
        yield
    finally:
        with _lock:
            _watcher = None


def tree_callbacks() -> list[Callable[[object], None]]:
    """Callbacks for a fit that grows trees, called after each of them; none where nobody watches."""
    return [] if _watcher is None else [_grown]


def _grown(_: object) -> None:
    global _trees  # noqa: PLW0603
    with _lock:
        _trees += 1
        if _watcher is not None:
            _watcher(_trees)
