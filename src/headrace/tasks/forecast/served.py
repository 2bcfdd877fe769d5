"""How wrong what was answered was, by the day of the runs: from the scores of runs, each as it was known at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.grid.grid import EPOCH, MICROSECOND
from headrace.home import METRICS, Home
from headrace.system import System
from headrace.tasks.forecast.matured import RUN
from headrace.tasks.forecast.scores import naive_name, ours_name

if TYPE_CHECKING:
    import polars as pl

KEPT = 400
"""So many days are looked back."""
_PARTS: Mapping[str, tuple[str, str]] = {
    "wape": ("absolute", "actual"),
    "mase": ("scaled", "scaled_n"),
    "rmsse": ("scaled_squared", "scaled_n"),
    "rmse": ("squared", "n"),
}
"""By measure: the sum above and the one below."""
_ROOTS = ("rmsse", "rmse")


class ServedScores:
    """The scores of runs, read once and read on where there are more by then.

    Args:
        system: The declaration.
        home: Where they are.
    """

    def __init__(self, system: System, home: Home) -> None:
        self._system, self._table = system, home.table(system.name, METRICS)
        self._rows: pl.DataFrame | None = None
        self._version = 0
        self._names = [naive_name(season) for season in system.monitoring.compared]
        self._twins = [ours_name(season) for season in system.monitoring.compared]

    def by_day(self, measure: str, known_at: datetime, day: timedelta) -> pl.DataFrame:
        """A row for each day of runs whose truth was all known: ``begin made value baseline pairs``.

        The baseline is the one that is best over all days; its error, and with it `value`, is of the pairs that it has.

        Args:
            measure: Which error.
            known_at: What was known then counts, UTC; so do runs before it.
            day: How long a day is; they begin at multiples of it since 1970.
        """
        import polars as pl

        rows = self._known(known_at, day)
        above, below = _PARTS[measure]
        sums = [f"{name}{part}" for name in self._prefixes() for part in (above, below, "n")]
        width = f"{day // MICROSECOND}us"
        origin = pl.col("made").dt.truncate(width).alias("begin")
        days = rows.group_by(origin).agg(pl.col("made").max(), pl.col(sums).sum()).sort("begin")
        newest = rows[self._system.event_time].max()
        if not isinstance(newest, datetime) or self._system.horizon is None:
            return days.select("begin", "made", value=pl.lit(0.0), baseline=pl.lit(0.0), pairs=pl.lit(0)).clear()
        step = self._system.step or timedelta()
        last = pl.lit(newest + step - self._system.horizon, pl.Datetime("us", "UTC"))
        days = days.filter(pl.col("begin").dt.offset_by(width) <= last, pl.col("n") > 0)
        best = self._best(days, above, below)
        chosen = "" if best is None else f"{self._twins[best]}_"
        value = self._error(chosen, measure)
        baseline = pl.lit(float("nan")) if best is None else self._error(f"{self._names[best]}_", measure)
        return days.select(
            "begin", "made", value=value, baseline=baseline.fill_null(float("nan")), pairs=pl.col("n").cast(pl.Int64)
        ).drop_nulls("value")

    def _prefixes(self) -> list[str]:
        return ["", *(f"{name}_" for name in (*self._names, *self._twins))]

    def _error(self, prefix: str, measure: str) -> pl.Expr:
        import polars as pl

        above, below = _PARTS[measure]
        share = pl.when(pl.col(f"{prefix}{below}") > 0).then(pl.col(f"{prefix}{above}") / pl.col(f"{prefix}{below}"))
        return share.sqrt() if measure in _ROOTS else share

    def _best(self, days: pl.DataFrame, above: str, below: str) -> int | None:
        """The place of the baseline with the least error, beside the forecast's own on its pairs."""
        ratios: list[tuple[float, int]] = []
        for place, (name, twin) in enumerate(zip(self._names, self._twins, strict=True)):
            error, baseline = float(days[f"{twin}_{above}"].sum()), float(days[f"{name}_{above}"].sum())
            if error > 0 and baseline > 0 and float(days[f"{name}_{below}"].sum()) > 0:
                ratios.append((baseline / error, place))
        return min(ratios)[1] if ratios else None

    def _known(self, known_at: datetime, day: timedelta) -> pl.DataFrame:
        """The scores that stood at a time, of runs that were before it and not too long ago."""
        import polars as pl

        self._read_on()
        assert self._rows is not None
        bound = pl.lit(known_at, pl.Datetime("us", "UTC"))
        since = pl.lit(max(known_at - KEPT * day, EPOCH), pl.Datetime("us", "UTC"))
        rows = self._rows.filter(pl.col("known_at") <= bound, pl.col("made") < bound, pl.col("made") >= since)
        return rows.unique([self._system.event_time, "made"], keep="last", maintain_order=True)

    def _read_on(self) -> None:
        import polars as pl

        time = self._system.event_time
        sums = [
            f"{name}{part}" for name in self._prefixes() for part in ("n", *{p for ps in _PARTS.values() for p in ps})
        ]
        names = list(
            dict.fromkeys([time, "made", "known_at", "data_version", "predictions_version", "_version", *sums])
        )
        if self._rows is None:
            times = pl.Datetime("us", "UTC")
            kinds: dict[str, Any] = {time: times, "made": times, "known_at": times}
            self._rows = pl.DataFrame(
                schema={n: kinds.get(n, pl.Int64 if n.endswith("version") else pl.Float64) for n in names}
            )
        version = self._table.version()
        if version <= self._version:
            return
        newer = pl.col("_version") > self._version
        lazy = self._table.scan(version=version, where=(pl.col("scope") == RUN) & newer)
        present = lazy.collect_schema().names()
        picked = [pl.col(n) if n in present else pl.lit(None, pl.Float64).alias(n) for n in names]
        rows = self._table.collect(lazy.select(picked))
        order = ["known_at", "data_version", "predictions_version", "_version"]
        self._rows = pl.concat([self._rows, rows], how="vertical_relaxed").sort(order, maintain_order=True)
        self._version = version
