"""Which files this process has found to be what was written: each is read once for it, and again where it changed."""

from __future__ import annotations

from os import stat_result

_MOST = 200_000
"""Files that are remembered."""
_TABLES = 1000
"""Tables whose records are remembered."""


class Proofs:
    """Files by path, with the size, time and place on the disk that they had when their bytes were compared.

    May be shared by threads: at worst two of them compare a file.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int, int]] = {}
        self._digests: dict[tuple[str, int], tuple[set[int], dict[str, str]]] = {}

    def holds(self, path: str, found: stat_result) -> bool:
        """Whether the file at `path`, as it is found now, is one that was compared."""
        return self._found.get(path) == _place(found)

    def keep(self, path: str, found: stat_result) -> None:
        """Remember a file that was compared, as it was found before."""
        if len(self._found) >= _MOST:
            self._found.clear()
        self._found[path] = _place(found)

    def digests(self, uri: str, place: int) -> tuple[set[int], dict[str, str]]:
        """Which records of a table were read, and the digests of data files that they tell; for whoever reads more.

        Args:
            uri: The table's.
            place: Of its records on the disk, which tells it from a table that was there before it.
        """
        if len(self._digests) >= _TABLES:
            self._digests.clear()
        return self._digests.setdefault((uri, place), (set(), {}))


PROOFS = Proofs()
"""Of this process."""


def _place(status: stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
