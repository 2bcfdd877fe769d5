"""How the values of one variable are counted, as the reference laid it out: numbers, categories and texts.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.drift import CATEGORICAL, NUMERIC, TEXT
from headrace.drift.scale import HUGE, BinScale

Ints = NDArray[np.int64]


LEVELS = 100
"""Categories of which rows are counted one by one: those with most rows in the reference."""
OFTEN = 20
"""Rows that a category has at least to be counted by itself, where there are many."""
KNOWN = 20_000
"""Values, or words, that are known besides, at most."""
EXAMPLES = 10
"""New values that are named, at most."""
SAMPLED = 100_000
"""Rows that the bins of numbers are laid out from, evenly taken; words are looked for in a tenth of it."""
_SHARES = BinScale(0.0, 1.0, 0.0, 1 / (1 << 16), tuple(1 + (i << 16) // 20 for i in range(20)), varies=True)
"""Of a share between 0 and 1: twenty bins, and one of nothing at all."""
_WORD = r"[\p{L}\p{N}]+"


@dataclass(frozen=True)
class BinCounts:
    """Rows of some groups, such as days. What is counted apart adds up to what is counted at once, to the last bit.

    Attributes:
        rows: Shape (groups,).
        missing: How many of them have no value: null, NaN or infinite; a text without a word.
        bins: Rows per bin, shape (groups, bins).
        sums: Sums per bin, where values are numbers; see `BinScale.count`.
        examples: Of each group new values with their rows, the most frequent; empty where there is none in any.
    """

    rows: Ints
    missing: Ints
    bins: Ints
    sums: Ints
    examples: Sequence[Mapping[str, int]] = ()

    @property
    def arrays(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Rows, missing, bins and sums."""
        return self.rows, self.missing, self.bins, self.sums

    @property
    def known(self) -> int:
        """Rows with a value."""
        return int(self.rows.sum() - self.missing.sum())

    def total(self) -> BinCounts:
        """All groups as one."""
        rows, missing, bins, sums = (array.sum(axis=0, keepdims=True) for array in self.arrays)
        return BinCounts(rows, missing, bins, sums, [most_frequent(*self.examples)] if self.examples else ())

    def only(self, groups: Ints) -> BinCounts:
        """Of some groups."""
        rows, missing, bins, sums = (array[groups] for array in self.arrays)
        return BinCounts(rows, missing, bins, sums, [self.examples[i] for i in groups] if self.examples else ())

    def placed(self, places: Ints, size: int) -> BinCounts:
        """The groups at other places, of `size`; those at the same place add up."""
        arrays = []
        for array in self.arrays:
            arrays.append(np.zeros((size, *array.shape[1:]), dtype=np.int64))
            np.add.at(arrays[-1], places, array)
        examples: list[Mapping[str, int]] = [{} for _ in range(size)] if self.examples else []
        for place, values in zip(places.tolist(), self.examples, strict=False):
            examples[place] = most_frequent(examples[place], values)
        return BinCounts(arrays[0], arrays[1], arrays[2], arrays[3], examples)

    def __add__(self, other: BinCounts) -> BinCounts:
        """Both together, group by group."""
        rows, missing, bins, sums = (a + b for a, b in zip(self.arrays, other.arrays, strict=True))
        pairs = zip_longest(self.examples, other.examples, fillvalue=dict[str, int]())
        return BinCounts(rows, missing, bins, sums, [most_frequent(*pair) for pair in pairs])


def most_frequent(*counted: Mapping[str, int]) -> dict[str, int]:
    """New values of several counts as one, those with most rows."""
    totals: dict[str, int] = {}
    for values in counted:
        for value, count in values.items():
            totals[value] = totals.get(value, 0) + count
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:EXAMPLES])


