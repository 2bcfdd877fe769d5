"""Simulated passengers: the columns of the Titanic's list, with plausible rules of survival."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from headrace.declaration import Declared

if TYPE_CHECKING:
    import polars as pl

_SURNAMES = (
    "Ashworth",
    "Bergstrom",
    "Callahan",
    "Dimitrov",
    "Eklund",
    "Farrow",
    "Grimaldi",
    "Hollis",
    "Ivers",
    "Jansson",
)
_ENDINGS = ("", "son", "man", "field", "ley", "wick", "berg", "strand")
_MEN = ("Albert", "Bruno", "Carl", "David", "Edwin", "Frank", "George", "Henry")
_WOMEN = ("Agnes", "Bertha", "Clara", "Dora", "Edith", "Flora", "Grace", "Hilda")


class Passengers(Declared):
    """Options of ``simulated:`` for passengers.

    Attributes:
        seed: Equal seeds give equal passengers.
        rows: How many.
        unknown: How many of them, the last ones, have no known outcome.
    """

    seed: int = Field(default=0, ge=0)
    rows: int = Field(default=900, ge=1, le=10_000_000)
    unknown: int = Field(default=100, ge=0)


def passenger_rows(options: Passengers, as_of: datetime) -> pl.DataFrame:
    """The passengers; the same ones at any time."""
    import polars as pl

    random, n = np.random.default_rng(options.seed), options.rows
    party = np.repeat(np.arange(n), random.choice([1, 1, 1, 2, 3, 5], size=n))[:n]
    parties = int(party.max()) + 1
    pclass = random.choice([1, 2, 3], size=parties, p=[0.24, 0.21, 0.55])[party]
    female = random.random(n) < 0.36
    age = np.clip(random.normal(41 - 5.5 * pclass, 13), 0.5, 80).round(1)
    age = np.where(random.random(n) < 0.08, random.uniform(0.5, 14, n).round(1), age)
    size = np.bincount(party)[party]
    child = age < 15
    lift = (
        1.3 * female * (pclass < 3) + 2.2 * female + 1.6 * child - 0.9 * (pclass - 2) - 0.35 * np.maximum(size - 3, 0)
    )
    survived = (random.random(n) < 1 / (1 + np.exp(1.75 - lift))).astype(np.int64)
    fare = (np.array([0, 38.0, 14.0, 8.0])[pclass] * random.lognormal(0, 0.35, parties)[party] * size).round(4)
    return pl.DataFrame(
        {
            "PassengerId": np.arange(1, n + 1),
            "Survived": [None if i >= n - options.unknown else int(s) for i, s in enumerate(survived)],
            "Pclass": pclass,
            "Name": _names(random, party, female, child),
            "Sex": np.where(female, "female", "male"),
            "Age": _missing(random, age.tolist(), 0.2),
            "SibSp": (size - 1) // 2 + (size - 1) % 2,
            "Parch": (size - 1) // 2,
            "Ticket": [f"{100_000 + 7 * int(p)}" for p in party],
            "Fare": _missing(random, fare.tolist(), 0.002),
            "Cabin": _cabins(random, pclass),
            "Embarked": _missing(random, random.choice(["S", "C", "Q"], size=n, p=[0.72, 0.19, 0.09]).tolist(), 0.003),
        },
        schema_overrides={"Survived": pl.Int64, "Pclass": pl.Int64},
    )


def _missing(random: np.random.Generator, values: list[object], share: float) -> list[object]:
    return [
        None if is_missing else value
        for value, is_missing in zip(values, random.random(len(values)) < share, strict=True)
    ]


def _names(random: np.random.Generator, party: object, female: object, child: object) -> list[str]:
    names = []
    for group, is_female, is_child in zip(np.asarray(party), np.asarray(female), np.asarray(child), strict=True):
        surname = _SURNAMES[group % 10] + _ENDINGS[group // 10 % 8]
        title = (
            ("Miss" if is_child or random.random() < 0.55 else "Mrs") if is_female else "Master" if is_child else "Mr"
        )
        first = (_WOMEN if is_female else _MEN)[random.integers(8)]
        names.append(f"{surname}, {title}. {first}")
    return names


def _cabins(random: np.random.Generator, pclass: object) -> list[str | None]:
    decks = {1: "ABCD", 2: "DEF", 3: "FG"}
    known = {1: 0.8, 2: 0.1, 3: 0.03}
    return [
        f"{random.choice(list(decks[int(c)]))}{random.integers(1, 120)}" if random.random() < known[int(c)] else None
        for c in np.asarray(pclass)
    ]
