"""The monitoring report of a system that forecasts: how good its forecasts were, and what is forecast now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.grid import spanned
from headrace.home import PREDICTIONS, RUNS, Home
from headrace.lineage import iso
from headrace.store.failures import intact
from headrace.store.history import read_latest
from headrace.system import System
from headrace.tasks.base import ReportRequest
from headrace.tasks.forecast.monitoring import RUN, completeness_of, read_scores
from headrace.tasks.forecast.scores import measures, naive_name
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable, Section, TaskReport

if TYPE_CHECKING:
    import polars as pl

SHOWN = 4
"""Largest series, and worst series, that are drawn."""
WORST = 15
"""Series in the table of the worst."""
RECENT = timedelta(days=7)
_NEAREST = "For every time the prediction made with the fewest steps ahead, with its interval."
METRICS = ("wape", "mape", "mase", "rmse", "rmsse", "bias")


def report(system: System, home: Home, request: ReportRequest) -> TaskReport:
    """The sections and figures, from stored facts alone; see `headrace.tasks.base.Task.report`."""
    return _Sections(_ReportTables(system, home, request.as_of, request.newest)).report()


class _ReportTables:
    """What the report of a system that forecasts reads; `newest` is the time of its newest run."""

    def __init__(self, system: System, home: Home, as_of: datetime | None, newest: datetime) -> None:
        self.system, self.home, self.as_of, self.newest = system, home, as_of, newest
        self.seasons = system.monitoring.compared
        self.scores = read_scores(system, home, as_of)
        self.runs = read_scores(system, home, as_of, scope=RUN)

    def measured(self, *by: str) -> pl.DataFrame:
        """Metrics by columns of the scores: those of runs where a run or a step is asked for."""
        scores = self.runs if {"ahead", "made"} & set(by) else self.scores
        assert scores is not None
        return measures(scores, by, self.seasons)

    def recent(self, keys: pl.DataFrame | None = None) -> pl.DataFrame:
        """Observations and predictions of some series, or of all, from `RECENT` before the newest run's origin on.

        For every time the prediction with the fewest steps ahead.
        """
        import polars as pl

        time, names = self.system.event_time, list(self.system.keys)
        table = self.home.table(self.system.name, PREDICTIONS)
        chosen = pl.lit(True)
        if keys is not None:
            chosen = pl.struct(names).is_in(keys.select(pl.struct(names)).to_series().implode())
        latest = pl.lit(self.newest, pl.Datetime("us", "UTC"))
        origin = table.collect(table.scan(where=pl.col("as_of") == latest).select(pl.col("origin").max())).item()
        series = self.home.series(self.system)
        since = series.grid.shift(origin, -spanned(RECENT, series.grid.step))
        lazy = table.scan(as_of=self.as_of, where=(pl.col(time) > pl.lit(since, pl.Datetime("us", "UTC"))) & chosen)
        predictions = table.collect(
            lazy.select(*names, time, "ahead", "_version", "revision", "value", "lower", "upper")
        )
        predictions = predictions.sort("ahead", "_version", "revision", descending=[False, True, True])
        predictions = predictions.unique([*names, time], keep="first", maintain_order=True)
        raw = self.home.raw(self.system)
        observed = read_latest(raw, series, since, as_of=self.as_of).filter(
            chosen, pl.col(self.system.target).is_not_null()
        )
        return observed.join(predictions, on=[*names, time], how="full", nulls_equal=True, coalesce=True).sort(
            *names, time
        )

    def record(self) -> dict[str, Any]:
        """What the newest run wrote down; empty where it was killed before."""
        import polars as pl

        table = self.home.table(self.system.name, RUNS)
        if not table.exists():
            return {}
        latest = pl.lit(self.newest, pl.Datetime("us", "UTC"))
        where = (pl.col("as_of") == latest) & pl.col("record").str.contains('"skipped"', literal=True)
        rows = table.collect(table.scan(where=where).select("_version", "record")).sort("_version")
        with intact(table.uri, "headrace verify --deep says which file is damaged"):
            return dict(json.loads(rows["record"][-1])) if rows.height else {}


class _Sections:
    """The sections of the report, one after the other."""

    def __init__(self, facts: _ReportTables) -> None:
        self._facts, self._system = facts, facts.system
        self._sections: list[Section] = []
        self._names = {naive_name(s): f"naive {naive_name(s).removeprefix('naive_')}" for s in facts.seasons}

    def report(self) -> TaskReport:
        """All of them, and the main figures."""
        summary: dict[str, Any] = {"matured": 0, "expected": 0, "series_matured": 0, "series": 0}
        if self._facts.scores is None:
            self._sections.append(
                ReportSentence("No prediction has matured yet: no truth of a predicted time is known.")
            )
        else:
            summary = completeness_of(self._system, self._facts.scores) | self._overall()
            self._errors()
        self._series()
        self._end()
        warnings = self._facts.record().get("warnings")
        return TaskReport(self._sections, summary | ({"warnings": warnings} if warnings else {}))

    def _overall(self) -> dict[str, Any]:
        assert self._facts.scores is not None
        rest = completeness_of(self._system, self._facts.scores)
        self._sections.append(
            ReportSentence(
                f"{rest['series_matured']} of {rest['series']} series mature; {rest['matured']:,} of "
                f"{rest['expected']:,} predictions of the times {iso(rest['since'])} to {iso(rest['until'])} "
                "have their truth."
            )
        )
        metrics: dict[str, Any] = self._facts.measured().row(0, named=True)
        rows = [["headrace", metrics["n"], *(metrics[m] for m in METRICS), metrics["coverage"], None]]
        for name, label in self._names.items():
            naive = metrics[f"{name}_wape"]
            model_wape = metrics[f"{name}_model_wape"]  # on the pairs that both have
            skill = 1 - model_wape / naive if naive and model_wape is not None else None
            rows.append([label, metrics[f"{name}_n"], *(metrics[f"{name}_{m}"] for m in METRICS), None, skill])
        header = ["forecast", "pairs", "WAPE", "MAPE", "MASE", "RMSE", "RMSSE", "bias", "coverage", "WAPE saved"]
        self._sections.append(
            ReportTable("Over the window", header, rows, shares=("WAPE", "MAPE", "coverage", "WAPE saved"))
        )
        return {m: metrics[m] for m in (*METRICS, "coverage")}

    def _errors(self) -> None:
        import polars as pl

        time = self._system.event_time
        assert self._facts.scores is not None
        times = self._facts.scores[time].unique().sort().to_list()
        truncation = "1d" if times[-1] - times[0] > timedelta(days=4) else "1h"
        by_time = measures(
            self._facts.scores.with_columns(pl.col(time).dt.truncate(truncation)), [time], self._facts.seasons
        ).sort(time)
        self._sections.append(ReportHeading("Error over time"))
        unit = "day" if truncation == "1d" else "hour"
        self._sections.append(self._wape(f"WAPE by {unit} of the truth", by_time[time].to_list(), by_time))
        by_run = self._facts.measured("made").sort("made")
        self._sections.append(self._wape("WAPE by run", by_run["made"].to_list(), by_run))
        complete = by_run.filter(pl.col("n") == pl.col("n").max()).height
        self._sections.append(
            ReportSentence(
                f"{by_run.height:,} runs; the newest have only part of their truth ({complete:,} have all of it).",
                note=True,
            )
        )
        by_step = self._facts.measured("ahead").sort("ahead")
        steps = by_step["ahead"].to_list()
        self._sections.append(ReportHeading("Error by step ahead"))
        self._sections.append(self._wape("WAPE by step ahead", steps, by_step))
        line = ("coverage of the interval", by_step["coverage"].to_list(), "ours")
        self._sections.append(ReportCurve("Coverage by step ahead", steps, [line], share=True))

    def _wape(self, title: str, x: Sequence[Any], frame: pl.DataFrame) -> ReportCurve:
        lines = [
            (label, frame[f"{name}_wape"].to_list(), f"naive{i % 2}")
            for i, (name, label) in enumerate(self._names.items())
        ]
        lines.append(("headrace", frame["wape"].to_list(), "ours"))
        return ReportCurve(title, x, lines, share=True, zero=True)

    def _series(self) -> None:
        import polars as pl

        keys = list(self._system.keys)
        if not keys:
            self._sections.append(ReportHeading("The series"))
            self._sections.append(self._forecast((), self._facts.recent()))
            self._sections.append(ReportSentence(_NEAREST, note=True))
            return
        groups: dict[str, pl.DataFrame] = {}
        if self._facts.scores is not None:
            by_series = self._facts.measured(*keys).filter(pl.col("n") > 0)
            sizes = self._facts.scores.group_by(keys).agg(pl.col("actual").sum())
            groups["Largest series"] = sizes.sort("actual", *keys, descending=[True, *[False] * len(keys)]).head(SHOWN)
            worst = by_series.sort("wape", *keys, descending=[True, *[False] * len(keys)], nulls_last=True)
            groups["Worst series"] = worst.head(SHOWN)
        else:
            table = self._facts.home.table(self._system.name, PREDICTIONS)
            lazy = table.scan(where=pl.col("as_of") == pl.lit(self._facts.newest, pl.Datetime("us", "UTC")))
            groups["Forecasts"] = table.collect(lazy.select(keys).unique()).sort(keys).head(SHOWN)
        chosen = pl.concat([group.select(keys) for group in groups.values()]).unique(maintain_order=True)
        parts = self._facts.recent(chosen).partition_by(keys, as_dict=True)
        for title, group in groups.items():
            self._sections.append(ReportHeading(title))
            for row in group.select(keys).iter_rows():
                if row in parts:
                    self._sections.append(self._forecast(row, parts[row]))
        self._sections.append(ReportSentence(_NEAREST, note=True))
        if "Worst series" in groups:
            self._table_of_worst(worst)

    def _forecast(self, row: tuple[object, ...], frame: pl.DataFrame) -> ReportCurve:
        title = ", ".join(f"{name} {value}" for name, value in zip(self._system.keys, row, strict=True))
        title = title or self._system.name
        lines = [
            ("observed", frame[self._system.target].cast(float).to_list(), "truth"),
            ("predicted", frame["value"].to_list(), "ours"),
        ]
        band = (frame["lower"].to_list(), frame["upper"].to_list())
        return ReportCurve(title, frame[self._system.event_time].to_list(), lines, band=band)

    def _table_of_worst(self, worst: pl.DataFrame) -> None:
        keys, naive = list(self._system.keys), list(self._names)
        columns = [*keys, "wape", "mape", "bias", "coverage", *(f"{name}_wape" for name in naive), "n", "expected"]
        header = [*keys, "WAPE", "MAPE", "bias", "coverage", *(self._names[name] for name in naive), "matured", "of"]
        rows = [list(row) for row in worst.head(WORST).select(columns).iter_rows()]
        shares = ("WAPE", "MAPE", "coverage", *self._names.values())
        self._sections.append(ReportTable(f"The {len(rows)} series with the largest WAPE", header, rows, shares=shares))

    def _end(self) -> None:
        record = self._facts.record()
        for text in record.get("warnings", []):
            self._sections.append(ReportSentence(f"Warning: {text}.", note=True))
        skipped = record.get("skipped", [])
        if skipped:
            header = [*self._system.keys, "reason"]
            rows = [[series.get(name) for name in header] for series in skipped[:WORST]]
            self._sections.append(
                ReportTable(f"{len(skipped)} series without a forecast in the newest run", header, rows)
            )
        pins = record.get("pins") or {}
        self._sections.append(ReportHeading("The newest run"))
        if served := record.get("served"):
            counts = ", ".join(f"{kind} {count:,}" for kind, count in served.items() if count)
            self._sections.append(ReportSentence(f"Its predictions are served by: {counts}."))
        self._sections.append(ReportTable("", ["pin", "value"], [[name, value] for name, value in pins.items()]))