@dataclass(frozen=True)
class BinLayout:
    """How the values of one variable are counted.

    Attributes:
        kind: ``numeric``, ``categorical`` or ``text``.
        scale: Of numbers; of texts that of the number of words.
        levels: Categories with a bin each, those with most rows first. After them come a bin for other known values
            and one for new ones.
        further: Other known categories, or the words that are known.
    """

    kind: str
    scale: BinScale | None = None
    levels: tuple[str, ...] = ()
    further: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: pl.Series, kind: str) -> Self:
        """The frame that a reference lays out.

        Args:
            values: Of the reference: numbers, or what can be written as a text.
            kind: ``numeric``, ``categorical`` or ``text``.
        """
        if kind == NUMERIC:
            numbers = finite(values)
            spread = float(np.std(np.clip(numbers, -HUGE, HUGE))) if numbers.size else 0.0
            return cls(kind, BinScale.of(numbers[:: max(-(-numbers.size // SAMPLED), 1)], spread))
        if kind == CATEGORICAL:
            known = values.cast(pl.String).drop_nulls().alias("v").value_counts(name="n")
            known = known.sort(["n", "v"], descending=[True, False]).head(LEVELS + KNOWN)
            names, often = known["v"].to_list(), int((known["n"] >= OFTEN).sum())
            # Which of many rare values have most rows is chance: to tell them apart would find drift where none is.
            levels = len(names) if len(names) <= LEVELS // 5 else min(often, LEVELS)
            return cls(kind, None, tuple(names[:levels]), tuple(sorted(names[levels:])))
        sample = evenly(values.cast(pl.String).drop_nulls(), SAMPLED // 10)
        words = (
            _words(sample.filter(_first_half(len(sample))))
            .explode(empty_as_null=True)
            .drop_nulls()
            .alias("v")
            .value_counts(name="n")
        )
        names = words.sort(["n", "v"], descending=[True, False]).head(KNOWN)["v"].to_list()
        lengths = _words(sample).list.len().cast(pl.Float64).filter(_words(sample).list.len() > 0)
        return cls(kind, BinScale.of(lengths.to_numpy()), (), tuple(sorted(names)))

    @property
    def bins(self) -> int:
        """How many bins all parts have."""
        return sum(self.parts)

    @property
    def parts(self) -> tuple[int, ...]:
        """Bins of each part, one after the other: of a text the share of unknown words, then the number of words."""
        if self.kind == CATEGORICAL:
            return (len(self.levels) + 2,)
        assert self.scale is not None
        return (self.scale.bins,) if self.kind == NUMERIC else (_SHARES.bins, self.scale.bins)

    @property
    def scales(self) -> tuple[BinScale, ...]:
        """Of each part that has one."""
        scales = (_SHARES, self.scale) if self.kind == TEXT else (self.scale,)
        return tuple(scale for scale in scales if scale is not None)

    def count(
        self, values: pl.Series, groups: Ints | None = None, size: int = 1, *, leave_out: bool = False
    ) -> BinCounts:
        """Count rows.

        Args:
            values: Of the variable.
            groups: The group of every row, from 0; None: all are one.
            size: How many groups there are.
            leave_out: They are the reference: a category that one row of all has would be new, were it not for that row
                (Good, Biometrika 40, 1953), and of texts only those count that the words are not from.
        """
        if self.kind == TEXT and leave_out:
            sampled = evenly(pl.int_range(len(values), eager=True).filter(values.is_not_null()), SAMPLED // 10)
            sampled = sampled.filter(~_first_half(len(sampled)))
            texts = values.cast(pl.String).gather(sampled)
            missing = _per_group(values.is_null(), groups, size)
            sampled_counts = self.count(texts, None if groups is None else groups[sampled.to_numpy()], size)
            # Rows are those that were looked at, and so many without a text as there are for each of them.
            share = len(texts) / max(len(values) - values.null_count(), 1)
            extra = np.rint(missing * share).astype(np.int64)
            return BinCounts(
                sampled_counts.rows + extra, sampled_counts.missing + extra, sampled_counts.bins, sampled_counts.sums
            )
        rows = _per_group(pl.repeat(True, len(values), dtype=pl.Boolean, eager=True), groups, size)
        counted = {NUMERIC: self._numbers, TEXT: self._texts}.get(self.kind)
        if counted is not None:
            bins, sums = counted(values, groups, size)
            return BinCounts(rows, rows - bins[:, : self.parts[0]].sum(axis=1), bins, sums)
        bins, examples = self._categories(values, groups, size, leave_out=leave_out)
        return BinCounts(rows, rows - bins.sum(axis=1), bins, np.zeros_like(bins), examples)

    def _numbers(self, values: pl.Series, groups: Ints | None, size: int) -> tuple[Ints, Ints]:
        assert self.scale is not None
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        full = np.isfinite(numbers)
        if not full.all():
            numbers, groups = numbers[full], None if groups is None else groups[full]
        return self.scale.count(numbers, groups, size)

    def _categories(
        self, values: pl.Series, groups: Ints | None, size: int, *, leave_out: bool
    ) -> tuple[Ints, Sequence[Mapping[str, int]]]:
        group = pl.repeat(0, len(values), dtype=pl.Int64, eager=True) if groups is None else pl.Series(groups)
        frame = pl.DataFrame({"g": group, "v": values.cast(pl.String)}).drop_nulls("v")
        counted = frame.group_by("g", "v").agg(pl.len().cast(pl.Int64).alias("n"))
        counted = counted.join(self._places, on="v", how="left").with_columns(pl.col("p").fill_null(self.bins - 1))
        if leave_out:
            single = pl.col("n").sum().over("v") == 1
            counted = counted.with_columns(p=pl.when(single).then(pl.lit(self.bins - 1, pl.Int64)).otherwise("p"))
        bins = np.zeros((size, self.bins), dtype=np.int64)
        np.add.at(bins, (counted["g"].to_numpy(), counted["p"].to_numpy()), counted["n"].to_numpy())
        new = counted.filter(pl.col("p") == self.bins - 1).sort(["n", "v"], descending=[True, False])
        if leave_out or new.is_empty():
            return bins, ()
        examples: list[dict[str, int]] = [{} for _ in range(size)]
        for place, value, count in (
            new.group_by("g", maintain_order=True).head(EXAMPLES).select("g", "v", "n").iter_rows()
        ):
            examples[place][value] = count
        return bins, examples

    @cached_property
    def _places(self) -> pl.DataFrame:
        """The bin of every known category."""
        names = [*self.levels, *self.further]
        places = [*range(len(self.levels)), *([len(self.levels)] * len(self.further))]
        return pl.DataFrame({"v": names, "p": places}, schema={"v": pl.String, "p": pl.Int64})

    def _texts(self, values: pl.Series, groups: Ints | None, size: int) -> tuple[Ints, Ints]:
        assert self.scale is not None
        words = pl.DataFrame({"w": _words(values.cast(pl.String))}).with_row_index("row")
        words = words.filter(pl.col("w").list.len() > 0).explode("w")
        outside = ~pl.col("w").is_in(pl.Series(self.further, dtype=pl.String).implode())
        details = words.group_by("row", maintain_order=True).agg(outside.mean().alias("share"), pl.len().alias("words"))
        chosen = None if groups is None else groups[details["row"].to_numpy()]
        shares = _SHARES.count(details["share"].to_numpy(), chosen, size)
        lengths = self.scale.count(details["words"].cast(pl.Float64).to_numpy(), chosen, size)
        bins, sums = (np.concatenate(pair, axis=1) for pair in zip(shares, lengths, strict=True))
        return bins, sums

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it."""
        scale = None if self.scale is None else self.scale.as_dict()
        return {"kind": self.kind, "scale": scale, "levels": list(self.levels), "further": list(self.further)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        scale = None if data["scale"] is None else BinScale.from_dict(data["scale"])
        return cls(data["kind"], scale, tuple(data["levels"]), tuple(data["further"]))


def finite(values: pl.Series) -> NDArray[np.float64]:
    """The finite ones of some numbers."""
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known: NDArray[np.float64] = numbers[np.isfinite(numbers)]
    return known


def evenly(values: pl.Series, count: int) -> pl.Series:
    """About so many of the values, at equal distances."""
    return values.gather_every(max(-(-len(values) // count), 1))


def _first_half(count: int) -> pl.Series:
    """One half of so many rows, in no order that rows may have by themselves."""
    return pl.Series((np.arange(count) * 2654435761 >> 15) & 1 == 0)


def _words(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.extract_all(_WORD)


def _per_group(chosen: pl.Series, groups: Ints | None, size: int) -> Ints:
    """How many of the rows are chosen, per group."""
    if groups is None:
        return np.array([int(chosen.sum() or 0)], dtype=np.int64)
    return np.bincount(groups[chosen.to_numpy()], minlength=size).astype(np.int64)
