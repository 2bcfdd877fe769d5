"""Small files that are there whole or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


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
