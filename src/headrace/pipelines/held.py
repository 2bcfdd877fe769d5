"""Good rows of a batch that memory does not hold, in files until the whole batch is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.contract.disjoint import read_frame

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.written import Written
    from headrace.tasks.intake import Intake

PORTION = 100_000
"""Rows that are stored in one version, about: bounds memory."""


@dataclass(frozen=True)
class _HeldFile:
    path: Path
    least: Any
    most: Any


class HeldRows:
    """Takes good rows part by part, and stores them when all of them are there.

    Each portion is a range of the column that the table looks up stored rows by, so that few of these are read for it.
    A portion is a version of the table. An ingest that is killed between two is repeated, and adds those that lack.

    Args:
        intake: Stores rows.
        folder: For the files; whoever made it deletes it.
    """

    def __init__(self, intake: Intake, folder: Path) -> None:
        self._intake, self.folder, self._window = intake, folder, intake.window
        self._files: list[_HeldFile] = []
        self._values: list[pl.Series] = []

    def take(self, good: pl.DataFrame) -> pl.DataFrame:
        """Write the rows to a file; returns none of them."""
        if good.height:
            values = good[self._window]
            path = self.folder / f"good-{len(self._files)}.arrow"
            good.write_ipc(path, compression="uncompressed")
            self._files.append(_HeldFile(path, values.min(), values.max()))
            self._values.append(values)
        return good.clear()

    def new(self) -> bool:
        """Whether one of the rows would be added."""
        return any(self._intake.news(rows).height for rows in self._portions())

    def add(self, none: pl.DataFrame) -> Written:
        """Add what is new.

        Args:
            none: No row, with the columns of the others.

        Raises:
            StoreError: The table could not be written.
        """
        written = self._intake.add(none)
        for rows in self._portions():
            one = self._intake.add(rows)
            counts = (had + more for had, more in zip(written[1:], one[1:], strict=True))
            written = type(one)(one.version, *counts)
        return written

    def _portions(self) -> Iterator[pl.DataFrame]:
        import polars as pl

        if not self._files:
            return
        values = pl.concat(self._values).sort()
        edges = values[PORTION::PORTION].unique(maintain_order=True).to_list()
        inside = pl.col(self._window)
        for least, beyond in pairwise([None, *edges, None]):
            limits = [inside >= pl.lit(least, values.dtype)] if least is not None else []
            limits += [inside < pl.lit(beyond, values.dtype)] if beyond is not None else []
            files = [
                file
                for file in self._files
                if (least is None or file.most >= least) and (beyond is None or file.least < beyond)
            ]
            yield pl.concat([read_frame(file.path).filter(*limits) for file in files], rechunk=True)
