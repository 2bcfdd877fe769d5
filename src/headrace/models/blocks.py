"""Sparse rows in files, block by block: a design that is larger than memory is read again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.sparse import Places, SparseRows


@dataclass(frozen=True)
class BlockFiles:
    """Blocks of sparse rows in a folder: of every value 8 bytes, and 4 of its column.

    Attributes:
        folder: Where the files are.
        count: How many blocks there are.
        width: How many columns there are.
    """

    folder: Path
    count: int
    width: int

    @classmethod
    def written(cls, folder: Path, blocks: Iterable[SparseRows]) -> tuple[BlockFiles, Places]:
        """Write blocks, with the columns alone that some row has: these are all that can have a weight.

        Args:
            folder: An empty one.
            blocks: The rows; one at least.

        Returns:
            The files, and the columns that they have, in order.
        """
        there, count = np.zeros(0, dtype=np.int64), 0
        for number, block in enumerate(blocks):
            there = np.bincount(block.columns, minlength=block.width) + (there if there.size else 0)
            count += 1
            block.begins.astype(np.int64).tofile(folder / f"{number}.begins")
            block.columns.astype(np.int32).tofile(folder / f"{number}.columns")
            block.values.tofile(folder / f"{number}.values")
        columns = np.flatnonzero(there)
        places = np.zeros(there.size, dtype=np.int32)
        places[columns] = np.arange(columns.size, dtype=np.int32)
        for number in range(count):
            path = folder / f"{number}.columns"
            places[_read(path, np.int32)].tofile(path)
        return cls(folder, count, columns.size), columns

    def __iter__(self) -> Iterator[SparseRows]:
        for number in range(self.count):
            begins = _read(self.folder / f"{number}.begins", np.int64)
            columns = _read(self.folder / f"{number}.columns", np.int32)
            yield SparseRows(begins, columns, _read(self.folder / f"{number}.values", np.float64), self.width)


def _read(path: Path, kind: Any) -> NDArray[Any]:
    return np.fromfile(path, dtype=kind)
