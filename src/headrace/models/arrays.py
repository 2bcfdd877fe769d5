"""Arrays in one file, beside a description: the same arrays give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArtefactError

MAGIC = b"headrace arrays 1\n"
"""How such a file begins."""


def write_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a line of JSON, and each array in NumPy's format.

    Args:
        path: The file.
        description: What JSON can hold.
        arrays: By name.
    """
    header = json.dumps({"description": description, "arrays": list(arrays)}, sort_keys=True)
    with path.open("wb") as file:
        file.write(MAGIC + header.encode() + b"\n")
        for array in arrays.values():
            np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)


def holds_arrays(path: Path) -> bool:
    """Whether `write_arrays` wrote the file."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The description and the arrays that `write_arrays` wrote.

    Raises:
        ArtefactError: The file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(path), hint="train again") from error


def _read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if file.readline() != MAGIC:
        raise ValueError("it holds no arrays")
    header = json.loads(file.readline())
    arrays = {name: np.lib.format.read_array(file, allow_pickle=False) for name in header["arrays"]}
    if file.read(1):
        raise ValueError("there is more than its arrays")
    return header["description"], arrays
