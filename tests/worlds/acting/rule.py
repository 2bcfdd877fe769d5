"""A rule of one's own: the error of what the present champion answered, over the last two days."""

from datetime import timedelta
from typing import ClassVar, Literal

import polars as pl

from headrace.policy.monitoring import MonitorRule


class Served(MonitorRule):
    kind: Literal["served_error"] = "served_error"
    about_model: ClassVar[bool] = True
    warn: float | None = 0.15
    alarm: float | None = 0.25
    days: int = 2

    def measure(self, facts):
        rows = facts.frame("metrics")
        if rows is None or rows.is_empty():
            return pl.DataFrame(schema={"time": pl.Datetime("us", "UTC"), "value": pl.Float64})
        rows = rows.filter(pl.col("scope") == "run").sort("known_at", "_version").rename({"time": "at"})
        asked = facts.champion().select("time", "since")
        pairs = asked.join(rows, how="cross")
        pairs = pairs.filter(
            pl.col("known_at") <= pl.col("time"),
            pl.col("made") >= pl.col("since"),
            pl.col("made") < pl.col("time"),
            pl.col("at") > pl.col("time") - timedelta(days=self.days),
        ).unique(["time", "at", "made"], keep="last", maintain_order=True)
        pairs = pairs.sort("time", "at", "made")  # sums in one order, whoever wrote the rows
        sums = pairs.group_by("time", maintain_order=True).agg(
            pl.col("absolute").sum(), pl.col("actual").sum(), support=pl.col("n").sum()
        )
        sums = sums.filter(pl.col("actual") > 0).sort("time")
        return sums.select(
            "time", value=pl.col("absolute") / pl.col("actual"), support=pl.col("support").cast(pl.Int64)
        )
