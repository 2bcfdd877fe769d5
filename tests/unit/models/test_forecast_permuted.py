"""Permutation importance of forecasts: what shuffling costs, among forecasts of time that was not learnt."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.models.test_forecast_parts import MODEL, TASK, history

from headrace.models.forecast_permuted import SAMPLED, permuted_growth


@pytest.fixture(scope="module")
def fitted():
    y = history()
    return y, MODEL.fit(TASK, y, y.length - 1)


def test_what_is_shuffled_costs_where_the_members_look(fitted):
    y, fit = fitted
    growth = permuted_growth(fit.measured, y, fit.scores)
    assert list(growth) == list(fit.model.features.names)
    assert max(growth.values()) > 0.01
    dearest = max(growth, key=growth.get)
    gained = sum(booster.gains()[list(growth).index(dearest)] for _, booster in fit.measured.members)
    assert gained > 0
    never = [n for p, n in enumerate(growth) if not any(b.gains()[p] for _, b in fit.measured.members)]
    assert all(growth[name] == 0 for name in never)


def test_the_same_model_says_the_same_in_any_number_of_threads(fitted):
    y, fit = fitted
    first = permuted_growth(fit.measured, y, fit.scores)
    assert permuted_growth(fit.measured, y, fit.scores, threads=2) == first


def test_what_is_shuffled_is_what_was_forecast(fitted):
    """Without a shuffle the members' mean is the twin's own forecast."""
    from headrace.models.forecast_permuted import _ForecastSample

    y, fit = fitted
    chosen = np.flatnonzero(~np.isnan(fit.scores.actual))[:: max(fit.scores.actual.size // SAMPLED, 1)]
    scores = fit.scores.only(chosen[~np.isnan(fit.scores.value[chosen])])
    known = fit.measured.from_time(None).forecast(y, scores.series, scores.origin).known >= fit.measured.enough
    scores = scores.only(known)
    expected = np.abs(scores.actual - scores.value).sum() / np.abs(scores.actual).sum()
    assert _ForecastSample(fit.measured, y, scores, 1).error() == pytest.approx(expected, rel=1e-9)


def test_nothing_is_said_where_nothing_came_true(fitted):
    y, fit = fitted
    nothing = fit.scores.only(np.zeros(fit.scores.actual.size, dtype=bool))
    assert permuted_growth(fit.measured, y, nothing) is None
