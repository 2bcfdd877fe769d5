"""An empty database of MLflow, made once for each version of it and user, and copied from then on.

MLflow makes one by some 70 migrations: a second of CPU that every first training in a new home would wait for.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from headrace.files import write_whole


def place_empty(path: Path, version: str, make: Callable[[Path], None]) -> None:
    """Write an empty database.

    Args:
        path: Where to; there is nothing yet.
        version: Of MLflow.
        make: Makes one by migrations, where none is kept yet.

    Raises:
        OSError: It cannot be written there.
    """
    folder = _folder()
    kept = None if folder is None else folder / f"mlflow-{version}.db"
    if kept is not None and _is_ours(kept):
        shutil.copyfile(kept, path)
        if _is_sound(path):
            return
        path.unlink()
    make(path)
    if kept is not None:
        with suppress(OSError):  # whoever cannot write there waits each time
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(kept, path.read_bytes())
            kept.chmod(0o600)


def _folder() -> Path | None:
    """Where this user's programs keep what they can make again; None for a user without a home."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(named) if named and Path(named).is_absolute() else Path("~/.cache").expanduser()) / "headrace"
    except RuntimeError:
        return None


def _is_ours(path: Path) -> bool:
    """Whether it is a file of this user that nobody else may write."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _is_sound(path: Path) -> bool:
    """Whether it is a whole database that the migrations made, and nothing is in it."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            migrated = connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
            empty = connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    except sqlite3.Error:
        return False
    return bool(whole and migrated and empty)
