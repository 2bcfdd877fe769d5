"""What is slow to make and only copied: made once by whichever process of a test run needs it first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def template(base: Path, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` that `make` filled; never change it.

    Args:
        base: The process's own base of temporary folders; processes of one run share the folder above.
        name: Of the folder; what is made must depend on nothing else.
        make: Fills the folder it is given.
    """
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "templates"
    shared.mkdir(parents=True, exist_ok=True)
    folder, whole = shared / name, shared / f"{name}.whole"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)  # one that failed half-way
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
