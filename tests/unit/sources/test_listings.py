"""Simulated listings: the same for everyone, honest about what was known when, and with prices that can be learnt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.errors import UsageError
from headrace.sources import simulated
from headrace.sources.shop_words import CATEGORIES, RANKS, brands_of, categories_of, ranks, words_of

T = datetime(2026, 3, 1, 12, 34, tzinfo=UTC)


@pytest.fixture(scope="module")
def listed() -> pl.DataFrame:
    return simulated.listings(as_of=T)


def test_the_default_world(listed: pl.DataFrame) -> None:
    first = listed.unique("train_id", keep="first", maintain_order=True)
    assert first.height == 3500
    assert listed["train_id"].is_sorted()
    assert 0.4 < first["brand_name"].null_count() / 3500 < 0.46
    assert 0 < first["category_name"].null_count() < 40
    assert first["category_name"].drop_nulls().str.split("/").list.len().unique().to_list() == [3]
    assert first["item_condition_id"].unique().sort().to_list() == [1, 2, 3, 4, 5]
    assert first["shipping"].unique().sort().to_list() == [0, 1]
    prices = listed["price"].drop_nulls()
    assert 13 <= prices.median() <= 20
    assert 0.6 < np.log1p(prices.to_numpy()).std() < 0.85
    assert prices.filter(prices > 0).min() >= 3


def test_equal_seeds_give_equal_listings_and_others_others(listed: pl.DataFrame) -> None:
    assert simulated.listings(as_of=T).equals(listed)
    assert not simulated.listings(as_of=T, seed=1)["name"].equals(listed["name"])


def test_what_is_made_later_says_the_same_of_what_was_known_before(listed: pl.DataFrame) -> None:
    later = simulated.listings(as_of=T + timedelta(days=5), days=33)
    before = later.filter(pl.col("known_at") <= T)
    assert before.filter(pl.col("train_id") >= listed["train_id"][0]).equals(listed)
    assert later.height > listed.height


def test_a_listing_says_the_same_whatever_block_it_is_made_in() -> None:
    many = simulated.listings(as_of=T, rows=45_000)
    few = simulated.listings(as_of=T, rows=7)
    assert many.tail(few.height).equals(few)


def test_some_prices_become_known_after_the_sale(listed: pl.DataFrame) -> None:
    twice = listed.filter(pl.col("train_id").is_duplicated())
    pairs = twice.group_by("train_id", maintain_order=True).agg("price", "known_at", "name")
    assert 150 < pairs.height < 350
    assert (pairs["price"].list.first().is_null() & pairs["price"].list.last().is_not_null()).all()
    assert (pairs["known_at"].list.first() < pairs["known_at"].list.last()).all()
    assert pairs["name"].list.n_unique().unique().to_list() == [1]
    assert listed["known_at"].max() <= T
    waiting = listed.filter(~pl.col("train_id").is_duplicated() & pl.col("price").is_null())
    assert waiting.height > 20


def test_categories_and_brands_keep_coming_up() -> None:
    old = simulated.listings(as_of=T, rows=2000)
    new = simulated.listings(as_of=T + timedelta(days=14), rows=1000)
    for column in ("category_name", "brand_name"):
        unseen = new.filter(~pl.col(column).is_in(old[column].drop_nulls().unique().to_list()))
        assert unseen[column].drop_nulls().len() > 0


def test_listings_break_the_contract_when_asked_to() -> None:
    bad = simulated.listings(as_of=T, rows=2000, bad=0.1, unsold=0)
    assert 50 < bad.filter(pl.col("item_condition_id") == 9).height < 150
    assert 50 < bad.filter(pl.col("price") < 0).height < 150


def test_prices_follow_category_brand_condition_and_words() -> None:
    rows = simulated.listings(as_of=T, rows=40_000, unsold=0, zero=0)
    total = rows["price"].log1p().var()
    for column in ("category_name", "brand_name", "item_condition_id", "shipping"):
        means = rows.select(pl.col("price").log1p().mean().over(column)).to_series()
        assert means.var() > 0.004 * total, column
    word = rows.select(pl.col("name").str.contains("leather")).to_series()
    with_word, others = (rows.filter(mask)["price"].log1p().mean() for mask in (word, ~word))
    assert abs(with_word - others) > 0.02


def test_no_rows_and_what_cannot_be() -> None:
    assert simulated.listings(as_of=T, rows=1, unsold=1).height == 1
    with pytest.raises(UsageError, match="greater than or equal to 1"):
        simulated.listings(as_of=T, rows=0)


def test_words_categories_and_brands_have_names_of_their_own() -> None:
    assert categories_of(np.arange(CATEGORIES)).n_unique() == CATEGORIES
    assert brands_of(np.arange(4800)).n_unique() == 4800
    assert words_of(np.arange(50_000)).n_unique() > 49_990
    assert words_of(np.array([0, RANKS - 1, 0]))[0] == "new"
    assert ranks(np.array([0.0, 1 - 2**-53])).tolist() == [0, RANKS - 1]
