"""The report of a system that scores rows: how good its probabilities were, and by which model version."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import Home
from headrace.lineage import iso
from headrace.pipelines import runs
from headrace.pipelines.row_monitoring import completeness_of, read_scores
from headrace.pipelines.row_scores import BINS, METRICS, TENTHS, measures, reliability
from headrace.reporting.chart import Chart, Line
from headrace.reporting.page import Page
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

_NAMES = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "auc": "AUC",
    "calibration": "calibration",
    "rate": "happened",
    "predicted_rate": "predicted",
}
_SHARES = ("accuracy", "calibration", "happened", "predicted")


def write_rows(system: System, home: Home, page: Page, as_of: datetime | None) -> dict[str, Any]:
    """Fill the page from the scores as they were known at a time; None is everything. Returns the main figures."""
    scores = read_scores(system, home, as_of)
    if scores is None:
        page.sentence("No prediction was monitored yet.")
        return {"predictions": 0, "matured": 0}
    found = completeness_of(scores)
    page.sentence(
        f"{found['matured']:,} of {found['predictions']:,} predictions of the days {found['since']:%Y-%m-%d} to "
        f"{found['until']:%Y-%m-%d} have their truth: a {system.target} that became known after they were made."
    )
    summary = found | {name: measures(scores, [])[name].item() for name in METRICS}
    if found["matured"]:
        _errors(page, scores, summary)
    _probabilities(page, scores)
    newest = next(iter(runs.newest(home, system.name, 1)), None)
    record = runs.record(home, system.name, newest["run_id"]) if newest is not None else None
    page.heading("The newest run")
    pins = (record or {}).get("pins") or {}
    rows = [["status", newest["status"]], ["as of", iso(newest["as_of"])]] if newest is not None else []
    page.table("", ["pin", "value"], [*rows, *([name, value] for name, value in pins.items() if name != "as_of")])
    return summary


def _errors(page: Page, scores: pl.DataFrame, summary: dict[str, Any]) -> None:
    rate = summary["rate"]
    entropy = -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)
    constant = [max(rate, 1 - rate), entropy, rate * (1 - rate), 0.5, 0.0, rate, rate]
    rows = [["headrace", *(summary[name] for name in METRICS)], ["the same for all", *constant]]
    page.table("Over the window", ["prediction", *(_NAMES[name] for name in METRICS)], rows, shares=_SHARES)
    by_version = measures(scores, ["model_version"]).drop("rate", "predicted_rate")
    header = ["version", "predictions", "matured", *(_NAMES[name] for name in by_version.columns[3:])]
    page.table("By model version", header, by_version.rows(), shares=_SHARES)
    by_day = measures(scores, ["time"])
    page.heading("By day of the prediction")
    days = by_day["time"].to_list()
    page.chart(Chart("Accuracy", days, [Line("headrace", by_day["accuracy"].to_list(), "ours")], share=True))
    page.chart(Chart("Log loss", days, [Line("headrace", by_day["log_loss"].to_list(), "ours")], zero=True))
    page.heading("Calibration")
    tenths = reliability(scores)
    lines = [
        Line("as predicted", tenths["probability"].to_list(), "truth"),
        Line("what happened", tenths["actual"].to_list(), "ours"),
    ]
    page.chart(Chart("Share of what happened, by probability", tenths["probability"].to_list(), lines, zero=True))
    header = ["probability", "mean", "happened", "matured"]
    rows = [[f"{t / TENTHS:.1f} to {(t + 1) / TENTHS:.1f}", p, y, n] for t, n, p, y in tenths.rows()]
    page.table("", header, rows, shares=("mean", "happened"))


def _probabilities(page: Page, scores: pl.DataFrame) -> None:
    import polars as pl

    each = BINS // (2 * TENTHS)
    counts = scores.group_by(pl.col("bin") // each).agg(pl.col("expected").sum()).sort("bin")
    every = pl.DataFrame({"bin": range(2 * TENTHS)}, schema={"bin": pl.Int64}).join(counts, on="bin", how="left")
    middle = ((every["bin"] + 0.5) / (2 * TENTHS)).to_list()
    line = Line("predictions", every["expected"].fill_null(0.0).to_list(), "ours")
    page.heading("What was predicted")
    page.chart(Chart("Predictions by probability", middle, [line], zero=True))
