"""How far long work is, told to whoever watches; no result depends on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_watcher: Callable[[int], None] | None = None
_trees = 0
_folds: Callable[[int, float], None] | None = None


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


@contextmanager
def holding_out(watcher: Callable[[int, float], None]) -> Iterator[None]:
    """Tell `watcher` the number and the loss of every part that is held out in this process; it may raise."""
    global _folds  # noqa: PLW0603
    _folds = watcher
    try:
        yield
    finally:
        _folds = None


def tell_held_out(place: int, loss: Callable[[], float]) -> None:
    """Tell whoever watches how good a model is on a part that was held out: computed only then."""
    if _folds is not None:
        _folds(place, loss())
