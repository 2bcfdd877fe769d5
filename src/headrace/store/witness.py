"""What a table's commits wrote, kept beside its log: so that a lost commit or a changed file does not go unnoticed.

A record of a commit holds the commit itself and the digests of the files that it wrote. It is made right after the
commit, so a process that is killed in between leaves a commit without one, never the other way round: a record without
its commit says that the table has lost something. Who commits next makes the record that such a process left undone.

Readers of a local table compare every file that they use with its digest, once in a process and again where it changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import CorruptTableError, WriteConflictError
from headrace.store import failures, location
from headrace.store.proofs import PROOFS, Proofs

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from headrace.store.marks import CommitMark

_FOLDER, _LOG = "_records", "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint.*\.parquet")
_MD5 = re.compile(r"[0-9a-f]{32}")
_OTHER = "it is not what was written"
_LATE = 0.1
"""Seconds after which another process has recorded the checkpoint that it wrote."""


_DONE = 0.5
"""Seconds after which a commit that is still not whole has no writer any more."""


def _is_whole(path: Path) -> bool:
    """Whether a commit is JSON, line by line."""
    try:
        lines = path.read_bytes().splitlines()
        return bool(lines) and all(isinstance(json.loads(line), dict) for line in lines)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


@dataclass(frozen=True)
class CommitRecord:
    """One commit as it was written.

    Attributes:
        commit: Its number.
        log: Its bytes.
        digests: sha256 in hex by path below the table's folder; empty on object stores, which check what they keep.
        etags: What an object store calls the content of each file, by path; empty for a local table.
    """

    commit: int
    log: bytes
    digests: Mapping[str, str] = field(default_factory=dict)
    etags: Mapping[str, str] = field(default_factory=dict)


class Witness:
    """The records of one table's commits.

    Args:
        uri: The table's normal URI.
        storage_options: Of the object store.
        mark: Where it is noted, apart from the table, how far it came; None for a table of no system.
        proofs: Files that need not be compared again.
    """

    def __init__(
        self,
        uri: str,
        storage_options: Mapping[str, str] | None,
        mark: CommitMark | None = None,
        proofs: Proofs = PROOFS,
    ) -> None:
        self.uri, self._given, self.mark, self._proofs = uri, dict(storage_options or {}), mark, proofs

    @property
    def _objects(self) -> ObjectStore:
        return location.objects(self.uri, self._given)

    def keep(self, commit: int) -> None:
        """Record a commit that was just written, and those before it whose writers were killed before they could."""
        newest = self.recorded()
        missed = [] if newest >= commit - 1 else [n for n in self._numbers(_LOG, _COMMIT) if newest < n < commit]
        for number in (*sorted(missed), commit):
            self._record(number)
        if self.mark is not None:
            self.mark.keep(max(newest, commit))

    def _record(self, commit: int) -> None:
        log = bytes(self._objects.get(f"{_LOG}/{commit:020}.json").bytes())
        document: dict[str, Any] = {"commit": commit, "log": log.decode(), "digests": {}}
        written = [line["add"]["path"] for line in map(json.loads, log.splitlines()) if "add" in line]
        if location.is_local(self.uri):
            checkpoints = [f"{_LOG}/{path.name}" for path in Path(self.uri, _LOG).glob(f"{commit:020}.checkpoint*")]
            document["digests"] = {path: self.digest(path) for path in (*written, *checkpoints)}
        else:
            document["etags"] = {path: tag for path in written if (tag := self.etag(path))}
        self._objects.put(f"{_FOLDER}/{commit:020}.json", json.dumps(document).encode())

    def etag(self, path: str) -> str | None:
        """What the object store calls the content of a file; None where it is not there, or has no such name."""
        try:
            tag = self._objects.head(path)["e_tag"]
        except FileNotFoundError:
            return None
        return None if tag is None else str(tag).strip('"')

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

    def recorded(self) -> int:
        """The newest commit that was made, by the records and by the mark; -1 where there is none."""
        return max(self._newest(), -1 if self.mark is None else self.mark.read())

    def _newest(self) -> int:
        return max(self._numbers(_FOLDER, _COMMIT), default=-1)

    def committed(self) -> int:
        """The newest commit that the log names; -1 where there is none."""
        return max([*self._numbers(_LOG, _COMMIT), *self._numbers(_LOG, _CHECKPOINT)], default=-1)

    def records(self, damaged: list[str] | None = None, since: int = -1) -> list[CommitRecord]:
        """All records that can be read, or those after a commit, oldest first; paths of others go into `damaged`."""
        paths = []
        for commit in sorted(number for number in self._numbers(_FOLDER, _COMMIT) if number > since):
            record = self._read(commit)
            if record is not None:
                paths.append(record)
            elif damaged is not None:
                damaged.append(f"{_FOLDER}/{commit:020}.json")
        return paths

    def _read(self, commit: int) -> CommitRecord | None:
        """A record; None where it is not there, or does not hold one."""
        try:
            document = json.loads(self._bytes(f"{_FOLDER}/{commit:020}.json"))
            return CommitRecord(
                commit, document["log"].encode(), dict(document["digests"]), dict(document.get("etags", {}))
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _bytes(self, path: str) -> bytes:
        if location.is_local(self.uri):
            return Path(self.uri, path).read_bytes()
        return bytes(self._objects.get(path).bytes())

    def unrecorded(self) -> list[int]:
        """Commits of the log without a record, but for the last ones, whose writers may still be about to make it."""
        recorded = self.recorded()
        return sorted(
            number for number in self._numbers(_LOG, _COMMIT) - self._numbers(_FOLDER, _COMMIT) if number <= recorded
        )

    def record(self, commits: Iterable[int]) -> None:
        """Record commits of the log as they, and the files that they wrote, are now; note how far the table came."""
        for commit in commits:
            self._record(commit)
        if self.mark is not None and self.mark.problem() is not None:
            self.mark.keep(max(self._newest(), self.committed()))

    def lost(self, records: list[CommitRecord]) -> list[CommitRecord]:
        """Commits after the last checkpoint that the log no longer has."""
        numbers, since = self._numbers(_LOG, _COMMIT), max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        return [record for record in records if record.commit > since and record.commit not in numbers]

    def altered(self, records: list[CommitRecord]) -> list[int]:
        """Commits after the last checkpoint that are there with other bytes than were written."""
        since = max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        return [record.commit for record in records if record.commit > since and self._log_of(record) != record.log]

    def require(self, files: Iterable[tuple[str, int]]) -> None:
        """Refuse data files of a local table, given with their sizes, that are not what was written.

        Object stores replace files as a whole and check what they keep, so theirs are not looked at. Of a commit whose
        writer was killed before it recorded it only sizes can be compared.

        Raises:
            CorruptTableError: Names the first.
        """
        if not location.is_local(self.uri):
            return
        new: dict[str, os.stat_result] = {}
        for name, size in files:
            path = f"{self.uri}/{name}"
            try:
                status = os.stat(path)  # noqa: PTH116  # a Path costs more than the call
            except FileNotFoundError as error:
                raise failures.damaged(path, "it is not there") from error
            if status.st_size != size:
                raise failures.damaged(path, f"it has {status.st_size} bytes and should have {size}")
            if not self._proofs.holds(path, status):
                new[name] = status
        if not new:
            return
        for name, digest in self._digests(new).items():
            if self.digest(name) != digest:
                raise failures.damaged(f"{self.uri}/{name}", _OTHER)
            self._proofs.keep(f"{self.uri}/{name}", new[name])

    def _digests(self, paths: Iterable[str]) -> dict[str, str]:
        """Recorded digests of data files, of those that have one. A process reads each record once."""
        try:
            place = Path(self.uri, _FOLDER).stat().st_ino
        except FileNotFoundError:
            return {}
        read, known = self._proofs.digests(self.uri, place)
        if any(path not in known for path in paths):
            for commit in self._numbers(_FOLDER, _COMMIT) - read:
                record = self._read(commit)
                if record is not None:
                    known.update(record.digests)
                    read.add(commit)
        return {path: known[path] for path in paths if path in known}

    def holds(self, commit: int) -> bool:
        """Whether the log has a commit."""
        return commit in self._numbers(_LOG, _COMMIT)

    def unsound(self) -> CorruptTableError | None:
        """What is wrong with a local table's log from its last checkpoint on, which is what readers use.

        A commit without bytes is what a machine that lost power leaves.
        """
        if not location.is_local(self.uri):
            return None
        try:
            names = os.listdir(f"{self.uri}/{_LOG}")  # noqa: PTH208  # names alone
        except FileNotFoundError:
            return None
        since = max((int(name[:20]) for name in names if _CHECKPOINT.fullmatch(name)), default=-1)
        first = f"{since:020}" if since >= 0 else ""
        for name in sorted(name for name in names if name >= first):
            path = f"{self.uri}/{_LOG}/{name}"
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:  # cleaned away meanwhile
                continue
            if self._proofs.holds(path, status):
                continue
            if _COMMIT.fullmatch(name) and not status.st_size:
                return failures.changed(path, "it is empty")
            if _CHECKPOINT.fullmatch(name) and int(name[:20]) == since and not self._is_checkpoint(name):
                return failures.damaged(path, _OTHER)
            if _COMMIT.fullmatch(name) and int(name[:20]) > since:
                record = self._read(int(name[:20]))
                if record is None:  # it may be made just now
                    continue
                if self._log_of(record) != record.log:
                    return failures.changed(path, _OTHER)
            self._proofs.keep(path, status)
        return None

    def half(self) -> str | None:
        """The newest commit of a local table, if its writer was killed while it wrote it: it was told to nobody.

        A writer that lives is done a moment later, and records it.
        """
        if not location.is_local(self.uri):
            return None
        newest = max(self._numbers(_LOG, _COMMIT), default=-1)
        path = f"{_LOG}/{newest:020}.json"
        if newest <= self.recorded() or _is_whole(Path(self.uri, path)):
            return None
        time.sleep(_DONE)
        return None if newest <= self.recorded() or _is_whole(Path(self.uri, path)) else path

    def without_half(self, path: str) -> None:
        """Take such a commit away; the next one has its number."""
        Path(self.uri, path).unlink(missing_ok=True)

    def bad_checkpoint(self) -> str | None:
        """The checkpoint that readers of a local table begin with, where it is gone or not what was written."""
        if not location.is_local(self.uri):
            return None
        newest = max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        for record in reversed(self.records(since=newest - 1)):
            for path, digest in record.digests.items():
                if path.startswith(f"{_LOG}/") and self.digest(path) != digest:
                    return path
        return None

    def without_checkpoint(self, path: str) -> None:
        """Take a checkpoint away, where the commits before it are all there: readers begin with an earlier one then.

        Raises:
            CorruptTableError: They are not; nothing has changed.
        """
        log = Path(self.uri, _LOG)
        aside = {
            file: file.with_name(f".{file.name}.aside") for file in (Path(self.uri, path), log / "_last_checkpoint")
        }
        moved = [file for file in aside if file.exists()]
        for each in moved:
            each.rename(aside[each])
        numbers, since = self._numbers(_LOG, _COMMIT), max(self._numbers(_LOG, _CHECKPOINT), default=-1)
        is_whole = numbers >= set(range(since + 1, int(Path(path).name[:20]) + 1))
        for each in moved:
            aside[each].unlink() if is_whole else aside[each].rename(each)
        if not is_whole:
            raise failures.damaged(f"{self.uri}/{path}", "and the commits before it are not kept any more")
        self._record(int(Path(path).name[:20]))

    def _is_checkpoint(self, name: str) -> bool:
        """Whether a checkpoint is the one that was recorded. Of two that are written at once the last one stands."""
        for _ in range(5):
            record = self._read(int(name[:20]))
            digest = None if record is None else record.digests.get(f"{_LOG}/{name}")
            if digest is None or self.digest(f"{_LOG}/{name}") == digest:
                return True
            time.sleep(_LATE)
        return False

    def _log_of(self, record: CommitRecord) -> bytes:
        """A commit as it is in the log; as it was written where it is not there, which `lost` tells."""
        try:
            return self._bytes(f"{_LOG}/{record.commit:020}.json")
        except FileNotFoundError:
            return record.log

    def changed(self, record: CommitRecord) -> list[str]:
        """Files of a commit that are there with other bytes than were written, the commit itself among them."""
        altered = [f"{_LOG}/{record.commit:020}.json"] if self._log_of(record) != record.log else []
        for path, digest in record.digests.items():
            now = self.digest(path)
            if now is not None and now != digest:
                altered.append(path)
        return altered + [path for path, tag in record.etags.items() if self._is_other(path, tag)]

    def _is_other(self, path: str, tag: str) -> bool:
        """Whether an object is there with other content. A name that is an MD5 is compared with the bytes too."""
        now = self.etag(path)
        if now is None or now != tag:
            return now is not None
        return bool(_MD5.fullmatch(tag)) and hashlib.md5(self._bytes(path), usedforsecurity=False).hexdigest() != tag

    def drop(self, commit: int, paths: Sequence[str]) -> None:
        """Write the commit of this number that takes data files out of the table, and record it."""
        from obstore.exceptions import AlreadyExistsError

        now = int(time.time() * 1000)  # when the files may be cleaned away; nothing else goes by it
        actions: list[dict[str, Any]] = [{"commitInfo": {"timestamp": now, "operation": "DROP FILES"}}]
        actions += [{"remove": {"path": path, "deletionTimestamp": now, "dataChange": True}} for path in paths]
        try:
            log = "\n".join(map(json.dumps, actions)).encode()
            self._objects.put(f"{_LOG}/{commit:020}.json", log, mode="create")
        except AlreadyExistsError as error:
            raise WriteConflictError("another writer committed", where=self.uri, hint="run it again") from error
        self.keep(commit)

    def restore(self, record: CommitRecord) -> None:
        """Write a commit again, as it was."""
        self._objects.put(f"{_LOG}/{record.commit:020}.json", record.log)

    def forget(self, active: set[str]) -> None:
        """Delete records, but the newest, of commits that are not in the log any more and wrote none of these files."""
        numbers, records = self._numbers(_LOG, _COMMIT), self.records()
        for record in records[:-1]:
            if record.commit not in numbers and not active & set(record.digests):
                self._objects.delete(f"{_FOLDER}/{record.commit:020}.json")

    def _numbers(self, folder: str, pattern: re.Pattern[str]) -> set[int]:
        if location.is_local(self.uri):
            try:
                names = [path.name for path in Path(self.uri, folder).iterdir()]
            except FileNotFoundError:
                return set()
        else:
            names = [
                str(blob["path"]).rpartition("/")[2] for blob in self._objects.list_with_delimiter(folder)["objects"]
            ]
        return {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
