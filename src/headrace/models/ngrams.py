"""The fitted weights of an `Ngrams` feature: which n-gram has which column, and how much it counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.features.folding import fold, folded
from headrace.features.hashing import Grams, Hashes, hashes_in, hashes_of_one, named_hashes
from headrace.features.ngrams import TFIDF, Ngrams
from headrace.models.sparse import Array, Places, SparseRow, SparseRows, total

if TYPE_CHECKING:
    import polars as pl

BLOCK = 2**18
"""Bytes of text that are hashed at once: what belongs to them stays in the processor's cache."""
_MOST = 2**16
"""More n-grams of one kind in a row than this count as so many."""
_HALF = np.uint64(32)
_NOTHING = SparseRow(np.empty(0, dtype=np.int64), np.empty(0))


class Counts(NamedTuple):
    """How often rows have the n-gram of every column: as `SparseRows` has them."""

    begins: Places
    columns: Places
    counts: Places

    def taken(self, rows: NDArray[np.bool_]) -> Counts:
        """Those of some rows: shape (rows,), true where one is taken."""
        sizes = np.diff(self.begins)
        some = np.repeat(rows, sizes)
        begins = np.concatenate(([0], np.cumsum(sizes[rows])))
        return Counts(begins, self.columns[some], self.counts[some])


@dataclass(frozen=True)
class NgramWeights:
    """Turns texts into weights of n-grams.

    Attributes:
        expression: The feature.
        known: The hashes that have a column, in order; empty where all are hashed to buckets.
        idf: Of every column what the logarithm of a count is multiplied by; empty where counts stay as they are.
    """

    expression: Ngrams
    known: Hashes
    idf: Array

    @classmethod
    def fit(cls, expression: Ngrams, texts: pl.Series) -> tuple[NgramWeights, SparseRows]:
        """The weights of these training rows, and these rows."""
        fit = NgramFit(expression)
        counts = fit.add(texts)
        weights = fit.weights()
        return weights, weights.of_series(texts) if counts is None else weights.of_counts(counts)

    @classmethod
    def counted(cls, expression: Ngrams, texts: pl.Series) -> Counts | None:
        """How often rows have the n-grams of every bucket; None where there are columns for a vocabulary alone."""
        bare = cls(expression, np.empty(0, dtype=np.uint64), np.empty(0))
        return None if expression.vocabulary is not None else bare._counted(texts)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.expression.buckets if self.expression.vocabulary is None else self.known.size

    def of_series(self, texts: pl.Series) -> SparseRows:
        """Many rows.

        Args:
            texts: As the feature gives them.
        """
        return self.of_counts(self._counted(texts))

    def of_texts(self, texts: Sequence[str | None]) -> SparseRows:
        """`of_series` of plain values."""
        spellings = [fold(text or "").encode() for text in texts]
        sizes = np.fromiter(map(len, spellings), np.int64, len(spellings))
        parts = [
            self._merged(self._grams(b" ".join((b"", *spellings[begin:end], b"")), sizes[begin:end]), end - begin)
            for begin, end in _blocks(sizes)
        ]
        return self.of_counts(_joined(parts))

    def row(self, text: str | None) -> SparseRow:
        """One row: the very numbers of `of_series`."""
        if not text:
            return _NOTHING
        hashes = hashes_of_one(text, self.expression.word_sizes, self.expression.character_sizes)
        columns = self._columns(hashes)
        if self.expression.vocabulary is not None:
            columns = columns[columns >= 0]
        columns.sort()
        first = np.flatnonzero(columns[1:] != columns[:-1]) + 1
        edges = np.concatenate(([0], first, [columns.size])) if columns.size else np.zeros(1, dtype=np.int64)
        columns, counts = columns[edges[:-1]], edges[1:] - edges[:-1]
        if not self.idf.size:
            return SparseRow(columns, counts.astype(np.float64))
        values = _logarithms()[np.minimum(counts, _MOST)] * self.idf[columns]
        return SparseRow(columns, values / math.sqrt(total(values * values)) if columns.size else values)

    def by_word(self, text: str, added: Array) -> dict[str, Array]:
        """What the n-grams of a text add, by word: of an n-gram every word has the same share.

        Args:
            text: As the feature gives it.
            added: What each column of `row` adds: shape (columns, outputs).
        """
        hashes, names = named_hashes(text, self.expression.word_sizes, self.expression.character_sizes)
        columns, (row, _) = self._columns(hashes), self.row(text)
        counts = dict(zip(*(values.tolist() for values in np.unique(columns, return_counts=True)), strict=True))
        words: dict[str, Array] = {}
        for column, name in zip(columns.tolist(), names, strict=True):
            if column >= 0:
                share = added[np.searchsorted(row, column)] / (counts[column] * len(name))
                for word in name:
                    words[word] = words.get(word, 0.0) + share
        return words

    def _counted(self, texts: pl.Series) -> Counts:
        spellings = folded(texts.fill_null(""))
        sizes = spellings.str.len_bytes().to_numpy().astype(np.int64)
        return _joined(
            [
                self._merged(self._grams(_buffer(spellings[begin:end]), sizes[begin:end]), end - begin)
                for begin, end in _blocks(sizes)
            ]
        )

    def _grams(self, buffer: bytes, sizes: Places) -> Grams:
        return hashes_in(buffer, sizes, self.expression.word_sizes, self.expression.character_sizes)

    def _columns(self, hashes: Hashes) -> Places:
        """The column of every n-gram; -1 where it has none."""
        if self.expression.vocabulary is None:
            buckets = ((hashes >> _HALF) * np.uint64(self.expression.buckets)) >> _HALF
            return buckets.view(np.int64)
        if not self.known.size:
            return np.full(hashes.size, -1, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.known, hashes), self.known.size - 1)
        return np.where(self.known[places] == hashes, places, -1)

    def _merged(self, grams: Grams, rows: int) -> Counts:
        """The same n-grams of a row as one, by rising columns."""
        columns, width = self._columns(grams.hashes), max(self.width, 1)
        keys = grams.rows * width + columns
        if self.expression.vocabulary is not None:
            keys = keys[columns >= 0]
        keys.sort()
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        starts = np.arange(rows + 1) * width
        begins = np.searchsorted(keys[first], starts)
        columns = keys[first] - np.repeat(starts[:-1], np.diff(begins))
        return Counts(begins, columns, np.diff(first, append=keys.size))

    def of_counts(self, counts: Counts) -> SparseRows:
        """`of_series` of texts that were counted."""
        begins, columns, number = counts
        if not self.idf.size:
            return SparseRows(begins, columns, number.astype(np.float64), self.width)
        values = _logarithms()[np.minimum(number, _MOST)] * self.idf[columns]
        block = SparseRows(begins, columns, values, self.width)
        lengths = np.sqrt(np.bincount(block.rows, weights=values * values, minlength=len(block)))
        return SparseRows(begins, columns, values / lengths[block.rows], self.width)

    @cached_property
    def _usual_idf(self) -> float:
        return float(self.idf.max()) if self.idf.size else 0.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was fitted: most buckets hold no n-gram, and all of these have the largest weight."""
        places = np.flatnonzero(self.idf != self._usual_idf)
        return {"known": self.known, "places": places, "idf": self.idf[places], "usual": np.array([self._usual_idf])}

    @classmethod
    def from_arrays(cls, expression: Ngrams, arrays: Mapping[str, NDArray[Any]]) -> NgramWeights:
        """What `arrays` gave."""
        bare = cls(expression, arrays["known"], np.empty(0))
        if expression.weighting != TFIDF:
            return bare
        idf = np.full(bare.width, arrays["usual"][0])
        idf[arrays["places"]] = arrays["idf"]
        return cls(expression, arrays["known"], idf)


@cache
def _logarithms() -> Array:
    """1 + ln n of every count n; one table, as libraries' logarithms differ in the last bit."""
    return np.array([0.0, *(1.0 + math.log(count) for count in range(1, _MOST + 1))])


