"""A model's files as one content: their digest, and a local cache addressed by it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from headrace.errors import ArtefactError
from headrace.registry.lock import exclusive

ABOUT_FOLDER = ".about"
"""A folder among the files of a model that is to be registered, of what is known about it: it is no part of the model,
is kept beside it, and has a digest of its own."""
_TEMPORARY = ".placing-"


def folder_digest(folder: Path, without: str | None = None) -> str:
    """sha256 over the relative paths and bytes of all files below `folder`, in order of path (64 hex digits).

    Empty folders, times and permissions do not count, nor does what is below the folder's own one called `without`.

    Raises:
        ArtefactError: There is no such folder, it has no file, or it holds a link or another special file.
    """
    digest = hashlib.sha256()
    for name, path in _files(folder):
        if without is not None and name.startswith(f"{without}/"):
            continue
        try:
            content = hashlib.sha256(path.read_bytes()).digest()
        except OSError as error:
            raise ArtefactError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
        # The path's length before the path: no two folders give the same stream of bytes.
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded + content)
    return digest.hexdigest()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _files(folder: Path) -> list[tuple[str, Path]]:
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ArtefactError("a model's files must be plain files", where=str(path))
        if path.is_file():
            files.append((path.relative_to(folder).as_posix(), path))
    if not files:
        raise ArtefactError("there are no files of a model", where=str(folder))
    return sorted(files)


class ArtefactCache:
    """Folders at ``<root>/<digest>``. What is there is whole: placed by one rename, checked on every use.

    Args:
        root: The cache's folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, digest: str) -> Path | None:
        """The folder with this content, or None when it is absent or its files differ from the digest."""
        folder = self.root / digest
        if not folder.is_dir():
            return None
        try:
            return folder if folder_digest(folder) == digest else None
        except ArtefactError:
            # Emptied, or a file turned unreadable: as good as absent, the caller gets it again.
            return None

    def place(self, digest: str, fill: Callable[[Path], None]) -> Path:
        """The folder with this content, made by ``fill(empty_folder)`` unless it is there and whole.

        Killed at any moment, the cache holds the whole folder or none; the next call clears what is left.

        Raises:
            ArtefactError: What `fill` wrote has another digest, or the cache cannot be written.
        """
        try:
            with exclusive(self.root / ".lock"):
                self._clear()
                return self.get(digest) or self._fill(digest, fill)
        except OSError as error:
            hint = "check the disk's space and the folder's permissions"
            message = f"the model cannot be kept: {error.strerror or error}"
            raise ArtefactError(message, where=str(self.root), hint=hint) from error

    def size(self, digest: str) -> int:
        """Bytes of the folder with this content; 0 where there is none."""
        return size_of(self.root / digest)

    def drop(self, digest: str) -> int:
        """Delete the folder with this content; returns its bytes."""
        folder = self.root / digest
        held = size_of(folder)
        if folder.is_dir():
            with exclusive(self.root / ".lock"):
                shutil.rmtree(folder, ignore_errors=False)
        return held

    def _fill(self, digest: str, fill: Callable[[Path], None]) -> Path:
        temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.root))
        fill(temporary)
        found = folder_digest(temporary)
        if found != digest:
            message = f"the files have the digest {found[:12]} instead of {digest[:12]}"
            raise ArtefactError(message, where=str(self.root / digest), hint="train again, or roll back")
        target = self.root / digest
        if target.exists():  # damaged: set it apart first, a folder is only replaced by a rename when empty
            target.rename(Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.root)) / "damaged")
        os.replace(temporary, target)  # noqa: PTH105
        self._clear()
        return target

    def _clear(self) -> None:
        # The lock is held: a temporary folder here belongs to a process that died, or to a fill that failed.
        for leftover in self.root.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover)
