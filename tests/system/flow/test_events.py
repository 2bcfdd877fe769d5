"""Rows that are events of a step: every row is counted, and runs, backfills and replays see the same sums."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.effort import rounds
from tests.system.flow.test_backfill import live, same
from tests.worlds.flow import HOUR, HOURS, NOW, START, last

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.contract.aggregation import CHOOSING
from headrace.errors import DeclarationError
from headrace.features import col, lag, seasonal_features
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.pipelines import predictions

SEASONS = ("12h", "24h")


def shop(kind="sum", empty="zero", lag="0h", train="never", **sold):
    return System(
        name="world",
        source=Source(lag=lag),
        contract=Contract(
            columns=(
                Column("place", "category"),
                Column("time", "time", zone="UTC"),
                Column("load", "float", aggregate=kind, empty=empty, **sold),
                Column("note", "text", nullable=True),
            ),
            max_invalid_fraction=0.5,
        ),
        keys=("place",),
        time="time",
        step="1h",
        target="load",
        features=seasonal_features("load", step="1h", seasons=SEASONS),
        model=Forecaster(seasons=SEASONS, n_estimators=3, num_leaves=4, min_child_samples=20, max_rows=1000),
        horizon="6h",
        schedule=Schedule(predict="1h", train=train),
        monitoring=Monitoring(baselines=SEASONS, window="3d"),
    )


def sales(seed, *, late=1, own=False):
    """0 to 3 sales an hour and place, of which some become known late."""
    rng = np.random.default_rng(seed)
    facts = []
    for place in range(3):
        for hour in range(HOURS):
            for _ in range(rng.poisson(1.0 + (hour % 24 > 8))):
                time = START + HOUR * hour + timedelta(minutes=int(rng.integers(0, 60)))
                known = time + (timedelta(minutes=int(rng.integers(0, 60 * late))) if rng.random() < 0.2 else HOUR * 0)
                facts.append((f"p{place}", time, round(float(rng.gamma(2.0, 5.0)), 2), "x", known))
    schema = {"place": pl.String, "time": pl.Datetime("us", "UTC"), "load": float, "note": pl.String}
    frame = pl.DataFrame(facts, schema=schema | {"known_at": pl.Datetime("us", "UTC")}, orient="row")
    return frame if own else frame.drop("known_at")


def saved(folder, frame):
    frame.write_parquet(folder / "facts.parquet")
    return f"file:{folder}/facts.parquet"


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["sum", "mean", "count", "max", "last"]),
    empty=st.sampled_from(["missing", "zero"]),
    late=st.sampled_from([0, 1, 4]),
    lag=st.sampled_from(["0h", "90m"]),
    train=st.sampled_from(["never", "4h"]),
    minutes=st.sampled_from([0, 20]),
    begin=st.sampled_from([12, HOURS - 60]),
)
@settings(max_examples=rounds(2, 30), deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_a_backfill_equals_live_runs(place, seed, kind, empty, late, lag, train, minutes, begin):
    system = shop(kind, empty, lag, train)
    one, two = place("live"), place("backfill")
    uri = saved(one.path, sales(seed, late=max(late, 1), own=late > 0))
    first = last(begin) + timedelta(minutes=minutes)
    stretch = DateRange(first, first + 8 * HOUR, 2 * HOUR)
    failed = live(system, one, stretch.times(), uri)
    done = backfill(system, two, BackfillRequest(stretch, NOW, uri))
    assert len(done.failed) == len(failed)
    same(one, two, system)
    table = two.table("world", "predictions")
    stored = table.collect(table.scan()) if table.exists() else pl.DataFrame()
    for row in stored.sample(min(3, stored.height), seed=1).iter_rows(named=True):
        assert predictions.replay(two, row["id"])["identical"]
        if kind not in CHOOSING:  # the origin is a step that was over
            assert (
                row["origin"] + HOUR + system.source.lag <= row["as_of"] < row["origin"] + 2 * HOUR + system.source.lag
            )


def test_every_row_is_counted_in_any_split(place):
    system, frame = shop(), sales(3)
    twins = pl.concat([frame, frame.head(20)]).sample(fraction=1.0, shuffle=True, seed=5)
    text = twins.with_columns(pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%SZ"), pl.col("load").cast(pl.String))
    bad = text.head(3).with_columns(pl.lit("many").alias("load"))
    home = place("counted")
    counts = {"read": 0, "ingested": 0, "quarantined": 0, "repeated": 0, "pending": 0}
    for part in (text, pl.concat([text.head(50), bad]), text.tail(70)):
        part.write_csv(home.path / "part.csv")
        result = run(system, home, RunRequest(last(2), NOW, f"file:{home.path}/part.csv", ("ingest", "validate")))
        told = {name: result.as_dict()[name] for name in counts}
        assert told["read"] == part.height == sum(told.values()) - told["read"]
        counts = {name: counts[name] + told[name] for name in counts}
    known = twins.filter(pl.col("time") <= last(2))
    assert counts["quarantined"] == 3
    assert counts["ingested"] == known.height  # twins of one ingest are two sales, an overlap adds nothing
    table = home.raw(system)
    assert table.collect(table.scan().select(pl.col("load").sum())).item() == pytest.approx(known["load"].sum())


def test_evaluate_measures_against_whole_steps(place):
    system = shop()
    home = place("evaluated")
    uri = saved(home.path, sales(4))
    stretch = DateRange(last(30), last(10), 5 * HOUR)
    done = evaluate(system, home, EvaluateRequest(stretch, last(10) + timedelta(minutes=30), source=uri))
    data = done.as_dict()
    # As of the last time, the step that is under way is no truth: 6 steps of each origin that were over by then.
    over = [min(6, int((last(10) - as_of) / HOUR)) for as_of in stretch.times()]
    assert data["matured"] == 3 * sum(over)


def test_what_a_declaration_must_say():
    with pytest.raises(DeclarationError, match="only numbers are aggregated"):
        Contract(columns=(Column("a", "text", aggregate="sum"),))
    with pytest.raises(DeclarationError, match="declare aggregate="):
        Contract(columns=(Column("a", "float", empty="zero"),))
    system = shop()
    for lead in (True, "6h"):
        plan = Column("plan", "float", aggregate="last", known_future=lead)
        contract = Contract(columns=(*system.contract.columns, plan))
        fields = {name: getattr(system, name) for name in type(system).model_fields}
        with pytest.raises(
            DeclarationError, match=r"columns\[4\].known_future: 'plan' is known in advance, and rows are events"
        ):
            System(**fields | {"contract": contract, "features": {"plan": col("plan")}})
    contract = Contract(columns=(*system.contract.columns, Column("warmth", "float")))
    fields = {name: getattr(system, name) for name in type(system).model_fields}
    fields |= {"contract": contract, "features": {"was": lag("warmth", "1h")}}
    with pytest.raises(DeclarationError, match="nothing says what the events of a step make of 'warmth'"):
        System(**fields)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_rows_of_one_step_contradict_one_another_over_ingests_too(place, order):
    base = shop()
    columns = (Column("place", "category"), Column("time", "time", zone="UTC", align=True), Column("load", "float"))
    fields = {name: getattr(base, name) for name in type(base).model_fields}
    system, home = (
        System(**fields | {"contract": Contract(columns=columns, max_invalid_fraction=1.0)}),
        place("aligned"),
    )
    rows = ["p0,2026-01-01T00:00:00Z,0", "p0,2026-01-01T00:10:00Z,10"]

    def ingest(*texts):
        (home.path / "rows.csv").write_text("\n".join(["place,time,load", *texts]) + "\n")
        asked = RunRequest(last(), NOW, f"file:{home.path}/rows.csv", ("ingest", "validate"))
        return run(system, home, asked).rows

    first, second = (rows[i] for i in order)
    assert ingest(first)["ingested"] == 1
    for _ in range(2):
        assert ingest(second) == {"read": 1, "ingested": 0, "quarantined": 1, "repeated": 0, "pending": 0}
    assert ingest(first)["repeated"] == 1
    assert ingest(first.rsplit(",", 1)[0] + ",5")["ingested"] == 1  # the same row with another value is a correction
    table = home.raw(system)
    assert table.read(identity=system.identity)["load"].to_list() == [5.0]
    quarantine = home.table("world", "quarantine")
    assert quarantine.collect(quarantine.scan()).height == 1
