"""Which rows are held out together, so that a model is judged on what it could not have seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotEnoughDataError

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
FORWARD, GROUPS, RANDOM = "forward", "groups", "random"


@dataclass(frozen=True)
class Fold:
    """Places of the rows that are held out, and of those that are learnt from."""

    held: Indices
    kept: Indices


@dataclass(frozen=True)
class RowFolds:
    """How rows are parted.

    Attributes:
        count: Parts.
        times: Of the rows, as numbers that can be compared; None where they have none.
        groups: The number of each row's group; None where there are none.
        strata: The number of each row's class, or of the tenth that its number is in: random parts keep their shares.
        rows: How many rows there are.
        once: Whether the last part alone is held out, as of so many rows that it says enough.
    """

    count: int
    rows: int
    times: NDArray[np.int64] | None = None
    groups: Indices | None = None
    strata: Indices | None = None
    once: bool = False

    @classmethod
    def of(
        cls, count: int, rows: int, time: pl.Series | None, group: pl.Series | None, strata: Indices | None
    ) -> RowFolds:
        """How rows with these columns are parted."""
        times = None if time is None else time.to_physical().fill_null(np.iinfo(np.int64).min).to_numpy()
        groups = None if group is None else group.rank("dense").fill_null(0).cast(int).to_numpy().astype(np.intp)
        return cls(count, rows, times, groups, strata)

    @property
    def kind(self) -> str:
        """``forward``, where rows have a time; ``groups``, where they have groups; otherwise ``random``."""
        return FORWARD if self.times is not None else GROUPS if self.groups is not None else RANDOM

    def each(self, seed: int) -> Iterator[Fold]:
        """The folds. Forward ones do not depend on the seed; of a time and of groups both are kept to."""
        folds = self._each(seed)
        yield from list(folds)[-1:] if self.once else folds

    def judged(self, seed: int) -> Iterator[Indices]:
        """Places of held-out rows, part by part: what is learnt of scores is judged on parts that it did not see.

        Of one held-out part these are as many parts of it as there would be, in order of time, or of whole groups.
        """
        if not self.once:
            yield from (fold.held for fold in self.each(seed))
            return
        for held in (fold.held for fold in self.each(seed)):
            if self.times is not None:
                ordered = np.sort(self.times[held])
                edges = [ordered[len(ordered) * part // self.count] for part in range(1, self.count)]
                place = np.searchsorted(edges, self.times[held], side="right")
            else:
                place = (np.arange(held.size) if self.groups is None else self.groups[held]) % self.count
            yield from (held[place == part] for part in range(self.count))

    def _each(self, seed: int) -> Iterator[Fold]:
        if self.times is not None:
            yield from self._forward(self.times)
            return
        place = self._of_groups(self.groups, seed) if self.groups is not None else self._random(seed)
        for fold in range(self.count):
            held = np.flatnonzero(place == fold)
            if held.size:
                yield Fold(held, np.flatnonzero(place != fold))

    def refuse(self, column: str) -> None:
        """Refuse fewer groups than parts: with one group everything would be held out at once.

        Args:
            column: What the groups are called.

        Raises:
            NotEnoughDataError: There are fewer.
        """
        count = 0 if self.groups is None else int(np.unique(self.groups).size)
        if 0 < count < self.count:
            message = f"{self.count} folds hold out whole values of {column!r}, and the rows have {count}"
            hint = f"model.folds={count}" if count > 1 else "leave out model.groups, or ingest more"
            raise NotEnoughDataError(message, where="model.folds", hint=hint)

    def _forward(self, times: NDArray[np.int64]) -> Iterator[Fold]:
        """Of equal parts in the order of time each but the first is held out, and what came before it is learnt from.

        Rows of one moment stay together. Rows of a group that is held out are not learnt from.
        """
        ordered = np.sort(times)
        starts = [ordered[len(ordered) * part // (self.count + 1)] for part in range(self.count + 1)]
        for part, start in enumerate(starts[1:], 1):
            later = times >= start
            if part < self.count:
                later &= times < starts[part + 1]
            held, early = np.flatnonzero(later), times < start
            if self.groups is not None:
                early &= ~np.isin(self.groups, self.groups[held])
            if held.size:
                yield Fold(held, np.flatnonzero(early))

    def _of_groups(self, groups: Indices, seed: int) -> Indices:
        """Whole groups, dealt out at random, the largest first, each to the part that has the fewest rows."""
        sizes = np.bincount(groups)
        random = np.random.default_rng(seed).permutation(sizes.size)
        part_of, filled = np.zeros(sizes.size, dtype=np.intp), np.zeros(self.count, dtype=np.int64)
        for group in random[np.argsort(-sizes[random], kind="stable")]:
            part_of[group] = filled.argmin()
            filled[part_of[group]] += sizes[group]
        return part_of[groups]

    def _random(self, seed: int) -> Indices:
        """Parts of one size, up to a row, each with the same share of every stratum."""
        random = np.random.default_rng(seed)
        part = np.empty(self.rows, dtype=np.intp)
        strata = np.zeros(self.rows, dtype=np.intp) if self.strata is None else self.strata
        dealt = 0
        for stratum in range(int(strata.max()) + 1):
            members = random.permutation(np.flatnonzero(strata == stratum))
            part[members] = (np.arange(members.size) + dealt) % self.count
            dealt += members.size
        return part


def tenths(numbers: Array) -> Indices:
    """The tenth of all that each number is in, so that random parts have as many small and large ones: shape (rows,).

    Equal numbers are in one.

    >>> tenths(np.array([5.0, 1.0, 3.0, 3.0])).tolist()
    [7, 0, 4, 4]
    """
    edges = np.unique(np.quantile(numbers, np.arange(1, 10) / 10))
    return np.searchsorted(edges, numbers, side="right").astype(np.intp)
