"""Whether what is answered can be kept: by each writer's last commit, and by looks at the ledger.

A load balancer goes by it: a server whose every prediction is refused must not be sent any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.ledger import LedgerWriter

_log = logging.getLogger("headrace.serving")


class Keeping:
    """The writers of a server, by the systems that they write for.

    Args:
        home: Where the ledger is.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._writers: dict[str, LedgerWriter] = {}
        self._looks: dict[str, Callable[[], None]] = {}

    def add(self, systems: Iterable[str], writer: LedgerWriter, look: Callable[[], None] | None = None) -> None:
        """Watch a writer.

        Args:
            systems: Whose predictions it writes.
            writer: From now on its `trouble` is theirs.
            look: Raises a `HeadraceError` where it could not write whatever the ledger does.
        """
        for name in systems:
            self._writers[name] = writer
            if look is not None:
                self._looks[name] = look

    def trouble(self, system: str) -> str | None:
        """Why what is posted for a system would be refused; None: it would not. The ledger itself is not asked."""
        writer = self._writers.get(system)
        if writer is not None and (moved := self._said(self._home.ledger.glance)) is not None:
            writer.trouble = moved
        return None if writer is None else writer.trouble

    def look(self) -> None:
        """Look at the ledger, and at what else writers need; where a commit failed, try one. Takes its time."""
        if not self._writers:
            return
        writers = set(self._writers.values())
        failed = self._said(lambda: self._used(any(writer.trouble or writer.doubted for writer in writers)))
        for name, writer in self._writers.items():
            message = failed or self._said(self._looks.get(name, _nothing))
            if message is None:
                writer.recovered()
            elif message != writer.trouble:
                _log.warning("%s: nothing can be kept: %s", name, message)
                writer.trouble = message

    def _used(self, failed: bool) -> None:
        self._home.ledger.ping(list(self._writers))
        if failed:
            self._home.ledger.probe()

    def _said(self, work: Callable[[], None]) -> str | None:
        try:
            work()
        except HeadraceError as error:
            return error.message
        except OSError as error:
            return str(error)
        return None


def _nothing() -> None:
    pass
