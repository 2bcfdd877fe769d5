"""Sessions that are good now: one small file each, in a folder that all processes of a server share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.dashboard.reading import ApiRefusal

MOST = 1000
"""Sessions at a time; the one that would end first ends when there is one more."""


class LiveSessions:
    """The sessions that people are logged in with. Who logs out has none any more, in whatever process.

    Args:
        folder: That nobody else may read; it is there.
        most: How many at a time.
    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder, self._most = folder, most

    def begin(self, session: str, until: int, half: bytes) -> None:
        """Keep a session until a second of the clock, with its half of the token.

        Raises:
            ApiRefusal: 503: it cannot be written.
        """
        path = self._path(session)
        with _kept():
            path.write_bytes(half)
            os.utime(path, (until, until))
            self._bound()

    def half(self, session: str) -> bytes | None:
        """The half of its token; None: it has ended.

        Raises:
            ApiRefusal: 503: it cannot be read.
        """
        with _kept(), suppress(FileNotFoundError):
            return self._path(session).read_bytes()
        return None

    def end(self, session: str) -> None:
        """End a session now.

        Raises:
            ApiRefusal: 503: it cannot be removed, so it is good still.
        """
        with _kept():
            self._path(session).unlink(missing_ok=True)

    def _path(self, session: str) -> Path:
        return self._folder / hashlib.sha256(session.encode()).hexdigest()

    def _bound(self) -> None:
        """End those that would end first, where there are too many; sessions whose time is over are among them."""
        ends: list[tuple[float, Path]] = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process ended it
                ends.append((path.stat().st_mtime, path))
        for _, path in sorted(ends)[: max(len(ends) - self._most, 0)]:
            path.unlink(missing_ok=True)


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"the server cannot keep who is logged in: {error.strerror or error}"
        raise ApiRefusal(503, "nothing was changed", text, "make room for temporary files, or start anew") from error
