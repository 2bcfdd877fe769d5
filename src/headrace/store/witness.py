"""What a table's commits wrote, kept beside its log: so that a lost commit or a changed file does not go unnoticed.

A record of a commit holds the commit itself and the digests of the files that it wrote. It is made right after the
commit, so a process that is killed in between leaves a commit without one, never the other way round: a record without
its commit says that the table has lost something.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headrace.errors import WriteConflictError
from headrace.store import location

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_FOLDER, _LOG = "_records", "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*\.parquet")


@dataclass(frozen=True)
class Record:
    """One commit as it was written.

    Attributes:
        commit: Its number.
        log: Its bytes.
        digests: sha256 in hex by path below the table's folder; empty on object stores, which check what they keep.
    """

    commit: int
    log: bytes
    digests: Mapping[str, str]


class Witness:
    """The records of one table's commits.

    Args:
        uri: The table's normal URI.
        storage_options: Of the object store.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None) -> None:
        self.uri, self._given = uri, dict(storage_options or {})

    @property
    def _objects(self) -> ObjectStore:
        from obstore.store import LocalStore, from_url

        if location.is_local(self.uri):
            return LocalStore(self.uri, mkdir=True)
        config, client = location.object_options(self._given)
        # The keys depend on the kind of store, which only the URI tells.
        return from_url(self.uri, config=cast(Any, config), client_options=cast(Any, client))

    def keep(self, commit: int) -> None:
        """Record a commit that was just written, with the digests of its files and of its checkpoint."""
        objects = self._objects
        log = bytes(objects.get(f"{_LOG}/{commit:020}.json").bytes())
        digests = {}
        if location.is_local(self.uri):
            written = [each["add"]["path"] for each in map(json.loads, log.splitlines()) if "add" in each]
            checkpoints = [f"{_LOG}/{each.name}" for each in Path(self.uri, _LOG).glob(f"{commit:020}.checkpoint*")]
            digests = {path: self.digest(path) for path in (*written, *checkpoints)}
        said = {"commit": commit, "log": log.decode(), "digests": digests}
        objects.put(f"{_FOLDER}/{commit:020}.json", json.dumps(said).encode())

    def digest(self, path: str) -> str | None:
        """sha256 in hex of a local file below the table's folder; None where it is not there."""
        try:
            with Path(self.uri, path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """Bytes of a file below the table's folder; None where it is not there."""
        try:
            if location.is_local(self.uri):
                return Path(self.uri, path).stat().st_size
            return int(self._objects.head(path)["size"])
        except FileNotFoundError:
            return None

    def newest(self) -> int:
        """The newest commit that was recorded; -1 where there is none."""
        return max(self._numbers(_FOLDER, _COMMIT), default=-1)

    def committed(self) -> int:
        """The newest commit that the log names; -1 where there is none."""
        return max([*self._numbers(_LOG, _COMMIT), *self._numbers(_LOG, _CHECKPOINT)], default=-1)

    def records(self, damaged: list[str] | None = None, since: int = -1) -> list[Record]:
        """All records that can be read, or those after a commit, oldest first; paths of others go into `damaged`."""
        objects, found = self._objects, []
        for commit in sorted(each for each in self._numbers(_FOLDER, _COMMIT) if each > since):
            path = f"{_FOLDER}/{commit:020}.json"
            try:
                said = json.loads(bytes(objects.get(path).bytes()))
                found.append(Record(commit, said["log"].encode(), dict(said["digests"])))
            except (ValueError, KeyError, TypeError, AttributeError):
                if damaged is not None:
                    damaged.append(path)
        return found

    def lost(self, records: list[Record]) -> list[Record]:
        """Commits after the last checkpoint that the log no longer has."""
        there, since = self._numbers(_LOG, _COMMIT), max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        return [each for each in records if each.commit > since and each.commit not in there]

    def empty(self) -> str | None:
        """The first commit of a local log whose file has no bytes, as a machine that lost power leaves it."""
        if not location.is_local(self.uri):
            return None
        try:
            with os.scandir(f"{self.uri}/{_LOG}") as found:
                names = [each.name for each in found if _COMMIT.fullmatch(each.name) and not each.stat().st_size]
        except FileNotFoundError:
            return None
        return f"{_LOG}/{min(names)}" if names else None

    def altered(self) -> str | None:
        """The first commit after the last checkpoint that is there with other bytes than were written."""
        since = max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        found = (each.commit for each in self.records(since=since) if self._log_of(each) != each.log)
        return next((f"{_LOG}/{commit:020}.json" for commit in found), None)

    def _log_of(self, record: Record) -> bytes:
        """A commit as it is in the log; as it was written where it is not there, which `lost` tells."""
        try:
            return bytes(self._objects.get(f"{_LOG}/{record.commit:020}.json").bytes())
        except FileNotFoundError:
            return record.log

    def changed(self, record: Record) -> list[str]:
        """Files of a commit that are there with other bytes than were written, the commit itself among them."""
        found = [f"{_LOG}/{record.commit:020}.json"] if self._log_of(record) != record.log else []
        for path, digest in record.digests.items():
            now = self.digest(path)
            if now is not None and now != digest:
                found.append(path)
        return found

    def drop(self, commit: int, paths: Sequence[str]) -> None:
        """Write the commit of this number that takes data files out of the table, and record it."""
        from obstore.exceptions import AlreadyExistsError

        now = int(time.time() * 1000)  # when the files may be cleaned away; nothing else goes by it
        said: list[dict[str, Any]] = [{"commitInfo": {"timestamp": now, "operation": "DROP FILES"}}]
        said += [{"remove": {"path": path, "deletionTimestamp": now, "dataChange": True}} for path in paths]
        try:
            log = "\n".join(map(json.dumps, said)).encode()
            self._objects.put(f"{_LOG}/{commit:020}.json", log, mode="create")
        except AlreadyExistsError as error:
            raise WriteConflictError("another writer committed", where=self.uri, hint="run it again") from error
        self.keep(commit)

    def restore(self, record: Record) -> None:
        """Write a commit again, as it was."""
        self._objects.put(f"{_LOG}/{record.commit:020}.json", record.log)

    def forget(self, active: set[str]) -> None:
        """Delete records, but the newest, of commits that are not in the log any more and wrote none of these files."""
        there, records = self._numbers(_LOG, _COMMIT), self.records()
        for each in records[:-1]:
            if each.commit not in there and not active & set(each.digests):
                self._objects.delete(f"{_FOLDER}/{each.commit:020}.json")

    def _numbers(self, folder: str, pattern: re.Pattern[str]) -> set[int]:
        if location.is_local(self.uri):
            try:
                names = [each.name for each in Path(self.uri, folder).iterdir()]
            except FileNotFoundError:
                return set()
        else:
            names = [
                str(each["path"]).rpartition("/")[2] for each in self._objects.list_with_delimiter(folder)["objects"]
            ]
        return {int(found[1]) for name in names if (found := pattern.fullmatch(name))}
