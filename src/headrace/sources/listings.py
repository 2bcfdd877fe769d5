"""Simulated listings of a marketplace for second-hand things, with the columns of Mercari's.

A listing depends on the seed and its number alone, so what is made as of T is exactly what is made as of a later time,
cut at what was known at T. Its price depends on its category, brand, condition, who pays the shipping, and its words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor
from typing import TYPE_CHECKING

from pydantic import Field

from headrace.contract import KNOWN_AT
from headrace.declaration import Declared, Duration
from headrace.sources.hashing import normal, uniform, words
from headrace.sources.shop_words import CATEGORIES, brands_of, categories_of, middle_of, ranks, top_of, words_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 40_000
"""Listings made at once: bounds the memory of any number of them."""
_BRANDS = 4800
_FRESH = 0.015
"""Share of listings whose category, and of those whose brand, came up lately: one in a week."""
_WEEK = 7 * 86_400_000_000
_NAME, _DESCRIPTION = 30, 160
"""Words that a name and a description have at most."""


class Listings(Declared):
    """Options of the simulated listings.

    Args:
        seed: The world.
        per_day: How many are listed in a day.
        days: How far back from ``as_of`` they go.
        rows: How many there are, the newest ones; overrides ``days``.
        unsold: Share of the listings whose price is known only after their sale.
        sale: A listing is sold within this time; until then its price is missing.
        zero: Share of the prices that are 0, as nobody can ask for: they were never told.
        bad: Share of the listings that break the contract: a condition of 9, or a price below 0.
    """

    seed: int = Field(default=0, ge=0)
    per_day: float = Field(default=125, gt=0, le=1_000_000)
    days: float = Field(default=28, gt=0)
    rows: int | None = Field(default=None, ge=1)
    unsold: float = Field(default=0.1, ge=0, le=1)
    sale: Duration = Field(default=timedelta(days=14), gt=timedelta(0))
    zero: float = Field(default=0.001, ge=0, le=1)
    bad: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class _Items:
    """What listings are, by number: shape (rows,) each. A brand of -1 is missing."""

    number: Ints
    listed: Ints
    leaf: Ints
    brand: Ints
    condition: Ints
    shipping: Ints


def listing_rows(options: Listings, as_of: datetime) -> Iterator[pl.DataFrame]:
    """The listings that are known at ``as_of``, ordered by number and known time; those of one number in one frame.

    Columns: ``train_id``, ``name``, ``item_condition_id`` (1 to 5), ``category_name`` (``Top/Middle/Leaf``),
    ``brand_name``, ``price`` (in dollars), ``shipping`` (1 where the seller pays), ``item_description`` and
    ``known_at`` (UTC). A listing that is sold later has two rows, the first without a price.
    """
    import numpy as np

    apart = 86_400_000_000 / options.per_day
    last = floor((as_of - _EPOCH) / timedelta(microseconds=1) / apart)
    rows = options.rows or max(round(options.per_day * options.days), 1)
    numbers = np.arange(max(last - rows + 1, 0), last + 1, dtype=np.int64)
    for first in range(0, max(numbers.size, 1), _BLOCK):
        number = numbers[first : first + _BLOCK]
        yield _frame(options, number, (number * apart).astype(np.int64), as_of)


def _frame(options: Listings, number: Ints, listed: Ints, as_of: datetime) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    items = _items(options.seed, number, listed)
    name, named = _text(options.seed, 20, number, _lengths(options.seed, 10, number, 3.6, _NAME))
    told, described = _text(options.seed, 21, number, _lengths(options.seed, 11, number, 21.0, _DESCRIPTION))
    prices = _prices(options.seed, items, named, described)
    prices = np.where(uniform(words(options.seed, 12, number)) < options.zero, 0.0, prices)
    condition, prices = _broken(options, items, prices)
    late = uniform(words(options.seed, 13, number)) < options.unsold
    wait = (0.05 + 0.95 * uniform(words(options.seed, 14, number))) * (options.sale / timedelta(microseconds=1))
    frame = pl.DataFrame(
        {
            "train_id": number,
            "name": _names(items, name),
            "item_condition_id": condition,
            "category_name": _category_names(options.seed, items),
            "brand_name": _brand_names(items),
            "price": prices,
            "shipping": items.shipping,
            "item_description": told.fill_null("No description yet"),
            KNOWN_AT: items.listed,
        }
    )
    sold = frame.filter(pl.Series(late)).with_columns(pl.Series(KNOWN_AT, (items.listed + wait.astype(np.int64))[late]))
    first = frame.with_columns(pl.when(pl.Series(~late)).then("price").alias("price"))
    known = pl.concat([first, sold]).filter(pl.col(KNOWN_AT) <= (as_of - _EPOCH) // timedelta(microseconds=1))
    return known.sort("train_id", KNOWN_AT).with_columns(pl.col(KNOWN_AT).cast(pl.Datetime("us", "UTC")))


def _items(seed: int, number: Ints, listed: Ints) -> _Items:
    """Category, brand, condition and shipping of listings."""
    import numpy as np

    leaf = _popular(uniform(words(seed, 1, number)), CATEGORIES, 18.0)
    leaf = np.where(_fresh(seed, 3, number), CATEGORIES + _weeks_back(seed, 4, number, listed), leaf)
    # Every top has its own popular brands.
    brand = (_popular(uniform(words(seed, 2, number)), _BRANDS, 25.0) + 480 * top_of(leaf)) % _BRANDS
    brand = np.where(_fresh(seed, 5, number), _BRANDS + _weeks_back(seed, 6, number, listed), brand)
    brand = np.where(uniform(words(seed, 7, number)) < 0.43, -1, brand)
    shares = np.cumsum([0.432, 0.253, 0.292, 0.021])
    condition = 1 + np.searchsorted(shares, uniform(words(seed, 8, number)), side="right")
    shipping = (uniform(words(seed, 9, number)) < 0.447).astype(np.int64)
    return _Items(number, listed, leaf, brand, condition.astype(np.int64), shipping)


def _popular(draws: Floats, count: int, shift: float) -> Ints:
    """Numbers below `count`, of which the share goes with ``1 / (number + shift)``."""
    import numpy as np

    number: Ints = np.floor(shift * ((count + shift) / shift) ** draws - shift).astype(np.int64)
    lower: Ints = np.minimum(number, count - 1)
    return lower


def _fresh(seed: int, stream: int, number: Ints) -> NDArray[np.bool_]:
    return uniform(words(seed, stream, number)) < _FRESH


def _weeks_back(seed: int, stream: int, number: Ints, listed: Ints) -> Ints:
    """The week in which something came up that is listed now: mostly a week or two before."""
    import numpy as np

    age = np.floor(-2.0 * np.log1p(-uniform(words(seed, stream, number)))).astype(np.int64)
    week: Ints = np.maximum(listed // _WEEK - age, 0)
    return week


def _lengths(seed: int, stream: int, number: Ints, typical: float, most: int) -> Ints:
    """How many words texts have: log-normal, one at least."""
    import numpy as np

    spread = 0.35 if typical < 10 else 0.85
    drawn = np.exp(spread * normal(words(seed, stream, number))) * typical
    length: Ints = np.clip(np.rint(drawn), 1, most).astype(np.int64)
    return length


def _text(seed: int, stream: int, number: Ints, length: Ints) -> tuple[pl.Series, Floats]:
    """Texts of so many words, missing for one in twenty, and what their words are worth: the mean effect."""
    import numpy as np
    import polars as pl

    owner = np.repeat(np.arange(number.size), length)
    place = np.arange(owner.size) - np.repeat(np.cumsum(length) - length, length)
    draws = words(seed, stream, number[owner] * 256 + place)
    rank = ranks(uniform(draws))
    worth = np.bincount(owner, weights=_effects(seed, 30, rank), minlength=number.size) / np.sqrt(length)
    frame = pl.DataFrame({"owner": owner, "word": words_of(rank)})
    joined = frame.group_by("owner", maintain_order=True).agg(pl.col("word").str.join(" "))
    absent = uniform(words(seed, stream + 2, number)) < (0.05 if stream == 21 else 0.0)
    text = pl.select(pl.when(pl.Series(~absent)).then(joined["word"])).to_series()
    return text, np.where(absent, 0.0, worth)


def _effects(seed: int, stream: int, kind: Ints) -> Floats:
    """What kinds of things add to the logarithm of a price: deviation 1."""
    return normal(words(seed, stream, kind))


def _prices(seed: int, items: _Items, named: Floats, described: Floats) -> Floats:
    """Whole dollars from 3 on, log-normal around what a listing is worth."""
    import numpy as np

    branded = np.where(items.brand < 0, -0.12, 0.08 + 0.42 * _effects(seed, 33, items.brand))
    total = (
        2.75
        + 0.14 * _effects(seed, 31, top_of(items.leaf))
        + 0.22 * _effects(seed, 32, middle_of(items.leaf))
        + 0.20 * _effects(seed, 34, items.leaf)
        + branded
        + 0.34 * named
        + 0.16 * described
        - 0.06 * (items.condition - 1)
        - 0.16 * items.shipping
    )
    noise = 0.45 * normal(words(seed, 15, items.number))
    dollars: Floats = np.clip(np.rint(np.exp(total + noise)), 3, 2009)
    return dollars


def _broken(options: Listings, items: _Items, prices: Floats) -> tuple[Ints, Floats]:
    """Conditions and prices, of which a share is none."""
    import numpy as np

    draw = uniform(words(options.seed, 16, items.number))
    condition = np.where(draw < options.bad / 2, 9, items.condition)
    return condition, np.where((draw >= options.bad / 2) & (draw < options.bad), -prices, prices)


def _names(items: _Items, text: pl.Series) -> pl.Series:
    """Names hold the brand at times, and what the thing is."""
    import polars as pl

    thing = categories_of(items.leaf).str.split("/").list.get(2)
    brand = pl.when(pl.Series(items.number % 3 == 0)).then(_brand_names(items))
    return pl.select(pl.concat_str(brand, text, thing, separator=" ", ignore_nulls=True)).to_series()


def _brand_names(items: _Items) -> pl.Series:
    import polars as pl

    return pl.select(pl.when(pl.Series(items.brand >= 0)).then(brands_of(items.brand))).to_series()


def _category_names(seed: int, items: _Items) -> pl.Series:
    """Missing for a few in a thousand."""
    import polars as pl

    present = uniform(words(seed, 17, items.number)) >= 0.0045
    return pl.select(pl.when(pl.Series(present)).then(categories_of(items.leaf))).to_series()
