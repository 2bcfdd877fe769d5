"""A lock between processes that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` (made when missing) alone among all processes and threads; wait for it.

    Raises:
        OSError: The file cannot be made or locked.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened anew each time: a lock belongs to the open file, so it holds between threads too.
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
