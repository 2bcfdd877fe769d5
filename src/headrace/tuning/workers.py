"""Whose trials are still running: each process holds a lock that the kernel frees when it dies, however it dies."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import IO


class Workers:
    """The processes that do trials of one study, by the marks that they leave in a folder.

    Args:
        folder: Where the marks are; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: tuple[str, int, IO[str]] | None = None

    @property
    def own(self) -> str:
        """The mark of this process, held from now on until it ends."""
        import fcntl

        if self._own is None or self._own[1] != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            while self._own is None or self._own[1] != os.getpid():
                mark = uuid.uuid4().hex
                file = self._file(mark).open("a")
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink:  # else it was cleared away before it was held
                    self._own = mark, os.getpid(), file
                else:
                    file.close()
        return self._own[0]

    def alive(self, mark: str) -> bool:
        """Whether the process that left a mark still runs."""
        import fcntl

        if self._own is not None and mark == self._own[0]:
            return True
        try:
            with self._file(mark).open("a+" if self._file(mark).exists() else "r") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        self._file(mark).unlink(missing_ok=True)
        return False

    def leave(self) -> None:
        """Take the mark of this process away, and those of processes that are gone."""
        if self._own is not None:
            mark, _, file = self._own
            self._file(mark).unlink(missing_ok=True)
            file.close()
            self._own = None
        for path in self._folder.glob("*.worker"):
            self.alive(path.stem)

    def _file(self, mark: str) -> Path:
        return self._folder / f"{mark}.worker"
