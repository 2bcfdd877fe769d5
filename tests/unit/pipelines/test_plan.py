"""The steps of a run are data: every table that a step reads was written by one before it, or is there by then."""

from pathlib import Path

import pytest

from headrace.flow.steps import STEPS, plan
from headrace.loading import load_system

SYSTEMS = Path(__file__).parents[3] / "systems"


def test_each_step_follows_those_that_it_names():
    names = [step.name for step in STEPS]
    assert all(names.index(before) < place for place, step in enumerate(STEPS) for before in step.after)


@pytest.mark.parametrize(("system", "features"), [("energy", ["features"]), ("titanic", [])])
def test_a_plan_names_the_tables_of_the_system(system, features):
    steps = {step["name"]: step for step in plan(load_system(str(SYSTEMS / system)))["steps"]}
    assert steps["features"]["writes"] == features
    assert steps["predict"] == {
        "name": "predict",
        "reads": ["raw", "models"],
        "writes": ["predictions"],
        "after": ["features", "train"],
    }
