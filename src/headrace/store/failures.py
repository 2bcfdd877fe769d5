"""What the storage libraries raise, told in the framework's own errors.

They tell their failures apart by text only, so the texts are here, in one place, each covered by a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.errors import CorruptTableError, HeadraceError, StoreError, StoreTooNewError, UsageError

_FILE = re.compile(r"[^\s'\"`(),]*(?:\.parquet|_delta_log/[^\s'\"`(),]*\.json)")
_TOO_NEW = ("Unsupported minimum reader version", "is not supported", "Table features must be specified",
            "requires reader version", "requires reader features", "newer version")  # fmt: skip
_NO_SPACE = ("No space left", "os error 28", "File too large", "os error 27", "Disk quota", "os error 122")
_READ_ONLY = ("Read-only file system", "os error 30")
_NO_ACCESS = ("Permission denied", "os error 13", "AccessDenied", "Forbidden",
               "InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthenticated")  # fmt: skip
_REFUSED = (
    (_NO_SPACE, "no space left to write", "free some space and run again: nothing was lost"),
    (_READ_ONLY, "the file system is read-only", "mount it to be written, or name another home"),
    (_NO_ACCESS, "access denied", "check the folder's permissions, or the credentials in storage options"),
)
_NO_SERVICE = ("error sending request", "Connection refused", "dns error", "timed out", "NoSuchBucket")
_DAMAGED = ("not found", "No such file", "Parquet", "parquet", "Json error", "expected contiguous", "gap",
            "No table metadata or protocol", "range.end", "snappy", "thrift", "Invalid JSON", "EOF",
            "zstd", "Corrupt", "Requested range", "out of specification", "Unexpected end",
            "Invalid Checkpoint")  # fmt: skip


def is_storage_failure(error: BaseException) -> bool:
    """Whether `error` comes from the storage libraries or the file system, not from a mistake in a query."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"DeltaError", "OSError", "PanicException", "BaseError"}) or (
        "ComputeError" in kinds and any(text in str(error) for text in _DAMAGED)
    )


def lost_race(error: BaseException) -> bool:
    """Whether a commit failed because another writer committed first, and for no other reason."""
    return "Failed to commit transaction" in str(error) and not _any(str(error), _NO_SPACE + _READ_ONLY + _NO_ACCESS)


def translate(error: BaseException, where: str) -> HeadraceError:
    """The framework's error for one of the storage libraries' (see `is_storage_failure`)."""
    text = str(error)
    line = text.splitlines()[0][:300] if text else type(error).__name__
    for needles, message, advice in _REFUSED:
        if _any(text, needles):
            return StoreError(message, where=where, hint=advice)
    if _any(text, _TOO_NEW):
        return StoreTooNewError(
            f"the table needs a newer reader or writer ({line})",
            where=where,
            hint="upgrade headrace and deltalake",
        )
    if _any(text, _NO_SERVICE):
        return StoreError(f"the storage cannot be reached ({line})", where=where, hint="check the URI and the network")
    if _any(text, _DAMAGED):
        match = _FILE.search(text)
        return damaged(match.group(0) if match else where, line)
    panic = type(error).__name__ == "PanicException"  # native code, mostly over a damaged file
    hint = "headrace verify --deep says whether a file is damaged" if panic else None
    return StoreError(line, where=where, hint=hint)


def damaged(path: str, text: str) -> CorruptTableError:
    """The error for a missing or damaged file at `path`."""
    return CorruptTableError(
        f"a file of the table is missing or damaged ({text})",
        where=path,
        hint="headrace verify --repair puts commits back; a data file comes back from a backup, or from its source",
    )


@contextmanager
def intact(where: str, hint: str) -> Iterator[None]:
    """Around reading what was written as JSON: tells text that is no such thing, or lacks something, as damaged.

    Raises:
        CorruptTableError: With `where` it is, and what to do.
    """
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, UsageError) as error:
        line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CorruptTableError(
            f"it does not hold what was written to it ({type(error).__name__}: {line})", where=where, hint=hint
        ) from error


def behind(uri: str, recorded: int, there: int, mark: str | None = None) -> CorruptTableError:
    """The error for a table at `uri` that lost commits: its log ends at `there`, commits up to `recorded` were made.

    `mark` is the file that says so where the table's own records are gone too.
    """
    otherwise = "" if mark is None else f"; where it cannot, put the table back from a backup, or delete {mark}"
    return CorruptTableError(
        f"the table is behind its records: commit {recorded} was made, and its log ends at {there}",
        where=uri,
        hint=f"headrace verify --repair puts lost commits back; nothing is written over it before{otherwise}",
    )


def changed(path: str, text: str) -> CorruptTableError:
    """The error for a commit at `path` that is not what was written: what it added would be missing in silence."""
    return CorruptTableError(
        f"a commit of the table is damaged ({text})",
        where=path,
        hint="headrace verify --repair puts commits back as they were written; nothing is written over it before",
    )


def _any(text: str, needles: tuple[str, ...]) -> bool:
    return any(needle.lower() in text.lower() for needle in needles)
