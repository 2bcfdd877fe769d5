"""Rows to learn from that are more than memory should hold: their features are written to files, part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.features.view import Features
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.spool import Spool, SpoolWriter
from headrace.tasks.rows.table import RowTable

if TYPE_CHECKING:
    import polars as pl

_EACH = 50
"""Rows of a part that stay in memory with all columns, at most."""


@dataclass(frozen=True)
class SpooledRows(Rows):
    """What a model of rows learns from, in files: of all rows `frame` has a few columns alone.

    Attributes:
        spool: Their features.
        recorded: Of how many rows the features are those that were served.
        whole: A few rows of every part, with all columns.
    """

    spool: Spool = field(kw_only=True)
    recorded: int = field(kw_only=True)
    whole: pl.DataFrame = field(kw_only=True)

    def read(self, features: Features) -> tuple[RowTable, int]:
        """See `Rows`."""
        return self.spool, self.recorded

    @property
    def some(self) -> pl.DataFrame:
        """See `Rows`."""
        return self.whole


class Spooling(NamedTuple):
    """How rows are written to files.

    Attributes:
        features: What is read.
        folder: An empty folder.
        identity: Columns that tell rows apart.
        kept: Columns that stay in memory.
        most: Rows that a learner is fitted on that does not read parts.
    """

    features: Features
    folder: Path
    identity: Sequence[str]
    kept: Sequence[str]
    most: int


def spooled(parts: Iterable[Rows], how: Spooling) -> SpooledRows | None:
    """Write the features of rows to files; None where there is no row.

    Args:
        parts: The rows, in order, none of them empty.
        how: What is written, and where.
    """
    import polars as pl

    writer, frames, some, hashes, recorded = SpoolWriter(how.features, how.folder), [], [], [], 0
    first: Rows | None = None
    for part in parts:
        first = part if first is None else first
        values, served = part.table(how.features)
        writer.add(values)
        frames.append(part.frame.select(how.kept))
        some.append(part.frame.gather_every(part.frame.height // _EACH + 1))
        hashes.append(_hashes(part.frame.select(how.identity).iter_rows(), part.frame.height))
        recorded += served
    if first is None:
        return None
    spool = writer.spool(_least(np.concatenate(hashes), how.most))
    return SpooledRows(
        pl.concat(frames),
        first.target,
        first.types,
        first.time,
        spool=spool,
        recorded=recorded,
        whole=pl.concat(some),
    )


def _hashes(keys: Iterator[tuple[object, ...]], count: int) -> NDArray[np.uint64]:
    """A number of every row that depends on its key alone, on any machine."""
    texts = ("\x1f".join(map(str, key)).encode() for key in keys)
    numbers = (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") for text in texts)
    return np.fromiter(numbers, np.uint64, count)


def _least(hashes: NDArray[np.uint64], most: int) -> NDArray[np.bool_]:
    """Which rows have the least hashes, so many of them."""
    chosen = np.ones(hashes.size, dtype=bool)
    if hashes.size > most:
        chosen[np.argsort(hashes, kind="stable")[most:]] = False
    return chosen
