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
