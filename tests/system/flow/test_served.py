"""What a prediction is, the model's or a baseline's or a mix, is said with it, in its trace and in the run's record."""

import json

import numpy as np
from tests.worlds.flow import NOW, last, system_of, world

from headrace.flow.run import RunRequest, run
from headrace.models.forecast import MOSTLY, SERVED, served_of
from headrace.pipelines.predictions import trace
from headrace.tasks.forecast.inference import read_predictions


def test_it_is_said_with_every_prediction(place, tmp_path):
    facts = tmp_path / "facts.parquet"
    world(0).write_parquet(facts)
    system, home = system_of(), place("served")
    run(system, home, RunRequest(last(30), NOW, f"file:{facts}"))
    result = run(system, home, RunRequest(last(), NOW, f"file:{facts}"))
    said = read_predictions(system, home).filter(as_of=last())
    assert set(said["served"]) <= set(SERVED)
    assert said["model_share"].is_between(0, 1).all()
    assert said["served"].to_list() == [SERVED[i] for i in served_of(said["model_share"].to_numpy())]
    row = said.row(0, named=True)
    traced = trace(home, row["id"])
    assert traced["prediction"]["served"] == row["served"]
    assert traced["run"]["served"] == result.as_dict()["served"]
    assert sum(result.as_dict()["served"].values()) == said.height
    json.dumps(traced, default=str)


def test_nine_tenths_make_it_the_one_or_the_other():
    share = np.array([1.0, MOSTLY, 0.5, 1 - MOSTLY, 0.0])
    assert [SERVED[i] for i in served_of(share)] == ["model", "model", "mix", "baseline", "baseline"]
