"""Predictions of rows are judged by targets that became known after them, and by no others."""

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from headrace import Classifier, Column, Contract, Linear, Schedule, Source, System, metrics
from headrace.errors import NotFoundError
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import METRICS, Home
from headrace.ledger import Entry
from headrace.lineage import PINNED
from headrace.reporting import write_report
from headrace.settings import Settings
from headrace.tasks import task_of
from headrace.tasks.rows.monitoring import read_scores
from headrace.tasks.rows.outputs.binary import BINS, Binary

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
SYSTEM = System(
    name="coins",
    source=Source(uri="file:coins.parquet"),
    contract=Contract(
        columns=(
            Column("coin", "integer"),
            Column("weight", "float"),
            Column("heads", "integer", values=(0, 1), nullable=True),
        )
    ),
    keys=("coin",),
    target="heads",
    features={"weight": col("weight")},
    model=Classifier(members=(Linear(),), repeats=1),
    schedule=Schedule(predict="never", train="never"),
)


def coins(folder, unknown):
    """60 coins, the heavy half heads; the targets of some are not known yet."""
    frame = pl.DataFrame({"coin": range(60), "weight": [float(n % 7 + 10 * (n % 2)) for n in range(60)]})
    heads = [None if n in unknown else n % 2 for n in range(60)]
    frame.with_columns(pl.Series("heads", heads, dtype=pl.Int64)).write_parquet(folder / "coins.parquet")
    return f"file:{folder / 'coins.parquet'}"


def test_only_a_target_that_came_later_counts(tmp_path):
    home = Home(Settings(home=tmp_path / "home"))
    first = run(SYSTEM, home, RunRequest(FIRST, FIRST, coins(tmp_path, range(50, 60))))
    assert (first.predicted.frame.height, first.monitored.matured) == (10, 0)
    # Somebody posts a coin that was trained on: the prediction is logged, and proves nothing.
    pins = home.ledger.pin({name: getattr(first.pins, name) for name in PINNED})
    said = b'{"id": "i", "key": 0, "heads": 1, "probability": 0.9}'
    asked = FIRST + timedelta(hours=1)
    home.ledger.write([Entry("coins", "[0]", str(uuid4()), "d", b'{"coin":0,"weight":0.0}', said, pins, 1, asked)])
    later = FIRST + timedelta(days=1)
    second = run(SYSTEM, home, RunRequest(later, later, coins(tmp_path, range(54, 60))))
    assert second.monitored.matured == 4
    assert second.monitored.completeness == {
        "predictions": 11,
        "matured": 4,
        "since": FIRST,
        "until": FIRST,
        "known_before": 1,
    }
    assert second.monitored.overall["accuracy"] == pytest.approx(1.0)
    assert second.monitored.overall["log_loss"] < 0.5
    overall, segments = (task_of(SYSTEM).scores_by(home, by) for by in ("", "weight"))
    assert segments.frame["weight"].to_list() == sorted(segments.frame["weight"], key=lambda band: "above" in band)
    assert segments.frame.select("n", "expected").sum().row(0) == overall.frame.select("n", "expected").row(0)
    scored_parts = segments.frame.filter(pl.col("n") > 0)
    assert (scored_parts["accuracy"] * scored_parts["n"]).sum() == pytest.approx(4.0)
    with pytest.raises(NotFoundError, match="by 'heads'"):
        task_of(SYSTEM).scores_by(home, "heads")


def scored(home, at, unknown, folder, flipped=()):
    """A run as of a time, with some targets not known yet and some others turned round."""
    uri, path = coins(folder, unknown), folder / "coins.parquet"
    turned = pl.when(pl.col("coin").is_in(list(flipped))).then(1 - pl.col("heads")).otherwise("heads")
    pl.read_parquet(path).with_columns(turned.alias("heads")).write_parquet(path)
    return run(SYSTEM, home, RunRequest(at, at, uri))


def facts(home):
    return home.table("coins", METRICS).scan().collect().drop("_version", "data_version", "predictions_version")


def test_corrections_are_new_facts_and_the_past_stays_as_it_was(tmp_path):
    home, day = Home(Settings(home=tmp_path / "home")), timedelta(days=1)
    scored(home, FIRST, range(40, 60), tmp_path)
    second = scored(home, FIRST + day, range(50, 60), tmp_path)
    assert (second.monitored.matured, second.monitored.overall["accuracy"]) == (10, 1.0)
    before = read_scores(SYSTEM, home, FIRST + day)
    third = scored(home, FIRST + 2 * day, range(50, 60), tmp_path, flipped=(40, 41))
    assert (third.monitored.matured, third.monitored.overall["accuracy"]) == (10, pytest.approx(0.8))
    assert third.monitored.rows in (1, 2)  # the bins of the two coins
    assert_frame_equal(read_scores(SYSTEM, home, FIRST + day), before)
    assert set(facts(home)["known_at"]) == {FIRST, FIRST + day, FIRST + 2 * day}
    again = run(SYSTEM, home, RunRequest(FIRST + 3 * day, FIRST + 3 * day, steps=("monitor",)))
    assert (again.monitored.rows, again.monitored.overall) == (0, third.monitored.overall)


