"""Checksums of many records at once: a CRC of each would cost a tenth of an event."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from headrace.serving.engine.rings import Ints, Sums


def checksums(words: Sums, names: Sums, turns: Ints) -> Sums:
    """One number per record, never 0, which another value, name or turn changes (but for one time in 2**64).

    A multilinear hash: the sum of the words, each with an odd factor of its own, modulo 2**64. The halves of a word are
    mixed before, so that changes of the highest bits of two words do not make up for one another.

    Args:
        words: Shape (records, words).
        names: A number for the series of each record.
        turns: A number for its place in the series.

    >>> import numpy as np
    >>> words = np.array([[1, 2], [1, 3]], dtype=np.uint64)
    >>> a, b = checksums(words, np.array([7, 7], dtype=np.uint64), np.array([0, 0]))
    >>> bool(a != b)
    True
    """
    factors = _factors(words.shape[1] + 2)
    mixed = words ^ (words >> np.uint64(32))
    sums: Sums = np.einsum("ij,j->i", mixed, factors[2:])
    sums += names * factors[0] + turns.astype(np.uint64) * factors[1]
    sums[sums == 0] = 1
    return sums


@lru_cache(maxsize=8)
def _factors(count: int) -> Sums:
    """Odd numbers that look like chance: the first of the sequence SplitMix64."""
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) | np.uint64(1)
