"""What a reading of drift says: each variable once, by a name that tells it from others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import polars as pl

from headrace.policy.monitoring import Drifted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_variables_of_one_name_are_told_apart_by_their_role():
    rows = [
        ("feature", "", True, True),
        ("target", "", True, True),
        ("prediction", "", True, True),
        ("prediction", '{"area": "DK1"}', True, True),
        ("feature", "", True, False),
    ]
    drift = pl.DataFrame(
        [
            {"time": NOW, "role": role, "name": "consumption", "segment": segment, "drifted": far, "matters": matters}
            for role, segment, far, matters in rows
        ]
    )
    measured = Drifted().measure(SimpleNamespace(drift=lambda: drift))
    assert measured["value"].to_list() == [4.0]
    assert json.loads(measured["evidence"][0])["columns"] == (
        'consumption, consumption (predicted), consumption (predicted) {"area": "DK1"}, consumption (target)'
    )


def test_a_column_that_is_not_measured_is_told_and_one_that_is_has_no_reason():
    row = {"time": NOW, "role": "feature", "name": "load", "segment": "", "drifted": True, "matters": True}
    facts = SimpleNamespace(drift=lambda: pl.DataFrame([row]))
    measured = Drifted(column="laod").measure(facts)
    assert measured["value"].to_list() == [None]
    assert json.loads(measured["evidence"][0]) == {"reason": "drift of 'laod' is not measured; it is of load"}
    measured = Drifted(column="load").measure(facts)
    assert measured["value"].to_list() == [1.0]
    assert json.loads(measured["evidence"][0])["columns"] == "load"
