"""Features that are good for most regular series with seasons; extend them with ``|``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from headrace.declaration import parse_duration
from headrace.errors import DeclarationError
from headrace.features.calendar import day_of_year, holiday, minute_of_day, weekday
from headrace.features.expression import Expression
from headrace.features.history import (
    difference,
    lag,
    rolling_mean,
    rolling_std,
    seasonal_change,
    seasonal_lag,
    seasonal_mean,
    step_ahead,
)
from headrace.features.scaling import scaled
from headrace.features.view import Features

_LAGS, _SEASONS = 3, 3


class Following(Features):
    """Features that are made anew for the step of the system that declares them."""

    def __init__(self, make: Callable[..., Features], step: timedelta | None = None) -> None:
        super().__init__(make(step=step) if step is not None else {})
        self._make = make

    def at(self, step: timedelta) -> Features:
        """The features for this step."""
        return Following(self._make, step)


def seasonal_features(
    target: str,
    *,
    step: str | timedelta | None = None,
    seasons: tuple[str, ...] = ("24h", "168h"),
    country: str | None = None,
    zone: str = "UTC",
    calendar: bool = True,
) -> Features:
    """About thirty features of one series: newest values, same phase of earlier seasons, levels, spreads, calendar.

    Args:
        target: The column to forecast.
        step: The system's step. Without it the features follow whatever step the system has, overrides included.
        seasons: One or two seasons, the shorter first: a day and a week for hourly data.
        country: Adds public holidays on, around and a week before the target day (ISO 3166 code).
        zone: Local time of the calendar.
        calendar: Whether time of day, weekday and day of year matter.
    """
    if not 1 <= len(seasons) <= 2:
        raise DeclarationError("needs one or two seasons", where="seasonal_features.seasons")
    if step is None:
        options: dict[str, Any] = {"seasons": seasons, "country": country, "zone": zone, "calendar": calendar}
        return Following(partial(seasonal_features, target, **options))
    one = parse_duration(step)
    short, long = parse_duration(seasons[0]), parse_duration(seasons[-1])
    if long < short:
        raise DeclarationError("the shorter season comes first", where="seasonal_features.seasons")
    features: dict[str, Expression] = _values(target, one, short, long) | _spreads(target, short, long)
    features["step_ahead"] = step_ahead()
    if calendar:
        features |= {
            "hour": minute_of_day(zone) / 60,
            "weekday": weekday(zone),
            "day_of_year": day_of_year(zone),
        }
    if country is not None:
        for name, shift in {"": 0, "_yesterday": -1, "_tomorrow": 1, "_week_ago": -7}.items():
            features[f"holiday{name}"] = holiday(country, zone, shift=shift)
    return Features(features)


def _values(y: str, one: timedelta, short: timedelta, long: timedelta) -> dict[str, Expression]:
    """Values in the target's unit, less the series' level and in units of its scale."""
    level, slow = rolling_mean(y, short), rolling_mean(y, long)
    day, week = seasonal_lag(y, short), seasonal_lag(y, long)
    usual = seasonal_mean(y, short, 7)
    brief = max(3 * one, short // 8 // one * one)
    values: dict[str, Expression] = {f"lag_{k}": lag(y, one * k) for k in range(_LAGS)}
    values |= {f"short_{k}": seasonal_lag(y, short, back=k) for k in range(_SEASONS)}
    values |= {f"long_{k}": seasonal_lag(y, long, back=k) for k in range(_SEASONS)}
    values |= {
        "short_before": seasonal_lag(y, short, near=-1),
        "short_after": seasonal_lag(y, short, near=1),
        "long_before": seasonal_lag(y, long, near=-1),
        "long_after": seasonal_lag(y, long, near=1),
        "short_mean": usual,
        "long_mean": seasonal_mean(y, long, 4),
        "mean_brief": rolling_mean(y, brief),
        "mean_short": level,
        "mean_long": slow,
        "short_to_level": day + seasonal_change(level, short),
        "long_to_level": week + seasonal_change(level, long),
        "short_to_last": day + seasonal_change(y, short),
        "long_to_last": week + seasonal_change(y, long),
        "usual_to_level": usual + level - slow,
    }
    return {name: scaled(value) for name, value in values.items()}


def _spreads(y: str, short: timedelta, long: timedelta) -> dict[str, Expression]:
    """How much the series moves, in units of its scale, and the scale itself beside the level."""
    slow = rolling_mean(y, long)
    spreads: dict[str, Expression] = {
        "std_short": rolling_std(y, short),
        "change_short": rolling_mean(abs(difference(y, short)), long),
        "level_to_scale": abs(slow),
    }
    return {name: scaled(value, centred=False) for name, value in spreads.items()}
