"""A backtest sees nothing from after its origins, and its metrics are those of the pairs."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.tasks.forecast.inference import read_predictions

STRETCH = DateRange(last(24), last(12), 3 * HOUR)


@pytest.fixture
def facts(tmp_path):
    path = tmp_path / "facts.parquet"

    def write(frame):
        frame.write_parquet(path)
        return f"file:{path}"

    return write


def test_metrics_equal_those_of_live_runs(place, facts):
    """Without retraining, forecasts are those of live runs whose model was trained at the first time."""
    system, home = system_of("never"), place("live")
    uri = facts(world(3, gaps=0.05, late=2, corrections=0.1))
    done = evaluate(system, home, EvaluateRequest(STRETCH, NOW, source=uri)).as_dict()
    assert not home.table("world", "raw").exists()
    for as_of in STRETCH.times():
        run(system, home, RunRequest(as_of, NOW, uri))
    run(system, home, RunRequest(NOW, NOW, uri, steps=("ingest", "validate")))
    truth = home.table("world", "raw").read(identity=["place", "time"], columns=["place", "time", "load"])
    pairs = read_predictions(system, home).join(truth, on=["place", "time"], how="left")
    matured = pairs.drop_nulls(["load", "value"])
    error = (matured["value"] - matured["load"]).to_numpy()
    actual, scale = matured["load"].to_numpy(), matured["scale"].to_numpy()
    naive = matured.drop_nulls("baseline_12h")
    assert (done["origins"], done["rows"], done["matured"]) == (5, pairs.height, matured.height)
    expected = {
        "mape": np.mean(abs(error / actual)),
        "wape": abs(error).sum() / abs(actual).sum(),
        "rmse": np.sqrt(np.mean(error**2)),
        "mase": np.mean(abs(error) / scale),
        "rmsse": np.sqrt(np.mean((error / scale) ** 2)),
        "bias": np.mean(error),
        "coverage": ((matured["load"] >= matured["lower"]) & (matured["load"] <= matured["upper"])).mean(),
    }
    assert done["metrics"] == pytest.approx(expected, rel=1e-12)
    naive_wape = (naive["baseline_12h"] - naive["load"]).abs().sum() / naive["load"].abs().sum()
    assert done["baselines"]["naive_12h"]["wape"] == pytest.approx(naive_wape, rel=1e-12)
    assert {row["place"] for row in done["series"]} == {"p0", "p1", "p2"}
    assert [row["ahead"] for row in done["horizon"]] == [1, 2, 3, 4, 5, 6]
    # From what the home has, the same again.
    again = evaluate(system, home, EvaluateRequest(STRETCH, NOW)).as_dict()
    assert {**again, "seconds": 0} == {**done, "seconds": 0}


def test_what_became_known_after_the_last_origin_changes_no_forecast(place, facts):
    frame = world(4, ahead=False)
    done = evaluate(system_of(), place("one"), EvaluateRequest(STRETCH, NOW, source=facts(frame)))
    later = pl.col("known_at") > last(12)
    changed = frame.with_columns(pl.when(later).then(pl.col("load") + 1000).otherwise(pl.col("load")))
    other = evaluate(system_of(), place("two"), EvaluateRequest(STRETCH, NOW, source=facts(changed)))
    # Each later truth is 1000 larger, and no forecast moved: so is the error, downwards.
    ours, theirs = (each.totals.filter(pl.col("ahead") == 6) for each in (done, other))
    assert (ours["n"] == theirs["n"]).all()
    # Of the five runs the last two reach past the time of change.
    np.testing.assert_allclose(ours["error"] - theirs["error"], 2 * 1000, rtol=1e-9)
    assert (done.totals["interval_n"] == other.totals["interval_n"]).all()


def test_it_trains_as_often_as_asked(place, facts):
    uri, home = facts(world(5)), place("retrain")
    stretch = DateRange(last(24), last(12), timedelta(hours=1))
    once = evaluate(system_of(), home, EvaluateRequest(stretch, NOW, source=uri))
    often = evaluate(system_of(), home, EvaluateRequest(stretch, NOW, retrain=5 * HOUR, source=uri))
    assert once.trainings == [last(24)]
    assert often.trainings == [last(24), last(19), last(14)]
    assert often.totals["absolute"].to_list() != once.totals["absolute"].to_list()


def test_of_too_little_history_a_baseline_is_evaluated(place, facts):
    request = EvaluateRequest(DateRange(last(280), last(270), HOUR), NOW, source=facts(world(6)))
    found = evaluate(system_of(), place("early"), request).as_dict()
    assert found["matured"] > 0
    assert found["metrics"]["wape"] <= found["baselines"]["naive_last"]["wape"]
