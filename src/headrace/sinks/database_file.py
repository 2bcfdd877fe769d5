"""What sinks share whose database is one file: that it is still the one that was opened, and how it is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.errors import SinkError, UsageError
from headrace.files import absolute
from headrace.sinks.address import Address
from headrace.sinks.table import quoted


class DatabaseFile:
    """The file of a database.

    Args:
        path: Of the file.
    """

    mark = "?"
    upserts = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None

    def refuse_no_folder(self) -> None:
        """The file is made where it is missing, a folder is not.

        Raises:
            SinkError: There is no folder for it.
        """
        if not self.path.parent.is_dir():
            raise SinkError("there is no such folder", where=str(self.path.parent), hint="make it")

    def remember(self) -> None:
        """It was opened."""
        self._opened = self._place()

    @property
    def is_new(self) -> bool:
        """Whether it was not there when it was opened."""
        return self._opened is None

    def settled(self, connection: object) -> bool:
        """Whether the file is still the one that was opened."""
        return self._place() == self._opened

    def quoted(self, *names: str) -> str:
        """With quotes."""
        return quoted(*names)

    def _place(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def file_and_table(address: Address, scheme: str) -> tuple[Path, Sequence[str]]:
    """The file and the table that an address names.

    Raises:
        UsageError: No file or no table is named.
    """
    query, path = address.query, address.path.removeprefix("/")
    if address.parts.netloc or not path or set(query) != {"table"} or not query["table"]:
        hint = f"write {scheme}:///PATH?table=TABLE, with a fourth slash for a path from the root"
        raise UsageError("names no table of a file", where=address.shown, hint=hint)
    return absolute(path), (query["table"],)
