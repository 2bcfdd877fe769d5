"""An output that the framework does not know, and what it takes: an `Output`, and a model that asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Column, Contract, Linear, System
from headrace.errors import NotFoundError
from headrace.features import col
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.models.tabular import Tabular
from headrace.pipelines.predictions import replay
from headrace.reporting import write_report
from headrace.settings import Settings
from headrace.tasks.rows.outputs import base
from headrace.tasks.rows.outputs.base import GROUP, LABEL, TRUTH, Array, Output, output_class
from headrace.tasks.sections import ReportTable, Section

NOW, DAY = datetime(2026, 5, 1, tzinfo=UTC), timedelta(days=1)


@dataclass(frozen=True)
class Median(Output):
    """The middle of what may come, and what nine in ten stay below."""

    above: float = 0.0

    kind: ClassVar[str] = "median"
    beside: ClassVar[Mapping[str, base.Kind]] = {"p90": "float"}
    shown: ClassVar[tuple[str, ...]] = ("p90",)
    measure: ClassVar[str] = "mae"
    compared: ClassVar[tuple[str, ...]] = ("mae",)
    sums: ClassVar[tuple[str, ...]] = ("expected", "n", "absolute", "below")
    metrics_of_sums: ClassVar[tuple[str, ...]] = ("mae", "below")

    @classmethod
    def of(cls, model: Tabular, target: Column, values: Sequence[Any]) -> Median:
        return cls(target.name)

    def actual(self, values: pl.Series) -> Array:
        return values.cast(float).to_numpy()

    def refuse(self, actual: Array) -> None: ...

    def loss(self, learnt: Array, scores: Array) -> float:
        return float(np.abs(learnt - scores).mean())

    def calibrated(self, learnt: Array, scores: Array, model: Tabular) -> Median:
        return replace(self, above=float(np.quantile(learnt - scores, 0.9)))

    def numbers(self, scores: Array) -> Array:
        return np.column_stack([scores, scores + self.above])

    def answer(self, score: float) -> dict[str, Any]:
        return {self.target: score, "p90": score + self.above}

    def columns(self, numbers: Array) -> dict[str, list[Any]]:
        return {self.target: numbers[:, 0].tolist(), "p90": numbers[:, 1].tolist()}

    def schema(self) -> dict[str, dict[str, Any]]:
        return {"p90": {"type": "number"}}

    def metrics(self, actual: Array, numbers: Array) -> dict[str, float]:
        errors = np.abs(actual - numbers[:, 0])
        return {"mae": float(errors.mean()), "below": float((actual <= numbers[:, 1]).mean())}

    def constants(self, actual: Array) -> dict[str, tuple[str, Array]]:
        return {"median": ("the median", np.array([np.median(actual), np.quantile(actual, 0.9)]))}

    def scores(self, pairs: pl.DataFrame) -> pl.DataFrame:
        known, error = pl.col(TRUTH).is_not_null(), (pl.col(TRUTH) - pl.col(LABEL)).abs()
        sums = pairs.group_by(GROUP, maintain_order=True).agg(
            pl.len().cast(float).alias("expected"),
            known.sum().cast(float).alias("n"),
            error.sum().alias("absolute"),
            (pl.col(TRUTH) <= pl.col("p90")).sum().cast(float).alias("below"),
            pl.col("known_at").max(),
        )
        return sums.sort(GROUP)

    def measures(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        counts = (pl.col(name).sum().cast(pl.Int64) for name in ("expected", "n"))
        means = (base.share(pl.col(part).sum(), pl.col("n").sum()).alias(name) for part, name in _MEANS)
        return base.grouped(totals.sort(by) if by else totals, by).agg(*counts, *means).drop("_", strict=False)

    def baselines(self, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {}

    def difference(self, pairs: pl.DataFrame, columns: Sequence[Mapping[str, str]]) -> pl.Series:
        return (pairs[columns[0][LABEL]] - pairs[columns[1][LABEL]]).abs()

    def report(self, totals: pl.DataFrame) -> list[Section]:
        rows = self.measures(totals, []).select("mae", "below").rows()
        return [ReportTable("Over the window", ["error", "below"], rows)]


_MEANS = (("absolute", "mae"), ("below", "below"))


class Middle(Tabular):
    """Declares a `Median`."""

    def output(self, values: Sequence[Any]) -> str:
        return "median"

    def asks(self, values: Sequence[Any]) -> str:
        return "regression"


SYSTEM = System(
    name="waits",
    contract=Contract(
        columns=(Column("visit", "integer"), Column("wait", "float", nullable=True), Column("queue", "integer"))
    ),
    keys=("visit",),
    target="wait",
    features={"queue": col("queue")},
    model=Middle(members=(Linear(), Boosting(n_estimators=10)), folds=2, repeats=1),
)


def visits(path: Path, known: int) -> str:
    random = np.random.default_rng(4)
    queue = random.integers(0, 30, 240)
    wait = 2.0 * queue + random.exponential(4, 240)
    frame = pl.DataFrame({"visit": range(240), "wait": wait, "queue": queue})
    frame.with_columns(pl.when(pl.col("visit") < known).then(pl.col("wait"))).write_parquet(path)
    return f"file:{path}"


def test_it_goes_through_fit_predict_score_evaluate_and_replay(tmp_path: Path) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    first = run(SYSTEM, home, RunRequest(NOW, NOW, visits(tmp_path / "a.parquet", 200)))
    assert first.as_dict()["model"]["reason"].startswith("the first version; better than the median")
    assert (first.predicted.frame["p90"] > first.predicted.frame["wait"]).all()
    assert all(replay(home, name)["identical"] for name in first.predicted.frame["id"])
    later = run(SYSTEM, home, RunRequest(NOW + DAY, NOW + DAY, visits(tmp_path / "b.parquet", 240)))
    assert later.monitored.matured == 40
    assert 0.7 < later.monitored.overall["below"] <= 1
    done = evaluate(SYSTEM, home, EvaluateRequest(None, NOW + DAY, data=str(tmp_path / "b.parquet"))).as_dict()
    assert (done["rows"], done["trained_on"]["rows"]) == (40, 200)
    assert done["metrics"] == pytest.approx(later.monitored.overall)
    report = write_report(SYSTEM, home, as_of=None, now=NOW + DAY, out=tmp_path / "report.html")
    assert report.summary["below"] == later.monitored.overall["below"]


def test_one_that_nobody_brings_is_named() -> None:
    with pytest.raises(NotFoundError, match="no output 'modes': one of binary, multiclass, regression"):
        output_class("modes")
