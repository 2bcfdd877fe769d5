"""`Store`: the tables of all systems under one folder or object-store URI."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import CorruptTableError, StoreTooNewError, UsageError
from headrace.store import failures, location
from headrace.store.delta import Table
from headrace.store.folders import Folders
from headrace.store.marks import FOLDER, CommitMark
from headrace.store.seal import is_bare, opened, sealed

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from headrace.store.online import Online
    from headrace.store.upkeep import Upkeep

FORMAT = 1
"""The layout this code writes: ``<uri>/format.json`` and one Delta table per ``<uri>/<system>/<name>``."""

_FORMAT_FILE = "format.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_COMMIT = re.compile(r"\d{20}\.json")


class Store:
    """Tables at ``<uri>/<system>/<name>``. Nothing is written or read before the first table is asked for.

    Args:
        uri: A local folder (made when missing) or an object-store URI (``s3://bucket/prefix``, ``gs://``, ``az://``).
        storage_options: Credentials and endpoint of the object store, under the names that Delta uses
            (``aws_access_key_id``, ``aws_endpoint_url``...); never shown in errors.
        upkeep: When its tables are compacted.
        online: Where the feature groups that say so can be looked up by key, or what gives it when it is first needed.
        make: Whether a folder that is missing is made. Whoever only reads makes none, and finds nothing there.
    """

    def __init__(
        self,
        uri: str | Path,
        storage_options: Mapping[str, str] | None = None,
        *,
        upkeep: Upkeep | None = None,
        online: Online | Callable[[], Online] | None = None,
        make: bool = True,
    ) -> None:
        self.uri = location.normal(uri)
        self._online = online
        self._given = dict(storage_options or {})
        self._upkeep = upkeep
        self._checked = False
        self._make = make

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    @cached_property
    def online(self) -> Online | None:
        """Where feature groups can be looked up by key."""
        return self._online() if callable(self._online) else self._online

    def table(self, system: str, name: str) -> Table:
        """The table `name` of `system`; it need not exist yet.

        Raises:
            UsageError: A name is not lower-case letters, digits, ``_`` and ``-``.
            StoreTooNewError: A newer headrace wrote this store.
            StoreError: The storage cannot be reached or written.
        """
        _require_name("system", system)
        _require_name("table", name)
        self._check_format()
        mark = CommitMark(f"{self.uri}/{system}", name, self._given)
        return Table(f"{self.uri}/{system}/{name}", self._given or None, upkeep=self._upkeep, mark=mark)

    def systems(self) -> list[str]:
        """Names of the systems that have a table here, sorted; empty for a store that does not exist yet.

        Raises:
            StoreTooNewError: A newer headrace wrote this store.
            StoreError: The storage cannot be reached.
        """
        if location.is_local(self.uri) and not Path(self.uri).is_dir():
            return []
        self._check_format()
        with self._failures():
            folders = self._objects().list_with_delimiter()["common_prefixes"]
        return sorted(name for name in (prefix.rstrip("/") for prefix in folders) if _NAME.fullmatch(name))

    def tables(self, system: str) -> list[str]:
        """Names of the tables of a system that were made, sorted; also of those that lost their log, or are gone.

        Raises:
            UsageError: The name of the system is not lower-case letters, digits, ``_`` and ``-``.
            StoreError: The storage cannot be reached.
        """
        _require_name("system", system)
        if location.is_local(self.uri) and not Path(self.uri, system).is_dir():
            return []
        with self._failures():
            folders = self._objects().list_with_delimiter(f"{system}/")["common_prefixes"]
            marks = self._objects().list_with_delimiter(f"{system}/{FOLDER}/")["objects"]
        names = {prefix.rstrip("/").rpartition("/")[2] for prefix in folders}
        names |= {str(mark["path"]).rpartition("/")[2].removesuffix(".json") for mark in marks}
        return sorted(name for name in names if _NAME.fullmatch(name))

    @property
    def folders(self) -> Folders:
        """The systems' folders as a whole."""
        return Folders(self.uri, self._given)

    def commit(self, system: str, name: str) -> int | None:
        """The number of a table's newest commit, whatever it did, by the names in its log; None where there is none.

        Raises:
            StoreTooNewError: A newer headrace wrote this store.
            StoreError: The storage cannot be reached.
        """
        self._check_format()
        if self._absent:
            return None
        with self._failures():
            objects = self._objects().list_with_delimiter(f"{system}/{name}/_delta_log")["objects"]
        names = (str(blob["path"]).rpartition("/")[2] for blob in objects)
        return max((int(name[:20]) for name in names if _COMMIT.fullmatch(name)), default=None)

    def note(self, name: str, data: bytes) -> None:
        """Keep a small file below a system's folder, ``<system>/<name>``, whole or not at all.

        Written only where it says something new.

        Raises:
            StoreError: The storage cannot be reached or written.
        """
        try:
            if self.noted(name) == data:
                return
        except CorruptTableError:  # what is damaged is replaced as a whole
            pass
        with self._failures():
            self._objects().put(name, sealed(data))

    def first(self, name: str, data: bytes, hint: str | None = None) -> bytes:
        """Keep a small file where there is none under the name; returns what is kept there, of all the same.

        Raises:
            CorruptTableError: As `noted`.
            StoreError: The storage cannot be reached or written.
        """
        if (text := self.noted(name, hint)) is not None:  # reading first keeps a read-only store readable
            return text
        return data if self._create(name, sealed(data)) is None else self.noted(name, hint) or data

    def _create(self, name: str, data: bytes) -> bytes | None:
        """Write a file where there is none; what is there otherwise."""
        from obstore.exceptions import AlreadyExistsError

        with self._failures():
            try:
                self._objects().put(name, data, mode="create")
            except AlreadyExistsError:
                return bytes(self._objects().get(name).bytes())
        return None

    def noted(self, name: str, hint: str | None = None) -> bytes | None:
        """What `note` kept under a name; None: nothing.

        Args:
            name: Of the file.
            hint: What to do where it is damaged.

        Raises:
            CorruptTableError: It is not what was written.
            StoreError: The storage cannot be reached.
        """
        text = self._text(name)
        if text is None:
            return None
        hint = hint or "put it back from a backup"
        if is_bare(text):
            hint = f"if an earlier headrace wrote it, headrace verify --repair seals it as it is; otherwise {hint}"
        with failures.intact(f"{self.uri}/{name}", hint):
            return opened(text)

    def seal(self, name: str) -> bool:
        """Seal a small file of an earlier headrace as it is; whether it was one.

        Raises:
            StoreError: The storage cannot be reached or written.
        """
        text = self._text(name)
        if text is None or not is_bare(text):
            return False
        self.note(name, text)
        return True

    def _text(self, name: str) -> bytes | None:
        if location.is_local(self.uri) and not Path(self.uri).is_dir():
            return None  # looking makes no folder
        with self._failures():
            try:
                return bytes(self._objects().get(name).bytes())
            except FileNotFoundError:
                return None

    def notes(self, system: str) -> list[str]:
        """Names of all that `note` kept for a system, sorted.

        Raises:
            StoreError: The storage cannot be reached.
        """
        if self._absent:
            return []
        with self._failures():
            objects = self._objects().list_with_delimiter(f"{system}/")["objects"]
        return sorted(str(blob["path"]) for blob in objects)

    @property
    def _absent(self) -> bool:
        """Whether there is no such store, and this one is not to make it."""
        return not self._make and location.is_local(self.uri) and not Path(self.uri).is_dir()

    def _check_format(self) -> None:
        """Read the format of this store, or write it: the first of several processes wins, all agree."""
        if not self._checked and not self._absent:
            text = json.dumps({"format": FORMAT}).encode()
            found = self._text(_FORMAT_FILE)
            found = self._create(_FORMAT_FILE, text) if found is None else found
            self._refuse_newer(text if found is None else found)
            self._checked = True

    def _refuse_newer(self, stored: bytes) -> None:
        where = f"{self.uri}/{_FORMAT_FILE}"
        try:
            number = json.loads(stored)["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptTableError(
                "the file does not tell the store's format",
                where=where,
                hint=f'it should hold {{"format": {FORMAT}}}',
            ) from error
        if not isinstance(number, int) or number > FORMAT:
            raise StoreTooNewError(
                f"the store has format {number}, this headrace reads up to {FORMAT}",
                where=where,
                hint="upgrade headrace",
            )

    def _objects(self) -> ObjectStore:
        return location.objects(self.uri, self._given)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not failures.is_storage_failure(error):
                raise
            raise failures.translate(error, self.uri) from error


def _require_name(kind: str, text: str) -> None:
    if not _NAME.fullmatch(text):
        hint = "use lower-case letters, digits, _ and -"
        raise UsageError(f"{text!r} cannot name a {kind}", where=kind, hint=hint)
