"""How far long work is: a bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
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


@contextmanager
def progress(system: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; call it with what is being done, how much of it is done, and of how much."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
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

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, description=_DOING.get(what, what), completed=done, total=of)

        def grown(trees: int) -> None:
            bar.update(task, description=f"{_DOING['train']}: {trees:,} trees")

        with watching(grown):
            yield tell
