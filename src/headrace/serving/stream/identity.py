"""Who a worker is: a name that stays the same over its restarts, and that no other worker has meanwhile."""

from __future__ import annotations

import fcntl
import platform
from pathlib import Path
from typing import IO

from headrace.errors import StreamError

_MOST = 1000


class Identity:
    """A worker's name. Without a given replica it is the machine's name and the lowest free number of a folder.

    A lock on a file holds the number, so it is free again when the process ends, however it ends.

    Args:
        folder: Where the locks are.
        replica: The name, if it is given, such as the pod's of a StatefulSet.
        worker: Number of the worker within the replica.

    Raises:
        StreamError: No number is free.
    """

    def __init__(self, folder: Path, replica: str | None, worker: int) -> None:
        self._lock: IO[str] | None = None
        self.name = f"{replica}-{worker}" if replica else self._free(folder)

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
            return f"{platform.node()}-{number}"
        raise StreamError(f"{_MOST} workers use this home", where=str(folder))
