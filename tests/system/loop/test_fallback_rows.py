"""The baseline of a model of rows in its place: what a door answers is the rule's answer, where that is better."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace import Column, Contract, Source, System
from headrace.errors import UsageError
from headrace.features import col
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.models.linear import Linear
from headrace.models.regressor import Regressor
from headrace.models.rules import Rules
from headrace.settings import Settings
from headrace.tasks import task_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BECAUSE = "alert-1 says so: rmse 9 beyond 5"


def rows(as_of: datetime, seed: int = 1):
    """Of the first day y follows x; of later ones it follows the kind alone."""
    numbers = pl.int_range(240, eager=True)
    frame = pl.DataFrame({"id": numbers.cast(pl.String), "x": (numbers.hash(seed) % 100).cast(pl.Float64)})
    frame = frame.with_columns(kind=pl.when(numbers % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b")), number=numbers)
    by_kind = pl.when(pl.col("kind") == "a").then(10.0).otherwise(80.0)
    frame = frame.with_columns(y=pl.when(pl.col("number") < 120).then(pl.col("x")).otherwise(by_kind))
    return frame.drop("number").head(120 if as_of < BEGIN + DAY else 240)


def system(**baselines):
    columns = (Column("id", "text"), Column("kind", "category"), Column("x", "float"), Column("y", "float"))
    model = Regressor(members=(Linear(),), folds=3, repeats=1, **baselines)
    return System(name="rowed", source=Source(simulate=rows), contract=Contract(columns=columns), keys=("id",),
                  target="y", features={"kind": col("kind"), "x": col("x")}, model=model)  # fmt: skip


def known(home, day):
    as_of = BEGIN + day * DAY
    return {"as_of": as_of, "data_version": home.raw(system()).version(), "now": as_of}


def test_a_rule_answers_in_the_place_of_a_model_that_got_worse(tmp_path):
    ruled, home = system(baselines=(Rules(levels=("kind",)),)), Home(Settings(home=tmp_path, threads=1))
    run(ruled, home, RunRequest(BEGIN, BEGIN, "simulated", ("ingest", "validate", "train")))
    refused = task_of(ruled).fall_back(home, **known(home, 0), because=BECAUSE)
    assert not refused.promoted  # it is worse: nothing changes
    assert home.registry.champion("rowed").version == 1
    run(ruled, home, RunRequest(BEGIN + DAY, BEGIN + DAY, "simulated", ("ingest", "validate")))
    fallen = task_of(ruled).fall_back(home, **known(home, 1), because=BECAUSE)
    assert fallen.promoted, fallen.reason
    assert f"the rules are served: {BECAUSE}" in fallen.reason
    timeline = home.registry.timeline("rowed")
    assert timeline.latest_trained(BEGIN + DAY).version == 1  # it is no training
    held, _ = task_of(ruled).answering(home, home.registry.champion("rowed"), BEGIN + DAY)
    answers = [held.answer({"id": "n", "kind": kind, "x": x})["y"] for kind, x in (("b", 1.0), ("b", 99.0))]
    assert answers[0] == answers[1]


def test_without_a_declared_baseline_there_is_none_to_serve(tmp_path):
    plain, home = system(), Home(Settings(home=tmp_path, threads=1))
    run(plain, home, RunRequest(BEGIN, BEGIN, "simulated", ("ingest", "validate", "train")))
    with pytest.raises(UsageError, match="no baseline that could be served"):
        task_of(plain).fall_back(home, **known(home, 0), because=BECAUSE)
