"""A backfill is what live runs would have given, row for row, whatever became known when."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.errors import NotEnoughDataError
from headrace.features import col, lag, seasonal_features
from headrace.flow.backfill import Request as BackfillRequest
from headrace.flow.backfill import backfill
from headrace.flow.run import Request, run
from headrace.flow.stretch import Stretch
from headrace.home import Home
from headrace.settings import Settings

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SEASONS = ("6h", "24h")
HOURS = 24 * 12
"""Length of the world; runs begin 24 hours before its end."""
OF_THE_RUN = ("run_id", "created_at", "data_version", "predictions_version", "_version")
"""What differs between two runs that saw the same."""


def system_of(train="never", **more):
    return System(
        name="world",
        source=Source(lag="1h"),
        contract=Contract(
            columns=(
                Column("place", "category"),
                Column("time", "time", zone="UTC"),
                Column("load", "float", nullable=True),
                Column("warmth", "float", nullable=True, known_ahead=True),
            ),
            max_bad_share=0.5,
        ),
        keys=("place",),
        time="time",
        step="1h",
        target="load",
        features=seasonal_features("load", step="1h", seasons=SEASONS)
        | {"warmth": col("warmth"), "was": lag("warmth", "1h")},
        model=Forecaster(seasons=SEASONS, trees=3, leaves=4, min_leaf=20, max_rows=1000),
        horizon="6h",
        schedule=Schedule(predict="1h", train=train),
        monitoring=Monitoring(baselines=SEASONS, window="3d"),
        **more,
    )


def world(seed, *, places=3, gaps=0.0, late=0, corrections=0.0, ahead=True):
    """Facts with their known times: hours that come late, never, again, or (warmth) before their time."""
    rng = np.random.default_rng(seed)
    hours = np.arange(HOURS)
    facts = []
    for place in range(places):
        load = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + 10 * np.sin(hours / 6 * 2 * np.pi) + rng.normal(0, 2, HOURS)
        warmth = rng.normal(10, 3, HOURS)
        for hour in hours:
            time = START + HOUR * int(hour)
            known = time + HOUR + HOUR * int(rng.integers(0, late + 1))
            if ahead:
                facts.append((f"p{place}", time, None, warmth[hour] + rng.normal(0, 1), time - 9 * HOUR))
            if rng.random() >= gaps:
                facts.append((f"p{place}", time, load[hour], warmth[hour], known))
                if rng.random() < corrections:
                    again = known + HOUR * int(rng.integers(1, 30))
                    value = None if rng.random() < 0.2 else load[hour] * rng.uniform(0.5, 1.5)
                    facts.append((f"p{place}", time, value, warmth[hour], again))
    schema = {"place": pl.String, "time": pl.Datetime("us", "UTC"), "load": float, "warmth": float}
    return pl.DataFrame(facts, schema=schema | {"known_at": pl.Datetime("us", "UTC")}, orient="row")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Makes homes whose tracking database is a copy, because making one takes a second."""
    first = tmp_path_factory.mktemp("first")
    world(0).write_parquet(first / "facts.parquet")
    run(system_of(), Home(Settings(home=first)), Request(last(), NOW, f"file:{first}/facts.parquet"))

    def make(name):
        home = tmp_path_factory.mktemp(name)
        shutil.copyfile(first / "mlflow.db", home / "mlflow.db")
        return Home(Settings(home=home))

    return make


def last(back=0):
    return START + HOUR * (HOURS - back)


def live(system, home, times, uri):
    failed = []
    for i, as_of in enumerate(times):
        try:
            run(system, home, Request(as_of, NOW + timedelta(seconds=i), uri))
        except NotEnoughDataError:
            failed.append(as_of)
    return failed


def rows(home, name):
    table = home.table("world", name)
    if not table.exists():
        return pl.DataFrame()
    frame = table.collect(table.scan()).drop(OF_THE_RUN, strict=False)
    return frame.sort(sorted(frame.columns)).select(sorted(frame.columns))


def same(one, two, system):
    names = ("raw", "predictions", "metrics", "models", f"features-{system.features.digest}")
    for name in names:
        ours, theirs = rows(one, name), rows(two, name)
        if name == "models":  # numbered by the tracking server, pinned to the data's version
            ours, theirs = (each.select("event", "version", "known_at", "digest", "reason") for each in (ours, theirs))
        assert ours.equals(theirs, null_equal=True), name
        assert ours.height or name in ("predictions", "metrics", "models"), name


@given(
    seed=st.integers(0, 10_000),
    gaps=st.sampled_from([0.0, 0.1]),
    late=st.sampled_from([0, 3]),
    corrections=st.sampled_from([0.0, 0.02, 0.3]),
    ahead=st.booleans(),
    train=st.sampled_from(["never", "4h"]),
    workers=st.sampled_from([1, 1, 2]),
    every=st.sampled_from([1, 2]),
    begin=st.sampled_from([10, 24, HOURS - 40]),
)
@settings(
    max_examples=int(os.environ.get("BACKFILL_EXAMPLES", "6")),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes and shows little
)
def test_it_equals_live_runs(place, seed, gaps, late, corrections, ahead, train, workers, every, begin):
    system = system_of(train)
    one, two = place("live"), place("backfill")
    world(seed, gaps=gaps, late=late, corrections=corrections, ahead=ahead).write_parquet(one.path / "facts.parquet")
    uri = f"file:{one.path}/facts.parquet"
    stretch = Stretch(last(begin), last(begin - 8), HOUR * every)
    failed = live(system, one, stretch.times(), uri)
    done = backfill(system, two, BackfillRequest(stretch, NOW, uri, workers=workers))
    assert [datetime.fromisoformat(each["as_of"]) for each in done.failed] == failed
    assert done.runs == len(stretch.times()) - len(failed)
    same(one, two, system)
    again = backfill(system, two, BackfillRequest(stretch, NOW, uri, workers=1))
    assert (again.runs, again.predictions) == (done.runs, done.predictions)
    assert (again.repeated, again.stored, again.scored, again.ingested) == (done.runs, 0, 0, 0)
    same(one, two, system)
