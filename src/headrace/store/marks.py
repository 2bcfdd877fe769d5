"""How far each table of a system came, kept apart from the tables: so that one that went back as a whole is noticed.

A table that loses its newest commit together with the record of it, or is replaced by an older copy, looks whole by
itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from headrace.store import location
from headrace.store.seal import is_bare, opened, sealed

FOLDER = "_tables"


class CommitMark:
    """The newest commit of one table, in a file of its own.

    Args:
        uri: ``<store>/<system>``.
        name: The table's name.
        storage_options: Of the object store.
    """

    def __init__(self, uri: str, name: str, storage_options: Mapping[str, str] | None) -> None:
        self._folder, self.path = uri, f"{FOLDER}/{name}.json"
        self._given = dict(storage_options or {})

    @property
    def where(self) -> str:
        """Its file."""
        return f"{self._folder}/{self.path}"

    def read(self) -> int:
        """The newest commit that was made; -1 where nothing was noted, or it cannot be read any more (`problem`)."""
        try:
            return int(json.loads(opened(self._bytes()))["commit"])
        except (ValueError, FileNotFoundError):
            return -1

    def problem(self) -> str | None:
        """What is wrong with it, in words; None where it is whole."""
        try:
            opened(self._bytes())
        except FileNotFoundError:
            return "is gone: it tells how far the table came"
        except ValueError as error:
            return f"is damaged: {error}"
        return None

    def seal(self) -> None:
        """Seal it as it is, where an earlier headrace wrote it."""
        try:
            text = self._bytes()
        except FileNotFoundError:
            return
        if is_bare(text):
            location.objects(self._folder, self._given).put(self.path, sealed(text))

    def keep(self, commit: int) -> None:
        """Note that a commit was made; an older one than is noted changes nothing."""
        if commit > self.read():
            data = sealed(json.dumps({"commit": commit}).encode())
            location.objects(self._folder, self._given).put(self.path, data)

    def _bytes(self) -> bytes:
        if location.is_local(self._folder):
            return Path(self.where).read_bytes()
        return bytes(location.objects(self._folder, self._given).get(self.path).bytes())
