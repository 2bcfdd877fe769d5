"""How good forecasts are where: by step ahead and by series, with the coverage of their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import metrics
from headrace.errors import HeadraceError
from headrace.features.arrays import key_texts
from headrace.models.booster import Booster
from headrace.tasks.importance import Importance
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable, Section

if TYPE_CHECKING:
    from headrace.features.arrays import History
    from headrace.models.backtest import Backtest, Fit
    from headrace.models.forecast import ForecastModel

_STEPS = 12
"""Rows of the table by step; the curve has all of them."""
_SERIES = 10
"""Series with the largest errors that are shown."""
_SHARES = ("wape", "coverage")
_EXPLAINED = 10
"""Series whose newest forecasts are taken apart."""
_NAMES = ("wape", "rmse", "coverage")


def sections(scored: Backtest, history: History, step: str, nominal: float) -> list[Section]:
    """The sections of a card.

    Args:
        scored: What would have been served on time that the fit had not seen.
        history: The series.
        step: The length of a step, as it is declared.
        nominal: The share that intervals are to hold.
    """
    judged = ~np.isnan(scored.actual) & ~np.isnan(scored.value)
    heading = ReportHeading("How good it is")
    if not judged.any():
        return [heading, ReportSentence("No forecast has matured on time that the fit had not seen.")]
    whole = _of(scored, judged)
    note = f"{int(judged.sum()):,} forecasts of single steps, made for time that the fit had not seen."
    overall = ReportTable("", ("metric", "value"), list(zip(_NAMES, whole, strict=True)))
    return [
        heading,
        ReportSentence(note, note=True),
        overall,
        *_by_step(scored, judged, step, nominal),
        *_by_series(scored, judged, history),
    ]


def _of(scored: Backtest, rows: Any) -> tuple[float | None, ...]:
    actual, value = scored.actual[rows], scored.value[rows]
    found = (
        metrics.wape(actual, value),
        metrics.rmse(actual, value),
        metrics.coverage(actual, scored.lower[rows], scored.upper[rows]),
    )
    return tuple(float(number) if np.isfinite(number) else None for number in found)


def _by_step(scored: Backtest, judged: Any, step: str, nominal: float) -> list[Section]:
    ahead = np.unique(scored.ahead[judged])
    lines = {int(n): _of(scored, judged & (scored.ahead == n)) for n in ahead}
    shown = ahead[np.unique(np.linspace(0, ahead.size - 1, min(_STEPS, ahead.size)).astype(int))]
    rows = [(int(n), int((judged & (scored.ahead == n)).sum()), *lines[int(n)]) for n in shown]
    x: Sequence[float] = [float(n) for n in ahead]
    found: list[Section] = [
        ReportTable(f"By step ahead, of {step} each", ("step", "forecasts", *_NAMES), rows, _SHARES)
    ]
    if ahead.size > 1:
        covered, wanted = [lines[int(n)][2] for n in ahead], ("wanted", [nominal] * ahead.size, "truth")
        place = 0 if any(lines[int(n)][0] is not None for n in ahead) else 1  # of intermittent series WAPE says nothing
        errors = [lines[int(n)][place] for n in ahead]
        title = f"{_NAMES[place].upper()} by step ahead"
        found.append(ReportCurve(title, x, [(_NAMES[place].upper(), errors, "ours")], share=not place, zero=True))
        title = "Coverage of intervals by step ahead"
        found.append(ReportCurve(title, x, [("coverage", covered, "ours"), wanted], share=True))
    return found


def _by_series(scored: Backtest, judged: Any, history: History) -> list[Section]:
    """The series whose errors weigh most, and how many others there are."""
    size = len(key_texts(history.keys))
    if size < 2:
        return []
    error = np.where(judged, np.abs(scored.actual - scored.value), 0.0)
    total = np.bincount(scored.series, weights=error, minlength=size).astype(float)
    count = np.bincount(scored.series, weights=judged.astype(float), minlength=size)
    order = [int(place) for place in np.argsort(-total, kind="stable") if count[place]]
    names = [", ".join("-" if value is None else str(value) for value in row) for row in history.keys.rows()]
    whole = total.sum() or 1.0
    rows = [
        (names[place], int(count[place]), float(total[place] / whole), *_of(scored, judged & (scored.series == place)))
        for place in order[:_SERIES]
    ]
    header = ("series", "forecasts", "share of all errors", *_NAMES)
    table = ReportTable("By series, the largest errors first", header, rows, ("share of all errors", *_SHARES))
    more = len(order) - len(rows)
    return [table, *([ReportSentence(f"{more:,} other series are not shown.", note=True)] if more > 0 else [])]


def importance(fit: Fit, history: History, *, workers: int) -> Importance:
    """How much each feature matters, from what the newest forecasts of some series are made of, evenly taken.

    Args:
        fit: The fit, with its twin: what shuffling costs is told by what came true after the twin was fitted.
        history: The series, up to the origin.
        workers: Threads; no number depends on them.
    """
    from headrace.models.forecast import ForecastModel
    from headrace.models.forecast_parts import forecast_parts
    from headrace.models.forecast_permuted import permuted_growth

    model, twin = fit.model, fit.measured
    if not isinstance(model, ForecastModel):
        return Importance(reason=f"a {type(model).__name__} gives forecasts alone")
    if not model.taught:
        return Importance(reason="nothing was learnt")
    count = len(key_texts(history.keys))
    series = np.unique(np.linspace(0, count - 1, min(count, _EXPLAINED)).astype(np.intp))
    try:
        parts = forecast_parts(model, history, series, np.full(series.size, history.length - 1), threads=workers)
    except HeadraceError as error:  # one that cannot tell keeps its card
        return Importance(reason=error.message)
    sizes = {name: float(np.nanmean(np.abs(added))) for name, added in parts.features.items()}
    growth = None
    if isinstance(twin, ForecastModel) and twin.taught:
        growth = permuted_growth(twin, history, fit.scores, threads=workers)
    return Importance.of(sizes, parts.base.size, model.frame.target, _gains(model), growth)


def _gains(model: ForecastModel) -> dict[str, float]:
    """The mean share of each feature in the gain of a member's splits."""
    gained = dict.fromkeys(model.features.names, 0.0)
    for (_, booster), features in zip(model.members, model.bound, strict=True):
        assert isinstance(booster, Booster)
        gains = booster.gains()
        for name, share in zip(features.names, gains / (gains.sum() or 1.0), strict=True):
            gained[name] += float(share) / len(model.members)
    return gained
