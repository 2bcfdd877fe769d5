"""Primitives of a series' past, relative to a forecast origin: nothing after the origin can enter.

Two forms must agree to the last bit: over a table (`polars`, many origins) and over arrays (`array`, in
`headrace.features.arrays`). A window is therefore summed by doubling (sums of 1, 2, 4, ... neighbours): the additions
and their order depend on the window alone, not on where the data starts, and rounding errors stay small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from headrace.declaration import Duration, format_duration, parse_duration
from headrace.errors import DeclarationError, FeatureError
from headrace.features.expression import ORIGIN, TARGET, CompileTarget, Expression
from headrace.features.row import Col

if TYPE_CHECKING:
    import polars as pl

STATISTICS = ("mean", "std", "min", "max", "sum", "count")
FLAT = 1e-12
"""A variance below this share of the squared mean is rounding noise and counts as zero."""

_T = TypeVar("_T")


class HistoryPrimitive(Expression):
    """Common to all: compiled inside each series, once."""

    def polars(self, table: CompileTarget) -> pl.Expr:
        inside = self._inside(replace(table, grouped=True))
        return inside if table.grouped or not table.series else inside.over(table.series)

    def _inside(self, table: CompileTarget) -> pl.Expr:
        """The expression within one series; every primitive has its own."""
        raise FeatureError(f"{self.op!r} has no form over a table")


@dataclass(frozen=True, eq=False)
class Lag(HistoryPrimitive):
    """The value `by` before the origin; ``0h`` is the value at the origin itself."""

    op = "lag"
    place = ORIGIN
    of: Expression
    by: timedelta

    def __post_init__(self) -> None:
        _past(self.by, "lag")

    def lookback(self) -> timedelta:
        return self.by + self.of.lookback()

    def _inside(self, table: CompileTarget) -> pl.Expr:
        return self.of.compile(table).shift(table.steps(self.by, "lag"))


@dataclass(frozen=True, eq=False)
class Difference(HistoryPrimitive):
    """The value at the origin less the value `by` before it."""

    op = "difference"
    place = ORIGIN
    of: Expression
    by: timedelta

    def __post_init__(self) -> None:
        _past(self.by, "difference")

    def lookback(self) -> timedelta:
        return self.by + self.of.lookback()

    def _inside(self, table: CompileTarget) -> pl.Expr:
        x = self.of.compile(table)
        return x - x.shift(table.steps(self.by, "difference"))


@dataclass(frozen=True, eq=False)
class Rolling(HistoryPrimitive):
    """A statistic of the last `window`, the origin's own value included; missing values are left out.

    `std` is the population standard deviation. With fewer than `min_periods` values the result is missing.
    """

    op = "rolling"
    place = ORIGIN
    statistic: str
    of: Expression
    window: timedelta
    min_periods: int = 1

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise DeclarationError(f"unknown statistic {self.statistic!r}", hint=f"one of {', '.join(STATISTICS)}")
        if self.window <= timedelta():
            raise DeclarationError(f"a window of {format_duration(self.window)} holds nothing")

    def lookback(self) -> timedelta:
        return self.window + self.of.lookback()

    def _inside(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        width = table.steps(self.window, f"rolling_{self.statistic}")
        x = self.of.compile(table).cast(pl.Float64)
        count = _windowed(x.is_not_null().cast(pl.Float64), width)
        enough = count >= self.min_periods
        if self.statistic == "count":
            return count
        if self.statistic in ("min", "max"):
            extreme = x.rolling_min if self.statistic == "min" else x.rolling_max
            return pl.when(enough).then(extreme(width, min_samples=1))
        total = _windowed(x.fill_null(0.0), width)
        if self.statistic == "sum":
            return pl.when(enough).then(total)
        mean = total / count
        if self.statistic == "mean":
            return pl.when(enough).then(mean)
        variance = _windowed((x * x).fill_null(0.0), width) / count - mean * mean
        clean = pl.when(variance > FLAT * (mean * mean)).then(variance).otherwise(0.0)
        return pl.when(enough).then(clean.sqrt())


def _windowed(x: pl.Expr, width: int) -> pl.Expr:
    """Sums over the last `width` rows of `x`, which has no nulls; rows before the first count as zero."""
    return doubling(x, width, lambda s, k: s.shift(k, fill_value=0.0))


def doubling(x: _T, width: int, shift: Callable[[_T, int], _T]) -> _T:
    """Sum of `width` neighbours from sums of 1, 2, 4, ... of them: the one order of additions for every form."""
    total: _T | None = None
    folded, size, block = 0, 1, x
    while size <= width:
        if width & size:
            part = shift(block, folded) if folded else block
            total = part if total is None else total + part  # type: ignore[operator]
            folded += size
        size *= 2
        if size <= width:
            block = block + shift(block, size // 2)  # type: ignore[operator]
    assert total is not None
    return total


@dataclass(frozen=True, eq=False)
class SeasonalLag(HistoryPrimitive):
    """The newest value of the target's own season phase that the origin can know, or `back` seasons older.

    For a target `h` after the origin and a season `s` it is the value ``ceil(h / s) + back`` seasons before the target,
    or its neighbour `near` steps later (earlier when negative), but never one after the origin.
    """

    op = "seasonal_lag"
    place = TARGET
    of: Expression
    season: timedelta
    back: int = 0
    near: int = 0

    def __post_init__(self) -> None:
        _season(self.season, self.back, "back")

    def lookback(self) -> timedelta:
        # A neighbour lies less than a season away, because `near` counts steps.
        return self.season * (self.back + 1 + int(self.near < 0)) + self.of.lookback()

    def offset(self, ahead: int, season: int) -> int:
        """How many steps before the origin the value lies, for a target `ahead` steps after it; never negative."""
        return max((-(-ahead // season) + self.back) * season - ahead - self.near, 0)

    def _inside(self, table: CompileTarget) -> pl.Expr:
        season = table.steps(self.season, "seasonal_lag")
        return self.of.compile(table).shift(self.offset(_ahead(table), season))


@dataclass(frozen=True, eq=False)
class SeasonalChange(HistoryPrimitive):
    """How much the value at the origin exceeds the one that lies as many seasons back as `SeasonalLag` reaches.

    Added to a seasonal lag, it moves last season's value to this season's level.
    """

    op = "seasonal_change"
    place = TARGET
    of: Expression
    season: timedelta

    def __post_init__(self) -> None:
        _season(self.season, 0, "season")

    def lookback(self) -> timedelta:
        return self.season + self.of.lookback()

    def offset(self, ahead: int, season: int) -> int:
        """How many steps before the origin the older value lies."""
        return -(-ahead // season) * season

    def _inside(self, table: CompileTarget) -> pl.Expr:
        x = self.of.compile(table)
        return x - x.shift(self.offset(_ahead(table), table.steps(self.season, "seasonal_change")))


@dataclass(frozen=True, eq=False)
class SeasonalMean(HistoryPrimitive):
    """The mean over the newest `count` values of the target's season phase, each with its `around` neighbours.

    Neighbours that lie after the origin, and missing values, are left out.
    """

    op = "seasonal_mean"
    place = TARGET
    of: Expression
    season: timedelta
    count: int
    around: int = 0

    def __post_init__(self) -> None:
        _season(self.season, self.around, "around")
        if self.count < 1:
            raise DeclarationError(f"a mean of {self.count} seasons is nothing")

    def lookback(self) -> timedelta:
        # The neighbours reach at most a season further back: `around` counts steps, which are shorter.
        return self.season * (self.count + 1) + self.of.lookback()

    def offsets(self, ahead: int, season: int) -> list[int]:
        """Steps before the origin of the values that enter, newest season first; none is negative."""
        newest = -(-ahead // season) * season - ahead
        spread = range(-self.around, self.around + 1)
        return [o for b in range(self.count) for d in spread if (o := newest + b * season + d) >= 0]

    def _inside(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        x = self.of.compile(table).cast(pl.Float64)
        offsets = self.offsets(_ahead(table), table.steps(self.season, "seasonal_mean"))
        total, count = pl.lit(0.0), pl.lit(0.0)
        for offset in offsets:
            shifted = x.shift(offset)
            total = total + shifted.fill_null(0.0)
            count = count + shifted.is_not_null().cast(pl.Float64)
        return pl.when(count > 0).then(total / count)


@dataclass(frozen=True, eq=False)
class StepAhead(Expression):
    """How many steps the target lies after the origin: 1 to the horizon."""

    op = "step_ahead"
    place = TARGET

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        return pl.lit(_ahead(table))


def _ahead(table: CompileTarget) -> int:
    if table.ahead is None:
        raise DeclarationError("a seasonal feature needs a forecast: a target some steps after an origin")
    return table.ahead


def _past(by: timedelta, label: str) -> None:
    if by < timedelta():
        raise DeclarationError(
            f"{label} by {format_duration(by)} sees the future",
            hint="a lag is 0h or more, counted back from the origin",
        )


def _season(season: timedelta, count: int, name: str) -> None:
    if season <= timedelta():
        raise DeclarationError(f"a season of {format_duration(season)} is no season")
    if count < 0:
        raise DeclarationError(f"{name}={count} sees the future", hint=f"{name} is 0 or more")


def _of(value: Expression | str) -> Expression:
    return value if isinstance(value, Expression) else Col(value)


def lag(of: Expression | str, by: str | Duration) -> Lag:
    """The value of a column or expression `by` before the forecast origin; ``"0h"`` is the newest one."""
    return Lag(_of(of), parse_duration(by))


def difference(of: Expression | str, by: str | Duration) -> Difference:
    """The newest value less the one `by` before it."""
    return Difference(_of(of), parse_duration(by))


def rolling_mean(of: Expression | str, window: str | Duration, *, min_periods: int = 1) -> Rolling:
    """Mean over the last `window`."""
    return Rolling("mean", _of(of), parse_duration(window), min_periods)


def rolling_sum(of: Expression | str, window: str | Duration, *, min_periods: int = 1) -> Rolling:
    """Sum over the last `window`."""
    return Rolling("sum", _of(of), parse_duration(window), min_periods)


def rolling_std(of: Expression | str, window: str | Duration, *, min_periods: int = 2) -> Rolling:
    """Population standard deviation over the last `window`."""
    return Rolling("std", _of(of), parse_duration(window), min_periods)


def rolling_min(of: Expression | str, window: str | Duration, *, min_periods: int = 1) -> Rolling:
    """Smallest value of the last `window`."""
    return Rolling("min", _of(of), parse_duration(window), min_periods)


def rolling_max(of: Expression | str, window: str | Duration, *, min_periods: int = 1) -> Rolling:
    """Largest value of the last `window`."""
    return Rolling("max", _of(of), parse_duration(window), min_periods)


def rolling_count(of: Expression | str, window: str | Duration) -> Rolling:
    """How many values of the last `window` are known."""
    return Rolling("count", _of(of), parse_duration(window))


def seasonal_lag(of: Expression | str, season: str | Duration, *, back: int = 0, near: int = 0) -> SeasonalLag:
    """The newest known value at the target's phase of the season, `back` seasons before that, or a neighbour."""
    return SeasonalLag(_of(of), parse_duration(season), back, near)


def seasonal_change(of: Expression | str, season: str | Duration) -> SeasonalChange:
    """What has changed between the season that `seasonal_lag` takes and now."""
    return SeasonalChange(_of(of), parse_duration(season))


def seasonal_mean(of: Expression | str, season: str | Duration, count: int, *, around: int = 0) -> SeasonalMean:
    """Mean of the newest `count` values at the target's phase of the season, each with `around` neighbours."""
    return SeasonalMean(_of(of), parse_duration(season), count, around)


def step_ahead() -> StepAhead:
    """How many steps after the origin the target lies."""
    return StepAhead()
