"""Room on a full disk: what frees some must write a little first, so what can be had again goes before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from headrace.errors import HeadraceError
from headrace.files import NO_SPACE, disk_trouble
from headrace.home import Home

T = TypeVar("T")


def with_room(home: Home, system: str, work: Callable[[bool], T], spare: Iterable[Path]) -> T:
    """What `work` returns; where the disk has no room for it, once more after `spare` and copies of models are gone.

    Copies are those of files that the tracking server keeps: they are got again from there when they are asked for.

    Args:
        home: Where the system is.
        system: Whose.
        work: What frees room for good; it can be repeated. Told whether room is scarce.
        spare: Folders and files that may go in any case.

    Raises:
        HeadraceError: There is still too little room, or another failure.
    """
    try:
        return work(False)
    except (HeadraceError, OSError) as error:
        if not _is_full(error):
            raise
    for path in spare:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    home.registry.drop_copies(system)
    return work(True)


def _is_full(error: BaseException) -> bool:
    return disk_trouble(error) == NO_SPACE or any(said in str(error) for said in (NO_SPACE, "No space left"))
