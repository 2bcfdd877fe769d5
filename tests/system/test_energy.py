"""The energy system on the real file: what the command promises, from the outside."""

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.effort import THOROUGH, rounds

from headrace import metrics
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.loading import load_system
from headrace.pipelines.predictions import replay, trace
from headrace.settings import Settings
from headrace.tasks.forecast.inference import read_predictions
from headrace.tasks.forecast.monitoring import monitor, read_scores
from headrace.tasks.forecast.scores import measures

FILE = "denmark_de35/ConsumptionDE35Hour.csv.gz"
AS_OF = datetime(2023, 1, 17, 16, tzinfo=UTC)
SMALL = ["source.lag=0h", "model.n_estimators=20", "model.max_rows=5000"]


@pytest.fixture
def energy(root):
    return load_system(str(root / "systems" / "energy"), SMALL)


def request(uri, hours=0, **more):
    return RunRequest(AS_OF + timedelta(hours=hours), datetime.now(UTC), uri, **more)


def cli(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_stores_a_day_for_every_series_once(shared_data, root, tmp_path):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    arguments = [str(root / "systems" / "energy"), "--home", str(tmp_path), "--json", *settings]
    source = ["--source", f"file:{shared_data(FILE)}", "--as-of", "2023-01-20T16:00:00Z"]
    code, out, _ = cli("run", *arguments, *source)
    first = json.loads(out)
    assert (code, first["ingested"], first["quarantined"], first["predictions"]) == (0, 54720, 0, 76 * 24)
    assert [step["name"] for step in first["steps"]] == [
        *("ingest", "validate", "features", "train", "predict", "monitor"),
    ]
    code, out, _ = cli("predictions", *arguments)
    before = json.loads(out)
    assert len({(row["area"], row["industry"], row["time"]) for row in before}) == len(before) == 76 * 24
    assert min(row["time"] for row in before) == "2023-01-20T16:00:00Z"
    second = json.loads(cli("run", *arguments, *source)[1])
    assert (second["trained"], second["ingested"], second["stored"]) == (False, 0, 0)
    assert json.loads(cli("predictions", *arguments)[1]) == before
    assert second["pins"] == first["pins"]


def test_replay_is_identical_after_corrections_compaction_and_retraining(shared_data, energy, tmp_path):
    path, home = shared_data(FILE), Home(Settings(home=tmp_path))
    made = run(energy, home, request(f"file:{path}"))
    ids = random.Random(1).sample(made.predicted.frame["id"].to_list(), rounds(20, 100))
    corrected = pl.read_csv(path, infer_schema=False).with_columns(
        pl.when(pl.col("HourUTC") > "2023-01-15")
        .then(pl.col("TotalCon").cast(float) * 1.5)
        .otherwise(pl.col("TotalCon"))
    )
    corrected.write_csv(tmp_path / "corrected.csv")
    later = run(energy, home, request(f"file:{tmp_path / 'corrected.csv'}", hours=48))
    assert later.ingested > 48 * 76  # the new hours, and the corrections
    retrained = run(energy, home, request(None, hours=48, steps=("train",), retrain=True))
    assert retrained.trained is not None
    for name in ("raw", "predictions", "models", "runs", "metrics"):
        home.table("energy", name).compact()
    replays = [replay(home, each) for each in ids]
    assert all(each["identical"] for each in replays)
    chain = trace(home, ids[0])
    assert chain["pins"]["data_version"] == 1
    assert chain["pins"]["model_version"] == 1
    assert chain["run"]["run_id"] == made.run_id


def test_a_rerun_on_corrected_facts_keeps_the_first_number(shared_data, energy, tmp_path):
    """Facts that reach the store late, for a time that was run: the old row stays, the new one is a revision."""
    path, home = shared_data(FILE), Home(Settings(home=tmp_path))
    first = run(energy, home, request(f"file:{path}"))
    frame = pl.read_csv(path, infer_schema=False)
    frame.with_columns((pl.col("TotalCon").cast(float) * 2).cast(str)).write_csv(tmp_path / "doubled.csv")
    run(energy, home, request(f"file:{tmp_path / 'doubled.csv'}"))
    frame = read_predictions(energy, home)
    assert frame.height == 76 * 24
    assert set(frame["revision"]) == {1}
    assert not set(frame["id"]) & set(first.predicted.frame["id"])
    assert replay(home, first.predicted.frame["id"][0])["identical"]


def test_metrics_of_a_backfill_equal_a_direct_computation(shared_data, energy, tmp_path):
    path, home = shared_data(FILE), Home(Settings(home=tmp_path))
    stretch = DateRange(AS_OF, AS_OF + timedelta(hours=71), timedelta(hours=1))
    done = backfill(energy, home, BackfillRequest(stretch, datetime.now(UTC), f"file:{path}"))
    assert (done.runs, done.predictions, done.failed) == (72, 72 * 76 * 24, [])
    last = run(energy, home, request(None, hours=71, steps=("monitor",)))
    assert last.monitored.rows == 0  # the backfill has scored them all
    truth = pl.read_csv(path, schema_overrides={"ConsumerType_DE35": pl.String}).select(
        pl.col("HourUTC").str.to_datetime(time_unit="us", time_zone="UTC").alias("time"),
        area="PriceArea",
        industry="ConsumerType_DE35",
        actual=pl.col("TotalCon").cast(float),
    )
    # An hour is known at its event time here.
    known = truth.filter(pl.col("time") <= AS_OF + timedelta(hours=71))
    both = read_predictions(energy, home).join(known, on=["area", "industry", "time"])
    actual, value = both["actual"].to_numpy(), both["value"].to_numpy()
    found, rest = last.monitored.overall, last.monitored.completeness
    assert last.monitored.matured == both.height == rest["expected"] == 76 * (48 * 24 + sum(range(24)))
    assert (rest["series_matured"], rest["series"], rest["until"]) == (76, 76, AS_OF + timedelta(hours=71))
    error = value - actual
    inside = (actual >= both["lower"].to_numpy()) & (actual <= both["upper"].to_numpy())
    expected = {
        "mape": metrics.mape(actual, value),
        "wape": abs(error).sum() / actual.sum(),
        "rmse": (error**2).mean() ** 0.5,
        "bias": error.mean(),
        "mase": (abs(error) / both["scale"].to_numpy()).mean(),
        "coverage": inside.mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    for season in ("1d", "7d"):
        naive = both[f"baseline_{season}"].to_numpy()
        assert found[f"naive_{season}_mape"] == pytest.approx(metrics.mape(actual, naive), rel=1e-9)
    # One run's own score, over all series.
    (one,) = (
        read_scores(energy, home, scope="run")
        .filter((pl.col("made") == AS_OF) & (pl.col("time") == AS_OF + timedelta(hours=5)))
        .to_dicts()
    )
    its = both.filter((pl.col("as_of") == AS_OF) & (pl.col("ahead") == one["ahead"]))
    assert (one["n"], one["expected"], one["ahead"]) == (76, 76, 5)
    assert one["absolute"] == pytest.approx(float((its["value"] - its["actual"]).abs().sum()), rel=1e-12)


@pytest.mark.long
@pytest.mark.slow
def test_the_last_ten_days_beat_both_seasonal_naives(shared_data, root, tmp_path):
    """With the model as it is declared, trained twice on the way, as it would have been live."""
    system = load_system(str(root / "systems" / "energy"), ["source.lag=0h"])
    home, end = Home(Settings(home=tmp_path)), datetime(2023, 1, 20, 16, tzinfo=UTC)
    readings = pl.read_csv(shared_data(FILE), infer_schema=False)
    readings = readings if THOROUGH else readings.filter(pl.col("PriceArea") == "DK1")
    readings.write_csv(tmp_path / "readings.csv")
    stretch = DateRange(end - timedelta(days=10), end, timedelta(hours=12))
    done = backfill(system, home, BackfillRequest(stretch, datetime.now(UTC), f"file:{tmp_path}/readings.csv"))
    assert (done.runs, done.trained) == (21, [1, 2])
    found = monitor(system, home, as_of=end).overall
    for season in ("1d", "7d"):
        for metric, share in {"mape": 0.8, "wape": 0.85, "rmse": 1.0, "mase": 0.8}.items():
            assert found[metric] < share * found[f"naive_{season}_{metric}"], (metric, season)


def test_a_correction_of_the_truth_makes_a_new_score(shared_data, energy, tmp_path):
    path, home = shared_data(FILE), Home(Settings(home=tmp_path))
    run(energy, home, request(f"file:{path}"))
    first = run(energy, home, request(f"file:{path}", hours=12))
    corrected = pl.read_csv(path, infer_schema=False).with_columns(
        pl.when(pl.col("HourUTC") == "2023-01-17T20:00:00")
        .then(pl.col("TotalCon").cast(float) * 2)
        .otherwise(pl.col("TotalCon").cast(float))
    )
    corrected.write_csv(tmp_path / "corrected.csv")
    later = run(energy, home, request(f"file:{tmp_path / 'corrected.csv'}", hours=13))
    assert later.monitored.overall["wape"] > first.monitored.overall["wape"]
    stood = read_scores(energy, home, AS_OF + timedelta(hours=12))
    assert measures(stood, [], energy.monitoring.baselines)["wape"][0] == first.monitored.overall["wape"]
    scores = home.table("energy", "metrics")
    hour = pl.col("time") == AS_OF + timedelta(hours=4)
    facts = scores.collect(scores.scan(where=hour & (pl.col("scope") == "series")))
    assert facts.height == 2 * 76


def test_reads_by_time_and_by_column(shared_data, energy, tmp_path):
    path, home = shared_data(FILE), Home(Settings(home=tmp_path))
    for hours in (0, 1):
        run(energy, home, request(f"file:{path}", hours=hours))
    assert read_predictions(energy, home).height == 2 * 76 * 24
    stood = read_predictions(energy, home, as_of=AS_OF + timedelta(minutes=30))
    assert set(stood["as_of"]) == {AS_OF}
    one = read_predictions(energy, home, where={"area": "DK1", "industry": "111"}, as_of=AS_OF)
    assert one.height == 24