def _buffer(texts: pl.Series) -> bytes:
    return f" {texts.str.join(' ')[0]} ".encode()


def _blocks(sizes: Places) -> Iterator[tuple[int, int]]:
    """First and last row, which is left out, of texts of so many bytes that are hashed at once."""
    if not sizes.size:
        return
    number = np.cumsum(sizes + 1) // BLOCK
    edges = np.flatnonzero(np.diff(number)) + 1
    yield from pairwise([0, *edges.tolist(), sizes.size])


def _joined(parts: Sequence[Counts]) -> Counts:
    empty = np.empty(0, dtype=np.int64)
    ends = np.cumsum([0, *(part.columns.size for part in parts)])
    begins = [part.begins[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    return Counts(
        np.concatenate([*begins, ends[-1:]]),
        np.concatenate([empty, *(part.columns for part in parts)]),
        np.concatenate([empty, *(part.counts for part in parts)]),
    )


class NgramFit:
    """The weights of n-grams in the making: texts of training rows come part by part.

    Of hashed n-grams this is the number of rows that have each bucket; of a vocabulary it is that of every n-gram, so
    that it grows with their number.

    Args:
        expression: The feature.
    """

    def __init__(self, expression: Ngrams) -> None:
        self._expression, self._count = expression, 0
        width = expression.buckets if expression.vocabulary is None else 0
        self._known, self._rows = np.empty(0, dtype=np.uint64), np.zeros(width, dtype=np.int64)

    def add(self, texts: pl.Series) -> Counts | None:
        """Further rows; returns their counts, where n-grams are hashed to buckets."""
        counts = NgramWeights.counted(self._expression, texts)
        if counts is None:
            self._add_vocabulary(texts)
        else:
            self.add_counts(counts)
        return counts

    def add_counts(self, counts: Counts) -> None:
        """Further rows that were counted."""
        self._count += counts.begins.size - 1
        self._rows += np.bincount(counts.columns, minlength=self._rows.size)

    def weights(self) -> NgramWeights:
        """The weights of all rows."""
        known, rows = self._known, self._rows
        if self._expression.vocabulary is not None:  # of those that as many rows have, the smaller hashes
            most = np.lexsort((known, -rows))[: self._expression.vocabulary]
            places = most[np.argsort(known[most])]
            known, rows = known[places], rows[places]
        if self._expression.weighting != TFIDF:
            return NgramWeights(self._expression, known, np.empty(0))
        return NgramWeights(self._expression, known, 1.0 + np.log((1.0 + self._count) / (1.0 + rows)))

    def _add_vocabulary(self, texts: pl.Series) -> None:
        expression = self._expression
        spellings = folded(texts.fill_null(""))
        sizes = spellings.str.len_bytes().to_numpy().astype(np.int64)
        for begin, end in _blocks(sizes):
            buffer = _buffer(spellings[begin:end])
            hashes, of = hashes_in(buffer, sizes[begin:end], expression.word_sizes, expression.character_sizes)
            order = np.lexsort((of, hashes))
            hashes, of = hashes[order], of[order]
            new = np.ones(hashes.size, dtype=bool)
            new[1:] = (hashes[1:] != hashes[:-1]) | (of[1:] != of[:-1])
            block, counts = np.unique(hashes[new], return_counts=True)
            self._known, places = np.unique(np.concatenate([self._known, block]), return_inverse=True)
            rows = np.bincount(places, weights=np.concatenate([self._rows, counts]), minlength=self._known.size)
            self._rows = rows.astype(np.int64)
        self._count += len(texts)