def test_scores_do_not_depend_on_when_they_were_computed(tmp_path):
    """After every run, or once at the end and for the past: the same facts as of every time."""
    day = timedelta(days=1)
    worlds = [(0, range(40, 60), ()), (1, range(50, 60), ()), (2, range(55, 60), (40, 41)), (3, (), (40, 52))]
    homes = [Home(Settings(home=tmp_path / name)) for name in ("live", "late")]
    for home in homes:
        for n, unknown, flipped in worlds:
            scored(home, FIRST + n * day, unknown, tmp_path, flipped)
    late = homes[1]
    shutil.rmtree(tmp_path / "late" / "store" / "coins" / METRICS)
    (tmp_path / "late" / "store" / "coins" / "_tables" / f"{METRICS}.json").unlink()
    moments = [FIRST + n * day for n in (3, 0, 2, 1, 0)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda at: run(SYSTEM, late, RunRequest(at, at, steps=("monitor",))), moments))
    for n in range(4):
        told = [read_scores(SYSTEM, home, FIRST + n * day) for home in homes]
        assert_frame_equal(*told)
        assert told[0]["n"].sum() == (0, 10, 15, 20)[n]


def test_the_report_and_the_door_read_the_scores(tmp_path):
    home = Home(Settings(home=tmp_path / "home"))
    with pytest.raises(NotFoundError):
        write_report(SYSTEM, home, as_of=None, now=FIRST, out=None)
    scored(home, FIRST, range(40, 60), tmp_path)
    early = write_report(SYSTEM, home, as_of=None, now=FIRST, out=tmp_path / "early.html")
    assert (early.summary["predictions"], early.summary["matured"], early.summary["accuracy"]) == (20, 0, None)
    done = scored(home, FIRST + timedelta(days=1), range(50, 60), tmp_path, flipped=(40, 41, 42))
    report = write_report(SYSTEM, home, as_of=None, now=FIRST, out=tmp_path / "page.html")
    page = report.path.read_text()
    assert {name: report.summary[name] for name in Binary.metrics_of_sums} == done.monitored.overall
    assert (report.summary["accuracy"], "<td class=n>70.00%</td>" in page) == (pytest.approx(0.7), True)
    assert "10 of 20 predictions of the days 2026-03-01" in page
    past = write_report(SYSTEM, home, as_of=FIRST, now=FIRST, out=tmp_path / "past.html")
    assert past.summary == early.summary


def test_a_truth_that_is_neither_class_counts_against_both():
    """As of more classes: it had no probability, so its loss is that of the least one."""
    columns = {"time": [FIRST] * 2, "model_version": [1, 1], "label": ["no", "yes"], "probability": [0.1, 0.9]}
    pairs = pl.DataFrame(columns | {"truth": ["no", "perhaps"], "known_at": [FIRST] * 2})
    output = Binary("heads", ("no", "yes"))
    found = output.measures(output.scores(pairs), []).row(0, named=True)
    assert (found["n"], found["accuracy"], found["rate"]) == (2, 0.5, 0.0)
    assert found["log_loss"] == pytest.approx((-math.log(0.9) - math.log(1e-15)) / 2)
    assert found["brier"] == pytest.approx((0.1**2 + (0.9**2 + 0.1**2 + 1) / 2) / 2)


PAIRS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.floats(0, 1), st.sampled_from([None, 0, 1])),
    min_size=1,
    max_size=60,
)


@given(PAIRS)
@settings(deadline=None, max_examples=60)
def test_property_metrics_from_sums_are_those_of_the_predictions(rows):
    schema = {"day": pl.Int64, "model_version": pl.Int64, "probability": pl.Float64, "actual": pl.Int64}
    pairs = pl.DataFrame(rows, schema=schema, orient="row")
    pairs = pairs.with_columns(
        (pl.lit(FIRST).dt.cast_time_unit("us") + pl.duration(days="day")).alias("time"),
        pl.col("actual").alias("truth"),
        (pl.col("probability") >= 0.5).cast(pl.Int64).alias("label"),
        pl.lit(FIRST).alias("known_at"),
    )
    output = Binary("heads", (0, 1))
    totals = output.scores(pairs)
    halves = [output.scores(part) for part in (pairs.filter(pl.col("day") == 0), pairs.filter(pl.col("day") > 0))]
    for by in ([], ["model_version"], ["time"]):
        found = output.measures(totals, by)
        assert_frame_equal(found, output.measures(pl.concat(halves), by), abs_tol=1e-12)
        for row in found.to_dicts():
            some = pairs.filter(*(pl.col(name) == row[name] for name in by))
            known = some.filter(pl.col("actual").is_not_null())
            assert (row["expected"], row["n"]) == (some.height, known.height)
            y, p = known["actual"].cast(float).to_numpy(), known["probability"].to_numpy()
            binned = np.minimum(np.floor(p * BINS), BINS - 1)
            expected = metrics.of_probabilities(y, p) | {"auc": metrics.auc(y, binned)}
            for name, value in expected.items():
                assert row[name] == pytest.approx(value, abs=1e-9) if value == value else row[name] is None, name
    assert output.reliability(totals)["n"].sum() == pairs["actual"].is_not_null().sum()
