"""Two versions on the same requests: the figures are those of their common pairs, and noise has no winner."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.commands import copy_of_trained
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace import Classifier, Column, Contract, Forecaster, Linear, Schedule, Source, System, metrics
from headrace.errors import NotFoundError, UsageError
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.lineage import ROLE, SHADOW, SHADOW_OF, Pins
from headrace.pipelines.beside import newest_beside
from headrace.pipelines.comparison import PairRequest, compare
from headrace.settings import Settings
from headrace.tasks.base import PinnedRun
from headrace.tasks.forecast import inference
from headrace.tasks.paired import BLOCK, Spread, Sums, told_apart
from headrace.tasks.rows import pairs as row_pairs
from headrace.tasks.rows.outputs.binary import Binary

FIRST, DAY = datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=1)
COINS, LABELLED = 900, 300


def coins_system(*columns):
    return System(
        name="coins",
        source=Source(uri="file:coins.parquet"),
        contract=Contract(
            columns=(
                Column("coin", "integer"),
                Column("weight", "float"),
                Column("size", "float"),
                Column("heads", "integer", values=(0, 1), nullable=True),
            )
        ),
        keys=("coin",),
        target="heads",
        features={name: col(name) for name in columns},
        model=Classifier(members=(Linear(),), repeats=1),
        schedule=Schedule(predict="never", train="never"),
    )


GOOD, POOR = coins_system("weight"), coins_system("size")


def coins(folder, known):
    rng = np.random.default_rng(5)
    weight, size = rng.normal(size=COINS), rng.normal(size=COINS)
    heads = rng.random(COINS) < 1 / (1 + np.exp(-2 * weight))
    frame = pl.DataFrame({"coin": range(COINS), "weight": weight, "size": size, "heads": heads.astype(int)})
    path = folder / "coins.parquet"
    frame.with_columns(pl.when(pl.col("coin") < known).then("heads").alias("heads")).write_parquet(path)
    return frame, f"file:{path}"


@pytest.fixture(scope="module")
def new_home(template, tmp_path_factory):
    """Makes homes whose tracking database is a copy, because making one takes a second."""

    def make(name):
        home = copy_of_trained(template, tmp_path_factory.mktemp(name) / "first")
        shutil.copyfile(home / "mlflow.db", home.parent / "mlflow.db")
        return Home(Settings(home=home.parent))

    return make


@pytest.fixture(scope="module")
def rows(new_home, tmp_path_factory):
    """Version 1 sees what matters, version 2 does not; both predicted the same coins, whose truth came later."""
    folder, home = tmp_path_factory.mktemp("coins"), new_home("coins-home")
    frame, uri = coins(folder, LABELLED)
    run(GOOD, home, RunRequest(FIRST, FIRST, uri))
    run(POOR, home, RunRequest(FIRST + HOUR, FIRST, uri, steps=("train",), retrain=True))
    home.registry.promote("coins", 2, created_at=FIRST, as_of=FIRST + HOUR)
    later = FIRST + 2 * HOUR
    run(POOR, home, RunRequest(later, later, uri, steps=("predict",)))
    _, uri = coins(folder, COINS - 100)
    run(POOR, home, RunRequest(FIRST + DAY, FIRST + DAY, uri, steps=("ingest", "validate")))
    return home, frame


def said(home, version):
    made = home.table("coins", PREDICTIONS).scan().filter(pl.col("model_version") == version)
    return made.select("id", "coin", "heads", "probability").collect().sort("coin")


def test_rows_are_compared_on_their_common_pairs(rows):
    home, frame = rows
    done = compare(GOOD, home, PairRequest(1, 2))
    assert (done.pairs, done.rows, done.winner) == (COINS - LABELLED, COINS - LABELLED - 100, 1)
    actual = frame.filter(pl.col("coin").is_between(LABELLED, COINS - 101))["heads"].to_numpy().astype(float)
    both = [said(home, version)["probability"].to_numpy() for version in (1, 2)]
    losses = []
    for version, p in zip((1, 2), both, strict=True):
        some = p[: actual.size]
        for name in ("log_loss", "brier", "accuracy"):
            assert done.metrics[version][name] == pytest.approx(getattr(metrics, name)(actual, some)), name
        losses.append(-np.log(np.where(actual == 1, some, 1 - some)))
    told, apart = done.differences["log_loss"], losses[0] - losses[1]
    assert told["value"] == pytest.approx(apart.mean())
    assert told["error"] == pytest.approx(apart.std(ddof=1) / np.sqrt(apart.size), rel=0.15)  # groups, not rows
    assert done.baselines["share"]["log_loss"] > done.metrics[1]["log_loss"]
    gap = np.abs(both[0] - both[1])
    spread = done.answers["difference"]
    assert spread["mean"] == pytest.approx(gap.mean())
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        assert spread[name] == pytest.approx(np.quantile(gap, share, method="inverted_cdf"), rel=0.011)
    flips = (said(home, 1)["heads"] != said(home, 2)["heads"]).sum()
    assert (done.answers["differ"], done.answers["flips"]) == (COINS - LABELLED, flips)
    largest = done.answers["largest"]
    assert [each["difference"] for each in largest] == pytest.approx(np.sort(gap)[::-1][:10])
    assert {each["id"] for each in largest} <= set(said(home, 1)["id"])
    turned = compare(GOOD, home, PairRequest(2, 1))
    assert (turned.winner, turned.differences["log_loss"]["value"]) == (1, -told["value"])
    assert "version 1 is better" in turned.line()


def test_a_replay_says_what_the_versions_would_have_said(rows, monkeypatch):
    home, _ = rows
    stored = compare(GOOD, home, PairRequest(1, 2)).as_dict()
    parts = []
    for part in (50_000, 70):  # the whole, and in parts
        monkeypatch.setattr(row_pairs, "PART", part)
        parts.append(compare(GOOD, home, PairRequest(1, 2, replay=True)).as_dict())
    assert parts[0]["replayed"]["answered"] == {"1": COINS - LABELLED, "2": 0}
    assert parts[0]["replayed"]["again"] == {"1": 0, "2": COINS - LABELLED}
    for each in parts:
        assert each["answers"] == {**stored["answers"], "difference": pytest.approx(stored["answers"]["difference"])}
        for name in ("rows", "pairs", "blocks", "winner"):
            assert each[name] == stored[name]
        assert each["metrics"]["2"] == pytest.approx(stored["metrics"]["2"])


def test_a_truth_that_training_may_have_seen_decides_nothing(rows):
    home, _ = rows
    run(POOR, home, RunRequest(FIRST + 2 * DAY, FIRST + 2 * DAY, steps=("train",), retrain=True))
    done = compare(POOR, home, PairRequest(1, 3, replay=True))
    assert (done.rows, done.winner, done.measure) == (0, None, None)
    assert done.seen["rows"] == COINS - LABELLED - 100
    assert set(done.seen["metrics"]) == {"1", "3"}
    assert "training may have seen" in done.line()


def test_what_cannot_be_compared_is_said(rows):
    home, _ = rows
    with pytest.raises(UsageError, match="with itself"):
        compare(GOOD, home, PairRequest(1, 1))
    with pytest.raises(NotFoundError, match="there is no model version 9"):
        compare(GOOD, home, PairRequest(1, 9))
    with pytest.raises(NotFoundError, match="no common pairs in this span") as caught:
        compare(GOOD, home, PairRequest(1, 2, until=FIRST))
    assert "--replay" in str(caught.value.hint)
    with pytest.raises(NotFoundError, match="no request was logged"):
        compare(GOOD, home, PairRequest(1, 2, replay=True, since=NOW))


def test_monitoring_tells_of_versions_beside_the_champion(rows):
    """What version 1 said is put beside the champion's answers, as a shadow's."""
    home, _ = rows
    answered = home.table("coins", PREDICTIONS).scan().filter(pl.col("model_version") == 2).collect()
    beside = said(home, 1).select("coin", pl.col("id").alias("other"), probability_1="probability", heads_1="heads")
    shadows = answered.join(beside, on="coin").with_columns(
        pl.col("id").alias(SHADOW_OF), pl.col("other").alias("id"), model_version=pl.lit(1, pl.Int64)
    )
    shadows = shadows.with_columns(probability=pl.col("probability_1"), heads=pl.col("heads_1"))
    shadows = shadows.with_columns(pl.lit(SHADOW).alias(ROLE)).drop("other", "probability_1", "heads_1", "_version")
    home.table("coins", SHADOWS).append(shadows, identity=["id"], compare=["probability"], window="as_of")
    home.registry.promote("coins", 2, created_at=FIRST, as_of=FIRST + 2 * DAY)
    at = FIRST + 3 * DAY
    done = run(POOR, home, RunRequest(at, at, steps=("monitor",)))
    assert [each.winner for each in done.beside] == [1]
    assert done.as_dict()["beside"] == newest_beside("coins", home)
    assert newest_beside("coins", home)[0]["rows"] == COINS - LABELLED - 100
    assert newest_beside("coins", home, FIRST + DAY) == []  # not known then
    before = home.table("coins", "comparisons").version()
    run(POOR, home, RunRequest(at, at, steps=("monitor",)))
    assert home.table("coins", "comparisons").version() == before


def predicted(system, home, number, times):
    """Forecasts of a version as of these times, as its runs would have stored them."""
    version, data = home.registry.get("world", number), home.raw(system).version()
    readers = [PinnedRun(Pins.of(version, at, system.folder, data), f"run-{at}") for at in times]
    inference.predict(system, home, readers, now=NOW)


def test_forecasts_are_compared_and_replayed_at_the_same_origins(new_home, tmp_path):
    home = new_home("world-home")
    world(3, late=1, corrections=0.05).write_parquet(tmp_path / "facts.parquet")
    uri, weak, strong = f"file:{tmp_path}/facts.parquet", system_of(), system_of()
    strong = strong.model_copy(
        update={"model": Forecaster(seasons=("12h", "24h"), n_estimators=60, num_leaves=8, min_child_samples=10)}
    )
    run(weak, home, RunRequest(last(), NOW, uri, steps=("ingest", "validate")))
    run(weak, home, RunRequest(last(140), NOW, steps=("train",)))
    run(strong, home, RunRequest(last(139), NOW, steps=("train",), retrain=True))
    times = [last(back) for back in range(136, 6, -3)]
    predicted(weak, home, 1, times)
    with pytest.raises(NotFoundError, match="no common pairs"):
        compare(weak, home, PairRequest(1, 2))
    replayed = compare(weak, home, PairRequest(1, 2, replay=True)).as_dict()
    assert replayed["replayed"]["again"] == {"1": 0, "2": 3 * len(times)}
    predicted(strong, home, 2, times)
    done = compare(weak, home, PairRequest(1, 2))
    stored = done.as_dict()
    assert (stored["pairs"], stored["answers"]) == (3 * 6 * len(times), replayed["answers"])
    for name in ("rows", "metrics", "differences", "winner", "blocks", "baselines"):
        assert stored[name] == replayed[name], name
    assert 0.9 * stored["pairs"] < done.rows <= stored["pairs"]
    made = home.table("world", PREDICTIONS).scan().collect()
    # A row without the load says nothing about it: the one known before stands.
    truth = pl.read_parquet(tmp_path / "facts.parquet").filter(pl.col("load").is_not_null())
    truth = truth.sort("known_at").unique(["place", "time"], keep="last")
    for version in (1, 2):
        pairs = made.filter(pl.col("model_version") == version).join(truth, on=["place", "time"])
        assert done.rows == pairs.height
        told = done.metrics[version]["wape"]
        assert told == pytest.approx(metrics.wape(pairs["load"].to_numpy(), pairs["value"].to_numpy()))
    assert stored["baselines"]["naive_1d"]["n"] > 0


def test_noise_has_no_winner_and_quantiles_are_right():
    rng = np.random.default_rng(1)
    winners, output = 0, Binary("heads", (False, True))
    for _ in range(60):
        actual = rng.random(400) < 0.5
        told = []
        for _ in range(2):
            p = np.clip(0.5 + rng.normal(0, 0.1, 400), 0.01, 0.99)
            pairs = pl.DataFrame(
                {
                    "time": np.arange(400) % 128,
                    "model_version": 1,
                    "probability": p,
                    "truth": actual,
                    "label": p > 0.5,
                    "known_at": FIRST,
                }
            )
            told.append(output.scores(pairs).rename({"time": BLOCK}))
        sums = Sums(output.sums, output.within, output.measures)
        sums.add(told)
        winners += told_apart(sums.differences(["log_loss"])["log_loss"], sums.blocks)
    assert winners <= 8  # one in twenty is expected
    spread, sizes = Spread(), np.abs(rng.normal(size=5_000)) * 10.0 ** rng.integers(-3, 4, 5_000)
    for part in np.array_split(np.append(sizes, np.zeros(10)), 7):
        spread.add(part)
    assert spread.count == 5_010
    assert spread.quantile(0.001) == 0.0
    for share in (0.1, 0.5, 0.99, 1.0):
        exact = np.quantile(np.append(sizes, np.zeros(10)), share, method="inverted_cdf")
        assert spread.quantile(share) == pytest.approx(exact, rel=0.011)
    assert not told_apart({"value": 1.0, "error": 0.0}, 9)
