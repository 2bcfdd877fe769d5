"""The words of a simulated marketplace: what its categories, brands and texts are called.

A word is known by its rank: the first ranks are words that listings really use, the others are made of syllables. Ranks
follow the law of Zipf and Mandelbrot, so new words keep appearing however many rows there are.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

EXPONENT, SHIFT = 1.6, 90.0
"""Of Mandelbrot's law: a word of rank r, from 0, has a share that goes with ``(r + SHIFT) ** -EXPONENT``."""
RANKS = 1 << 26
"""Words that there are at most; few rows ever have one of the last."""

_TOPS = (
    "Women",
    "Beauty",
    "Kids",
    "Electronics",
    "Men",
    "Home",
    "Vintage & Collectibles",
    "Other",
    "Handmade",
    "Sports & Outdoors",
)
_MIDDLES = (
    *("Tops & Blouses", "Makeup", "Toys", "Phones", "Shoes", "Kitchen", "Books", "Office", "Jewelry", "Fitness"),
    *("Dresses", "Skin Care", "Games", "Audio", "Jackets", "Bedding", "Cards", "Pets", "Bags", "Outdoor"),
)
"""Two of each top, in the order of these."""
_LEAVES = (
    *("Other", "Small", "Large", "Classic", "Sets", "Blouse", "Boots", "Case", "Face", "Necklace", "Ring", "Hat"),
    *("Shirt", "Jacket", "Skirt", "Tote", "Wallet", "Lip", "Eye", "Puzzle", "Console", "Cable", "Lens", "Mug"),
)
COMMON = (
    *("new", "size", "and", "the", "for", "with", "in", "a", "free", "shipping", "black", "never", "used", "worn"),
    *(
        "brand",
        "bundle",
        "condition",
        "great",
        "pink",
        "set",
        "small",
        "medium",
        "large",
        "white",
        "blue",
        "of",
        "good",
    ),
    *("only", "no", "box", "color", "price", "lot", "once", "cute", "like", "tags", "one", "red", "leather", "gold"),
    *(
        "perfect",
        "super",
        "authentic",
        "case",
        "grey",
        "firm",
        "rare",
        "limited",
        "edition",
        "cotton",
        "mint",
        "sealed",
    ),
)
_ONSETS = ("b", "ch", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "t", "v", "w", "y", "z")
_VOWELS = ("a", "e", "i", "o", "u")


def ranks(draws: Floats) -> Ints:
    """The ranks of words that uniform draws from [0, 1) stand for; of the same shape."""
    import numpy as np

    tail = np.maximum(1.0 - draws, 2.0**-53)
    rank = SHIFT * (tail ** (-1.0 / (EXPONENT - 1.0)) - 1.0)
    return np.minimum(rank, RANKS - 1).astype(np.int64)


def words_of(rank: Ints) -> pl.Series:
    """The words of some ranks, as texts."""
    import numpy as np
    import polars as pl

    unique, place = np.unique(rank, return_inverse=True)
    made = _made_up(unique - len(COMMON))
    common = pl.Series(COMMON, dtype=pl.String)
    known = common.gather(np.minimum(unique, len(COMMON) - 1))
    texts = pl.select(pl.when(pl.Series(unique < len(COMMON))).then(known).otherwise(made)).to_series()
    return texts.gather(place)


def brands_of(brand: Ints) -> pl.Series:
    """The names of some brands."""
    return _made_up(brand * 7 + 3).str.to_titlecase()


def categories_of(leaf: Ints) -> pl.Series:
    """The three levels of some categories as ``Top/Middle/Leaf``; those beyond `CATEGORIES` came up later."""
    import numpy as np
    import polars as pl

    unique, place = np.unique(leaf, return_inverse=True)
    return pl.Series([_category(number) for number in unique.tolist()], dtype=pl.String).gather(place)


CATEGORIES = 1287
"""Categories that there are from the start."""


def middle_of(leaf: Ints) -> Ints:
    """The number of the first two levels: there are some 110."""
    return leaf % 113


def top_of(leaf: Ints) -> Ints:
    """The number of the first level."""
    return middle_of(leaf) % len(_TOPS)


@cache
def _category(leaf: int) -> str:
    middle, variant = leaf % 113, leaf // 113
    name = _MIDDLES[middle % len(_MIDDLES)]
    series = middle // len(_TOPS)
    own = _LEAVES[(variant * 5 + series) % len(_LEAVES)] if leaf < CATEGORIES else f"Trend {leaf - CATEGORIES}"
    number = series // 2
    return "/".join((_TOPS[middle % len(_TOPS)], f"{name} {number + 1}" if number else name, own))


def _made_up(number: Ints) -> pl.Series:
    """Words of two syllables or more, each its own for numbers from 0 on; below it is the word of 0."""
    import numpy as np
    import polars as pl

    syllables = pl.Series([onset + vowel for onset in _ONSETS for vowel in _VOWELS], dtype=pl.String)
    base = len(syllables)
    # An odd factor modulo a power of two is a bijection: neighbours in rank do not look alike.
    rest = np.where(number < base**2, number, (number * 40_503) % RANKS + base**2)
    rest = np.maximum(rest, 0)
    parts = []
    for place in range(5):
        present = (place < 2) | (rest > 0)
        part = syllables.gather(np.where(rest >= 0, rest % base, 0))
        parts.append(pl.select(pl.when(pl.Series(present)).then(part).otherwise(pl.lit(""))).to_series())
        rest = rest // base
    return pl.select(pl.concat_str(parts)).to_series()
