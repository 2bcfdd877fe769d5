"""Random numbers that belong to a place, not to an order of drawing.

A number is a hash of (seed, stream, series, hour), so any part of a simulated world can be made alone, in any
order, and is the same as when made with the rest. Only integer operations, sums and products are used: they
give the same bits for any length of array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Floats = NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mixed(words: Words) -> Words:
    """The splitmix64 finalizer: every bit of the input decides every bit of the output."""
    import numpy as np

    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words(seed: int, stream: int, series: NDArray[Any], hours: NDArray[Any] | None = None) -> Words:
    """One 64-bit word per series, or a matrix of series by hours."""
    import numpy as np

    start = np.array([(seed * _GOLDEN + stream * 0xD1342543DE82EF95 + 1) & _MASK], dtype=np.uint64)
    state = mixed(mixed(start) + series.astype(np.uint64) * np.uint64(_GOLDEN))
    if hours is None:
        return state
    return mixed(state[:, None] + hours.astype(np.int64).view(np.uint64)[None, :] * np.uint64(_GOLDEN))


def uniform(bits: Words) -> Floats:
    """Numbers in [0, 1) from the upper 53 bits."""
    import numpy as np

    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(bits: Words) -> Floats:
    """Nearly normal numbers, mean 0 and deviation 1, within 3.5: the sum of four 16-bit uniforms."""
    import numpy as np

    total = np.zeros(bits.shape, dtype=np.float64)
    for shift in (0, 16, 32, 48):
        total += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
    deviates: Floats = (total / 65536.0 - 2.0) * 3.0**0.5
    return deviates
