"""Folders for what nobody keeps: gone when a process is done, and at the next start if it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import StoreError
from headrace.files import disk_trouble

FOLDER = "scratch"
"""Below the home."""
_OWNER = ".owner"
"""Locked while the process lives that a folder belongs to."""


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """An empty folder below a home. Folders that processes left there which were killed are deleted first.

    Raises:
        StoreError: The disk is full, or takes no files.
    """
    root = home / FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            _sweep(root)
            folder = Path(tempfile.mkdtemp(dir=root))
            owner = _locked(folder / _OWNER)
        try:
            yield folder
        finally:
            if owner is not None:
                os.close(owner)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if (trouble := disk_trouble(error)) is None:
            raise
        raise StoreError(f"blocks of rows cannot be written: {trouble}", where=str(error.filename or root)) from error


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One process at a time: a folder that is made is not swept before it is locked."""
    file = os.open(root / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _locked(path: Path) -> int | None:
    """The file, locked until it is closed or the process ends; None where another process has it."""
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _sweep(root: Path) -> None:
    for folder in filter(Path.is_dir, root.iterdir()):
        with suppress(FileNotFoundError):
            owner = _locked(folder / _OWNER)
            if owner is not None:
                os.close(owner)
                shutil.rmtree(folder, ignore_errors=True)
