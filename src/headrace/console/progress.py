"""How far long work is: a bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.watching import watching

_DOING = {
    "ingest": "read the source",
    "validate": "validate and store",
    "features": "features",
    "train": "train when due",
    "predict": "predict",
    "monitor": "monitor",
    "export": "copy what was logged",
}
_PAUSE = 0.2
"""Seconds between two updates of a line."""


@contextmanager
def progress(system: str, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, or a line in a notebook; nothing where neither is, or where it is to be `quiet`.

    Call it with what is being done, how much of it is done, and of how much.
    """
    if quiet or not (sys.stderr.isatty() or in_notebook()):
        yield lambda stage, count, total: None
    elif in_notebook():
        with _line(system) as tell:
            yield tell
    else:
        with _bar(system) as tell:
            yield tell


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def _line(system: str) -> Iterator[Callable[[str, int, int], None]]:
    """One line of output, written anew; it is gone in the end."""
    from IPython.display import display

    def text(message: str) -> dict[str, str]:
        return {"text/plain": message}

    shown = display(text(system), raw=True, display_id=True)
    written = 0.0

    def tell(stage: str, count: int, total: int) -> None:
        nonlocal written
        if time.monotonic() - written >= _PAUSE:
            shown.update(text(f"{system}: {_DOING.get(stage, stage)}, {count:,} of {total:,}"), raw=True)
            written = time.monotonic()

    try:
        yield tell
    finally:
        shown.update(text(""), raw=True)


@contextmanager
def _bar(system: str) -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[system]}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, system=system)

        doing, grown_before, grown_in_all = _DOING["train"], 0, 0

        def tell(stage: str, count: int, total: int) -> None:
            nonlocal doing, grown_before
            doing, grown_before = _DOING.get(stage, stage), grown_in_all
            bar.update(task, description=doing, completed=count, total=total)

        def grown(trees: int) -> None:
            nonlocal grown_in_all
            grown_in_all = trees
            bar.update(task, description=f"{doing}: {trees - grown_before:,} trees")

        with watching(grown):
            yield tell
