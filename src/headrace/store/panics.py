"""What native code writes when it panics: above the error that it then raises, it helps nobody."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEAR = 64 * 2**20
"""Bytes; with less room left on the disk a write may fail half-way, and the library that writes then panics."""
_LATE = 0.05
"""Seconds in which threads that write beside the one that failed have ended too."""
_PANIC = re.compile(
    rb"(?:(?<![^\n])\n)?thread '[^\n]* panicked at [^\n]*:\n[^\n]*\n"  # who, where and what
    rb"(?:stack backtrace:\n(?:\s+[^\n]*\n)*)?(?:note: [^\n]*\n)?"
)
_lock = threading.Lock()
_depth = 0
_saved = -1
_kept = -1


@contextmanager
def hidden(uri: str) -> Iterator[None]:
    """While a local table is where a write may fail, keep panics from stderr; all else is passed on.

    That is a disk that is nearly full, or a folder that may not be written.
    """
    if not _may_fail(uri) or not hasattr(os, "memfd_create"):
        yield
        return
    _begin()
    try:
        yield
    except BaseException:
        time.sleep(_LATE)
        raise
    finally:
        _end()


def _may_fail(uri: str) -> bool:
    place = Path(uri)
    log = place / "_delta_log"
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        if not place.is_absolute():
            return False
        denied = any(each.exists() and not os.access(each, os.W_OK) for each in (place, log))
        return denied or shutil.disk_usage(place).free < _NEAR
    except OSError:
        return False


def _begin() -> None:
    """Let descriptor 2 lead into memory; several threads may be here."""
    global _depth, _saved, _kept  # noqa: PLW0603  # there is one descriptor 2 in a process
    with _lock:
        _depth += 1
        if _depth == 1:
            sys.stderr.flush()
            _saved, _kept = os.dup(2), os.memfd_create("headrace-stderr")
            os.dup2(_kept, 2)


def _end() -> None:
    """Let it lead back, and pass on what was written but for panics."""
    global _depth  # noqa: PLW0603
    with _lock:
        _depth -= 1
        if _depth:
            return
        sys.stderr.flush()
        os.dup2(_saved, 2)
        os.close(_saved)
        written = os.pread(_kept, os.fstat(_kept).st_size, 0)
        os.close(_kept)
        clean = without_panics(written)
        while clean:
            clean = clean[os.write(2, clean) :]


def without_panics(written: bytes) -> bytes:
    """What was written to stderr, but for the blocks in which Rust tells of a panic."""
    return _PANIC.sub(b"", written)
