"""Rows that are posted together are answered as they are alone, to the last bit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import SMALL, TITANIC, passengers

from headrace.home import Home
from headrace.ledger import Entry
from headrace.loading import load_system
from headrace.serving.http.predict import _prepared
from headrace.serving.http.problem import Problem
from headrace.serving.http.served import ServedSystem
from headrace.settings import Settings

MISSING = ("Age", "Fare", "Cabin", "Embarked")
ROWS = passengers(300, seed=11)
NAME = st.text(max_size=8).filter(lambda text: bool(text.strip()))
PASSENGER = st.builds(
    lambda row, change: row | change,
    st.sampled_from(ROWS),
    st.dictionaries(st.sampled_from(MISSING), st.none(), max_size=4)
    | st.fixed_dictionaries({}, optional={"Survived": st.none() | st.integers(0, 1), "Name": NAME})
    | st.fixed_dictionaries({"Pclass": st.floats(1, 1), "Embarked": st.sampled_from(["", " ", "S"])}),
)


@cache
def served(home: Path) -> ServedSystem:
    """Titanic with its champion, over HTTP's own code but without a server."""
    system = load_system(TITANIC, [each for each in SMALL[TITANIC] if each != "--set"])
    made = ServedSystem(system, Home(Settings(home=home)), logged=False)
    made.refresh()
    assert made.champion is not None, made.trouble
    return made


def entries(home: Path, posted: Any) -> list[Entry]:
    system = served(home)
    assert system.champion is not None
    return _prepared(system, system.champion, json.dumps(posted).encode(), {}, 10_000)[0]


def comparable(entry: Entry) -> tuple[Any, ...]:
    """All but the id, which holds the time, and that time."""
    return entry.key, entry.digest, entry.inputs, json.loads(entry.answer) | {"id": None}, entry.model_version


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(PASSENGER, max_size=40))
def test_property_rows_together_are_as_alone(titanic_home: Path, rows: list[dict[str, Any]]) -> None:
    together = entries(titanic_home, rows)
    assert [comparable(each) for each in together] == [comparable(entries(titanic_home, row)[0]) for row in rows]
    told = [json.loads(each.answer) for each in together]
    assert [each["id"] for each in told] == [entry.id for entry in together]
    assert all(abs(entry.created_at - datetime.now(UTC)).total_seconds() < 60 for entry in together)


@pytest.mark.parametrize("bad", [{"Pclass": 4}, {"Sex": None}, {"Age": "3"}, {"Fares": 1}, {"Embarked": "X"}])
def test_one_bad_row_of_a_thousand_is_named(titanic_home: Path, bad: dict[str, Any]) -> None:
    rows = [ROWS[place % len(ROWS)] | {"PassengerId": place + 1} for place in range(1000)]
    assert len(entries(titanic_home, rows)) == 1000
    rows[700] |= bad
    with pytest.raises(Problem) as caught:
        entries(titanic_home, rows)
    assert (caught.value.status, caught.value.errors[0]["loc"]) == (422, ["body", 700, *bad])
