"""Rules over a batch that know its size: shares, bands, tails, texts, categories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import (
    URL,
    BeyondZ,
    Column,
    Contract,
    Finding,
    Forbids,
    LevelCount,
    Matches,
    MaximumRows,
    MeanBand,
    OutOfRange,
    Share,
    SpreadBand,
    Unique,
    check,
)
from headrace.contract.sampling import Moments, too_many
from headrace.errors import DeclarationError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (
    Column("id", "integer"),
    Column("name", "text", nullable=True),
    Column("category", "category", nullable=True),
    Column("price", "float", nullable=True),
)


def judged(rule: Any, **columns: list[Any]) -> Finding:
    rows = max(map(len, columns.values()))
    frame = pl.DataFrame({"id": range(rows), "name": None, "category": None, "price": None} | columns)
    contract = Contract(columns=COLUMNS, rules=(rule,))
    (found,) = check(contract, frame, keys=("id",), as_of=NOW, now=NOW).findings
    assert found.severity == rule.severity
    return found


def prices(count: int, typical: float = 17, spread: float = 0.75, seed: int = 0) -> list[float]:
    return np.exp(np.random.default_rng(seed).normal(np.log(typical), spread, count)).tolist()


def test_a_share_fails_only_beyond_chance() -> None:
    few = [None] * 2 + ["b"] * 8
    assert not judged(Share(column="name", condition="null", at_most=0.1), name=few).passed
    found = judged(Share(column="name", condition="null", at_most=0.1, confidence=0.999), name=few)
    assert found.passed
    assert found.message == "name: 2 of 10 rows are null (20.00%, allowed 10.00%; of so few rows no more than chance)"
    assert not judged(Share(column="name", condition="null", at_most=0.1, confidence=0.999), name=few * 40).passed
    assert not judged(Share(column="name", condition="null", at_most=0, confidence=0.999), name=few).passed


def test_the_binomial_test_is_exact() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    for rows, share in ((10, 0.05), (300, 0.05), (1000, 0.3)):
        for count in range(0, rows + 1, max(rows // 50, 1)):
            beyond = scipy_stats.binom.sf(count - 1, rows, share) < 0.001 and count / rows > share
            assert too_many(count, rows, share, 0.999) == beyond


def test_a_healthy_small_batch_without_a_dear_item_passes() -> None:
    """The replaced system failed every batch that had no price above 1,000."""
    rules = (
        OutOfRange(column="price", minimum=1, maximum=2500, at_most=0.001, confidence=0.999),
        MeanBand(column="price", minimum=15, maximum=20, log=True),
        SpreadBand(column="price", minimum=0.65, maximum=0.85, log=True),
        BeyondZ(column="price", z=3, side="above", log=True, at_most=0.01, confidence=0.999),
    )
    failed = [
        rule.rule for rule in rules for seed in range(200) if not judged(rule, price=prices(40, seed=seed)).passed
    ]
    assert len(failed) <= 4  # one in a thousand of these 800 is to be expected
    assert not judged(rules[0], price=[20_000.0] * 3).passed
    assert not judged(rules[1], price=prices(40, typical=60)).passed
    assert not judged(rules[2], price=prices(40, spread=2.5)).passed
    assert not judged(rules[2], price=prices(400, spread=0.3)).passed


def test_batches_of_real_listings_fail_as_rarely_as_said(shared_data: Callable[[str], Path]) -> None:
    read = pl.read_csv(shared_data("mercari/train.tsv.gz"), separator="\t", quote_char=None, infer_schema_length=None)
    logs = read["price"].drop_nulls().cast(pl.Float64).log().to_numpy()
    logs = logs[np.isfinite(logs)]
    draw = np.random.default_rng(0)
    mean, spread, alarms = logs.mean(), logs.std(), 0
    for _ in range(1000):
        batch = Moments.of(draw.choice(logs, 100))
        alarms += abs(batch.mean - mean) > batch.mean_error(0.999)
        alarms += abs(batch.spread - spread) > batch.spread_error(spread, 0.999)
    assert alarms <= 20  # 4 of 4,000 one-sided judgements are to be expected; 8 came


def test_few_values_are_not_judged() -> None:
    found = judged(MeanBand(column="price", maximum=20), price=[5000.0] * 29)
    assert (found.passed, found.message) == (True, "price: not judged, 29 values are fewer than 30")


def test_bands_say_what_they_found() -> None:
    found = judged(MeanBand(column="price", minimum=20, maximum=30), price=[10.0, 12.0] * 20)
    assert not found.passed
    assert found.message == "price: the mean is 11, by chance 10.47 to 11.53 of 40 values (allowed from 20 to 30)"
    assert found.numbers["mean"] == 11
    geometric = judged(MeanBand(column="price", minimum=20, log=True), price=[0.0, *[10.0, 10.1] * 20])
    assert geometric.numbers["rows"] == 40, "0 has no logarithm"
    assert not geometric.passed
    constant = judged(SpreadBand(column="price", minimum=1, maximum=9), price=[3.0] * 40)
    assert constant.message == "price: the standard deviation is 0 of 40 values (allowed from 1 to 9)"
    assert not constant.passed


@pytest.mark.parametrize(("side", "count"), [("both", 2), ("above", 1), ("below", 1)])
def test_tails(side: Any, count: int) -> None:
    values = [*[1.0, -1.0] * 50, 9.0, -9.0]
    found = judged(BeyondZ(column="price", z=3, side=side, at_most=0.02), price=values)
    assert found.numbers["count"] == count
    assert found.passed == (count / 102 <= 0.02)
    assert judged(BeyondZ(column="price"), price=[2.0] * 9).passed, "no spread, no tail"


def test_texts() -> None:
    names = ["A dress", "see https://x.example/y", "WWW.SHOP.example now", "http soon", None]
    found = judged(Forbids(column="name"), name=names)
    assert found.message == "name: 2 of 4 rows hold a web address (50.00%, allowed 0.00%)"
    assert not found.passed
    assert judged(Forbids(column="name", at_most=0.5), name=names).passed
    found = judged(Matches(column="name", pattern="^[A-Z]"), name=names)
    assert (found.numbers["count"], found.numbers["rows"]) == (2, 4)


def test_levels_of_a_category() -> None:
    categories = ["Women/Tops/Blouse", "Men/Shoes", "A/B/C/D", "A//C", "A/ /C", None]
    three = judged(LevelCount(column="category", maximum=3), category=categories)
    assert (three.numbers["count"], three.numbers["rows"]) == (4, 5)
    assert "do not have 3 levels between '/'" in three.message
    assert judged(LevelCount(column="category", at_most=0.6), category=categories).numbers["count"] == 3


def test_another_column_is_unique() -> None:
    found = judged(Unique(column="name"), name=["a", "b", "a", "a", None, None])
    assert (found.passed, found.message) == (False, "name: 2 of 4 rows repeat a value (50.00%, allowed 0.00%)")
    assert judged(Unique(column="name"), name=["a", None, None]).passed


def test_too_many_rows() -> None:
    assert judged(MaximumRows(max_rows=3), name=["a"] * 3).passed
    assert not judged(MaximumRows(max_rows=3), name=["a"] * 4).passed


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_moments_add_up_however_values_are_split(values: list[float], cuts: list[int]) -> None:
    array = np.array(values, dtype=np.float64)
    whole, parts = Moments.of(array), Moments()
    for part in np.split(array, sorted(cuts)):
        parts += Moments.of(part)
    assert parts.count == whole.count
    scale = max(float(np.abs(array).max(initial=0.0)), 1.0)
    for name, power in (("mean", 1), ("second", 2), ("third", 3), ("fourth", 4)):
        allowed = 1e-9 * scale**power * max(len(values), 1)
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=allowed)


@pytest.mark.parametrize(
    ("rule", "where", "text"),
    [
        (MeanBand(column="name", maximum=2), "column", "needs a number, 'name' is text"),
        (Forbids(column="price"), "column", "needs a text, 'price' is float"),
        (Unique(column="size"), "column", "no column 'size'"),
        (MeanBand(column="price"), "minimum", "needs a minimum, a maximum, or both"),
        (MeanBand(column="price", minimum=0, log=True), "minimum", "a geometric mean is above 0"),
        (SpreadBand(column="price", minimum=-1), "minimum", "is not below 0"),
        (OutOfRange(column="price", minimum=3, maximum=2), "minimum", "the minimum 3 is above the maximum 2"),
        (LevelCount(column="category", minimum=3, maximum=2), "minimum", "above the maximum"),
        (Matches(column="name", pattern="("), "pattern", "not a regular expression"),
        (Forbids(column="name", pattern="(?=x)"), "pattern", "looks around"),
    ],
)
def test_mistakes_are_named(rule: Any, where: str, text: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=COLUMNS, rules=(rule,))
    assert text in caught.value.message
    assert caught.value.where == f"contract.rules[0].{where}"


def test_rules_are_data_too() -> None:
    rules = [
        {"rule": "forbids", "column": "name", "at_most": 0.01},
        {"rule": "mean_band", "column": "price", "minimum": 10, "severity": "stop"},
    ]
    contract = Contract(columns=COLUMNS, rules=rules)  # type: ignore[arg-type]
    assert contract.rules == (
        Forbids(column="name", at_most=0.01),
        MeanBand(column="price", minimum=10, severity="stop"),
    )


def test_a_column_may_forbid_a_pattern() -> None:
    contract = Contract(columns=(Column("name", "text", forbids=URL),), max_invalid_fraction=1)
    frame = pl.DataFrame({"name": ["fine", "go to www.x.example"]})
    found = check(contract, frame, as_of=NOW, now=NOW)
    assert found.good["name"].to_list() == ["fine"]
    assert found.bad["reasons"].to_list() == [
        [f"name: 'go to www.x.example' matches the forbidden pattern {URL}"],
    ]
    assert contract.json_schema()["properties"]["name"]["not"] == {"pattern": URL}
