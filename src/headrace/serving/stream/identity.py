"""Who a worker is: a name that stays the same over its restarts, and that no other worker has meanwhile."""

from __future__ import annotations

import fcntl
import platform
import secrets
from pathlib import Path
from typing import IO

from headrace.errors import FencedError, StreamError
from headrace.files import disk_trouble, write_whole
from headrace.lineage import digest_of

_MOST = 1000


class Identity:
    """A worker's name. Without a given replica: the machine's name, the folder's mark and its lowest free number.

    The mark is of a random text in the folder and of the folder's path: a copy of a home has another one, and so have
    two homes at one path of two containers. A lock on a file holds the number, so it is free again when the process
    ends, however it ends.

    Args:
        folder: Where the locks are.
        replica: The name, if it is given, such as the pod's of a StatefulSet.
        worker: Number of the worker within the replica.

    Raises:
        StreamError: No number is free, or the folder takes no files.
    """

    def __init__(self, folder: Path, replica: str | None, worker: int) -> None:
        self._lock: IO[str] | None = None
        try:
            self.name = f"{replica}-{worker}" if replica else self._free(folder)
        except OSError as error:
            text = f"the name of a worker is kept in the home, and cannot be: {disk_trouble(error) or error}"
            hint = "give the disk room or rights, or name the workers yourself: HEADRACE_REPLICA"
            raise StreamError(text, where=str(folder), hint=hint) from error

    def _free(self, folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(_MOST):
            lock = (folder / f"worker-{number}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._lock = lock
            return f"{platform.node()}-{_mark(folder)}-{number}"
        raise StreamError(f"{_MOST} workers use this home", where=str(folder))


def _mark(folder: Path) -> str:
    """What tells a home from all others."""
    path = folder / "mark"
    with (folder / "mark.lock").open("w") as lock:  # two workers may be the first
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            write_whole(path, secrets.token_hex(8).encode())
        return digest_of([path.read_text(encoding="utf-8"), str(folder.resolve())], 6)


def fenced(name: str) -> FencedError:
    """The error of a worker whose place another one took."""
    return FencedError(
        "another worker with this name was started, and has its place",
        where=name,
        hint="give every replica a HEADRACE_REPLICA of its own; two homes, or two pods, must not share one",
    )
