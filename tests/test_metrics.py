"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pytest

from headrace import metrics

A = np.array([100.0, 200.0, 0.0, np.nan, 50.0])
P = np.array([110.0, 180.0, 10.0, 5.0, np.nan])


def test_hand_computed():
    assert metrics.mape(A, P) == pytest.approx((0.1 + 0.1) / 2)
    assert metrics.wape(A, P) == pytest.approx(40 / 300)
    assert metrics.rmse(A, P) == pytest.approx(math.sqrt((100 + 400 + 100) / 3))
    assert metrics.mae(A, P) == pytest.approx(40 / 3)
    assert metrics.bias(A, P) == pytest.approx(0)
    assert metrics.smape(A, P) == pytest.approx((20 / 210 + 40 / 380 + 2) / 3)
    assert metrics.mase(A, P, 10.0) == pytest.approx(4 / 3)
    assert metrics.coverage(A, P - 10, P + 10) == pytest.approx(2 / 3)
    assert metrics.seasonal_scale(np.array([1.0, 2.0, 4.0, 4.0]), 2) == pytest.approx(2.5)


def test_nothing_to_compare_is_not_zero():
    none = np.array([np.nan])
    for metric in (metrics.mape, metrics.wape, metrics.rmse, metrics.mae, metrics.bias, metrics.smape):
        assert math.isnan(metric(none, none))
    assert math.isnan(metrics.mape(np.zeros(2), np.ones(2)))
    assert math.isnan(metrics.wape(np.zeros(2), np.ones(2)))
    assert math.isnan(metrics.mase(np.ones(2), np.ones(2), 0.0))
    assert math.isnan(metrics.seasonal_scale(np.ones(3), 24))
