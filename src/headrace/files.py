"""Small files that are there whole or not at all, and what a disk says that takes none."""

from __future__ import annotations

import errno
import uuid
from pathlib import Path


def absolute(path: str | Path) -> Path:
    """A path from the root, without ``..``: libraries that read files take it for a name, or refuse it.

    What leads up is followed as the system follows it; a link at the end stays one, for what it leads to may change.
    """
    whole = Path(path).absolute()
    if ".." not in whole.parts:
        return whole
    up = len(whole.parts) - whole.parts[::-1].index("..")
    return Path(*whole.parts[:up]).resolve() / Path(*whole.parts[up:])


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or replace one, by a rename; its folder is made when missing.

    Killed at any moment, it leaves the old file or the new one; of several processes at once the last one counts. It is
    not synced: a machine that loses power may lose it.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


NO_SPACE = "no space left to write"
_ERRNO = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), NO_SPACE),
    errno.EROFS: "the file system is read-only",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "access denied"),
    errno.EIO: "the disk fails",
}
_SQLITE = {13: NO_SPACE, 8: "it is read-only", 3: "access denied", 14: "it cannot be opened", 10: "the disk fails"}
"""By the first byte of SQLite's codes."""


def disk_trouble(error: BaseException | None) -> str | None:
    """What a disk, or who keeps it, refused, where that is at the root of an error; None where it is something else.

    Args:
        error: Of the operating system or of SQLite, perhaps wrapped by libraries into others.
    """
    inodes: set[int] = set()
    while error is not None and id(error) not in inodes:
        inodes.add(id(error))
        if isinstance(error, OSError) and error.errno in _ERRNO:
            return _ERRNO[error.errno]
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(code, int) and code & 0xFF in _SQLITE:
            return _SQLITE[code & 0xFF]
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return None
