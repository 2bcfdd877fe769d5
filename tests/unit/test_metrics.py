"""Metrics against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import metrics

A = np.array([100.0, 200.0, 0.0, np.nan, 50.0])
P = np.array([110.0, 180.0, 10.0, 5.0, np.nan])


def test_hand_computed():
    assert metrics.mape(A, P) == pytest.approx((0.1 + 0.1) / 2)
    assert metrics.wape(A, P) == pytest.approx(40 / 300)
    assert metrics.rmse(A, P) == pytest.approx(math.sqrt((100 + 400 + 100) / 3))
    assert metrics.bias(A, P) == pytest.approx(0)
    assert metrics.smape(A, P) == pytest.approx((20 / 210 + 40 / 380 + 2) / 3)
    assert metrics.mase(A, P, 10.0) == pytest.approx(4 / 3)
    assert metrics.coverage(A, P - 10, P + 10) == pytest.approx(2 / 3)
    assert metrics.pinball(A, P, 0.9) == pytest.approx((1 + 18 + 1) / 3)
    assert metrics.rmsse(A, P, 10.0) == pytest.approx(math.sqrt(2))
    assert metrics.winkler(A, A + 1, A + 2, 0.9)[0] == pytest.approx(1 + 20)
    assert metrics.seasonal_scale(np.array([1.0, 2.0, 4.0, 4.0]), 2) == pytest.approx(2.5)


def test_nothing_to_compare_is_not_zero():
    none = np.array([np.nan])
    for metric in (metrics.mape, metrics.wape, metrics.rmse, metrics.bias, metrics.smape):
        assert math.isnan(metric(none, none))
    assert math.isnan(metrics.mape(np.zeros(2), np.ones(2)))
    assert math.isnan(metrics.wape(np.zeros(2), np.ones(2)))
    assert math.isnan(metrics.mase(np.ones(2), np.ones(2), 0.0))
    assert math.isnan(metrics.seasonal_scale(np.ones(3), 24))


PAIRS = st.lists(st.tuples(st.booleans(), st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])), min_size=2, max_size=60)


@given(PAIRS)
def test_property_scores_of_probabilities_are_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

    actual, said = np.array([float(a) for a, _ in pairs]), np.array([p for _, p in pairs])
    found = metrics.of_probabilities(actual, said)
    clipped = np.clip(said, 1e-15, 1)
    assert found["accuracy"] == pytest.approx(accuracy_score(actual, said >= 0.5))
    assert found["brier"] == pytest.approx(brier_score_loss(actual, said, labels=[0, 1]))
    if 0 < actual.sum() < actual.size:
        assert found["auc"] == pytest.approx(roc_auc_score(actual, said))
        inner = (said > 1e-14) & (said < 1 - 1e-14)
        if 0 < actual[inner].sum() < inner.sum():
            ours = metrics.log_loss(actual[inner], clipped[inner])
            assert ours == pytest.approx(log_loss(actual[inner], clipped[inner], labels=[0, 1]))
    else:
        assert np.isnan(found["auc"])
    assert np.isfinite(found["log_loss"])


def test_scores_of_probabilities_by_hand() -> None:
    actual, said = np.array([1.0, 0.0, 1.0, np.nan]), np.array([0.8, 0.4, 0.3, 0.5])
    assert metrics.log_loss(actual, said) == pytest.approx(-(np.log(0.8) + np.log(0.6) + np.log(0.3)) / 3)
    assert metrics.brier(actual, said) == pytest.approx((0.04 + 0.16 + 0.49) / 3)
    assert metrics.auc(actual, said) == 0.5
    assert metrics.accuracy(actual, said) == pytest.approx(2 / 3)
    assert metrics.accuracy(actual, said, threshold=0.3) == pytest.approx(2 / 3)
    assert metrics.auc(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == 0.5
    assert metrics.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(-np.log(1e-15))


def test_figures_that_are_told_apart() -> None:
    assert metrics.apart(0.123456, 0.2) == "0.1235 to 0.2"
    assert metrics.apart(0.37081, 0.37084) == "0.37081 to 0.37084"
    assert metrics.apart(0.5, 0.5) == "0.5, the same"
    assert metrics.apart(1.0, np.nextafter(1.0, 2.0), "against") == "1 against 1.0000000000000002"
    assert metrics.apart(0.4, float("inf")) == "0.4 to inf"
