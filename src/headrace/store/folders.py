"""The folders of systems as a whole: how large they are, taking one away, giving one another name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import StoreError
from headrace.store import failures, location

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_ASIDE = "_removed-"
"""So begins what a local folder is called while it is taken away; no system can be called so."""
_RECORDS = "/_records/"


_ATTEMPTS = 5


class _Vanished(Exception):
    """A file went while its table was copied."""


def _is_needed(path: str) -> bool:
    """Whether a table is not whole without a file: its data and its log, but not what says where to begin to read."""
    return path.endswith(".parquet") or "/_delta_log/0" in path


def _linked(source: Path, place: Path) -> None:
    """A link to a data file, or a copy."""
    try:
        if source.suffix == ".parquet" and not source.parent.name.startswith("_"):
            with suppress(OSError):  # another disk, or one that does not link
                place.hardlink_to(source)
                return
        shutil.copyfile(source, place)
    except FileNotFoundError:
        if _is_needed(str(source)):
            raise _Vanished(str(source)) from None


class Folders:
    """The folders below a store.

    Args:
        uri: The store's normal URI.
        given: Storage options.
    """

    def __init__(self, uri: str, given: Mapping[str, str]) -> None:
        self.uri, self._given = uri, dict(given)

    @property
    def _local(self) -> Path | None:
        return Path(self.uri) if location.is_local(self.uri) else None

    def sizes(self, system: str) -> dict[str, tuple[int, int]]:
        """Files and bytes of each folder of a system, by its name; files beside them under an empty name.

        Raises:
            StoreError: The storage cannot be reached.
        """
        found: dict[str, tuple[int, int]] = {}
        for path, size in self._files(system):
            name, slash, _ = path.removeprefix(f"{system}/").partition("/")
            files, held = found.get(name if slash else "", (0, 0))
            found[name if slash else ""] = (files + 1, held + size)
        return found

    def files(self, system: str, table: str) -> dict[str, int]:
        """Bytes of every data file of a table, those that were replaced included, by its name.

        Raises:
            StoreError: The storage cannot be reached.
        """
        found = ((path.rpartition("/")[2], size) for path, size in self._files(f"{system}/{table}") if "/_" not in path)
        return {name: size for name, size in found if name.endswith(".parquet")}

    def remove(self, system: str) -> None:
        """Take a system's folder away. Killed at any moment and repeated, it ends with none.

        A local folder is first moved aside as a whole, so that nobody sees a table without some of its files.

        Raises:
            StoreError: The storage cannot be reached or written.
        """
        local = self._local
        with self._failures():
            if local is None:
                self._delete(system)
                return
            if (local / system).is_dir():
                shutil.rmtree(local / f"{_ASIDE}{system}", ignore_errors=True)
                (local / system).rename(local / f"{_ASIDE}{system}")
            if (local / f"{_ASIDE}{system}").is_dir():
                shutil.rmtree(local / f"{_ASIDE}{system}")

    def move(self, system: str, new_name: str) -> None:
        """Give a system's folder another name. Killed at any moment and repeated, it ends as if it had not been.

        A local folder is renamed at once. In an object store all files are copied before the first one goes.

        Raises:
            StoreError: The storage cannot be reached or written.
        """
        local = self._local
        with self._failures():
            if local is not None:
                if (local / system).is_dir():
                    (local / system).rename(local / new_name)
                return
            objects, names = self._objects(), [path for path, _ in self._files(system)]
            for name in names:
                objects.copy(name, f"{new_name}/{name.removeprefix(f'{system}/')}")
            for name in names:
                if _RECORDS in name:
                    self._retag(objects, system, name, new_name)
            self._delete(system)

    def copy(self, system: str, tables: Sequence[str], notes: Sequence[str], target: Path) -> None:
        """Copy some tables of a system, with all versions, into a local folder; nothing here is written.

        Data files of a local store, which never change, are linked where the file system does that. A writer may go on
        meanwhile: the copy is the table as it was at one moment.

        Args:
            system: Its name.
            tables: Their names; one that is not there is left out.
            notes: Names of small files beside them.
            target: The folder, which is to be the system's in another store.

        Raises:
            StoreError: The storage cannot be reached, or the folder cannot be written.
        """
        for attempt in range(_ATTEMPTS):
            try:
                for table in tables:  # backwards to how it is written: what is told of is then there
                    self._copy([f"_tables/{table}.json"], system, target)
                    for part in (f"{table}/_records", f"{table}/_delta_log", table):
                        files = [path.removeprefix(f"{system}/") for path, _ in self._files(f"{system}/{part}")]
                        self._copy([name for name in files if part != table or "/_" not in name], system, target)
                self._copy(notes, system, target)
                return
            except _Vanished as error:  # merged meanwhile
                shutil.rmtree(target, ignore_errors=True)
                if attempt == _ATTEMPTS - 1:
                    raise StoreError("is changed all the time by others", where=f"{self.uri}/{system}") from error

    def _copy(self, names: Sequence[str], system: str, target: Path) -> None:
        for name in names:
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with self._failures():
                if self._local is None:
                    self._download(f"{system}/{name}", place)
                else:
                    _linked(self._local / system / name, place)

    def _download(self, path: str, place: Path) -> None:
        try:
            place.write_bytes(bytes(self._objects().get(path).bytes()))
        except FileNotFoundError:
            if _is_needed(path):
                raise _Vanished(path) from None

    def forget(self, name: str) -> None:
        """Remove a small file, if it is there."""
        with self._failures():
            if self._local is not None:
                (self._local / name).unlink(missing_ok=True)
            else:
                self._objects().delete([name])

    def _retag(self, objects: ObjectStore, system: str, record: str, new_name: str) -> None:
        """Let a copied record of a commit tell what the store calls the copies; a file that had changed stays told."""
        written = json.loads(bytes(objects.get(record).bytes()))
        table, _, _ = record.removeprefix(f"{system}/").partition("/")
        for path, tag in written.get("etags", {}).items():
            try:
                before = objects.head(f"{system}/{table}/{path}")["e_tag"]
                after = objects.head(f"{new_name}/{table}/{path}")["e_tag"]
            except FileNotFoundError:  # merged into another file since
                continue
            if before is not None and before.strip('"') == tag and after is not None:
                written["etags"][path] = after.strip('"')
        objects.put(f"{new_name}/{record.removeprefix(f'{system}/')}", json.dumps(written).encode())

    def _files(self, system: str) -> Iterator[tuple[str, int]]:
        if self._local is not None and not (self._local / system).is_dir():
            return
        with self._failures():
            for batch in self._objects().list(f"{system}/"):
                for entry in batch:
                    yield str(entry["path"]), int(entry["size"])

    def _delete(self, system: str) -> None:
        objects = self._objects()
        for batch in objects.list(f"{system}/"):
            objects.delete([str(entry["path"]) for entry in batch])

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
