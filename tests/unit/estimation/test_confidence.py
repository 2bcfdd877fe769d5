"""Metrics that follow from probabilities: small cases by hand, and what holds of all."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from tests.effort import rounds

from headrace import metrics
from headrace.estimation.calibration import Calibration, Isotonic, one_hot
from headrace.estimation.confidence import Answers, Array, confusion, expected, metrics_of
from headrace.estimation.reference import HeldOutReference


def two(p: Array, threshold: float = 0.5) -> Answers:
    return Answers(np.column_stack([1 - p, p]), (p >= threshold).astype(np.intp))


def many(rng: np.random.Generator, rows: int, classes: int) -> Answers:
    stated = rng.dirichlet(np.full(classes, 0.7), rows)
    return Answers(stated, stated.argmax(axis=1))


def drawn(rng: np.random.Generator, chances: Array) -> np.ndarray:
    """What happens with these probabilities."""
    return (rng.random((len(chances), 1)) > np.cumsum(chances, axis=1)).sum(axis=1).clip(max=chances.shape[1] - 1)


def test_of_two_rows_all_is_as_by_hand() -> None:
    answers = two(np.array([0.9, 0.2]))
    chances = np.array([[0.3, 0.7], [0.6, 0.4]])  # otherwise than it was said
    assert confusion(answers, chances).tolist() == [[0.6, 0.3], [0.4, 0.7]]
    found = expected(answers, chances)
    assert found["accuracy"] == pytest.approx((0.7 + 0.6) / 2)
    assert found["precision"] == pytest.approx(0.7)
    assert found["recall"] == pytest.approx(0.7 / 1.1)
    assert found["f1"] == pytest.approx(1.4 / 2.1)
    wanted = -(0.7 * np.log(0.9) + 0.3 * np.log(0.1) + 0.4 * np.log(0.2) + 0.6 * np.log(0.8)) / 2
    assert found["log_loss"] == pytest.approx(wanted)
    assert found["brier"] == pytest.approx((0.7 * 0.01 + 0.3 * 0.81 + 0.4 * 0.64 + 0.6 * 0.04) / 2)
    # The first row alone is of the second class in .7 * .6 of all cases, the second row alone in .3 * .4.
    assert found["auc"] == pytest.approx(0.42 / (0.42 + 0.12))


def test_where_nothing_can_be_said_there_is_no_number() -> None:
    nobody = two(np.array([0.1, 0.2]))
    assert np.isnan(expected(nobody, nobody.stated)["precision"])
    assert np.isnan(expected(nobody, np.array([[1.0, 0.0], [1.0, 0.0]]))["auc"])
    assert all(map(np.isnan, expected(two(np.array([])), np.empty((0, 2))).values()))


def test_with_what_happened_it_is_the_metric_itself() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(500).round(2)  # with ties
    truth = (rng.random(500) < p).astype(np.intp)
    found = expected(two(p, 0.3), one_hot(truth, 2))
    for name, value in metrics.of_probabilities(truth.astype(float), p, 0.3).items():
        assert found[name] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_the_mean_over_all_that_may_happen(classes: int) -> None:
    """The expectation by adding up every outcome of a few rows, each as likely as the probabilities say."""
    for seed in range(rounds(3, 100)):
        answers = many(np.random.default_rng(seed), 5, classes)
        outcomes = [np.array(each) for each in product(range(classes), repeat=5)]
        weights = [float(np.prod(answers.stated[np.arange(5), each])) for each in outcomes]
        each_metrics = [expected(answers, one_hot(each, classes)) for each in outcomes]
        found = expected(answers, answers.stated)
        for name in ("accuracy", "log_loss", "brier"):
            mean = sum(weight * one[name] for weight, one in zip(weights, each_metrics, strict=True))
            assert found[name] == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_right_probabilities_the_metric_is_as_expected_also_of_other_rows(classes: int) -> None:
    """Ratios too, within what chance allows: on the rows of the reference, and on harder ones."""
    for seed in range(rounds(2, 30)):
        rng = np.random.default_rng(seed)
        before = many(rng, 4000, classes)
        reference = HeldOutReference.of(tuple(range(classes)), drawn(rng, before.stated), before)
        assert not reference.calibration.curves
        harder = before.stated[before.stated.max(axis=1) < 0.8]
        for stated in (before.stated, harder):
            answers = Answers(stated, stated.argmax(axis=1))
            estimated = expected(answers, reference.chances(stated))
            realised = expected(answers, one_hot(drawn(rng, stated), classes))
            for name in metrics_of(classes):
                assert abs(estimated[name] - realised[name]) < 4.5 * reference.deviation(name, len(stated))


def test_samples_scatter_as_the_reference_says() -> None:
    rng = np.random.default_rng(3)
    for classes in (2, 3):
        answers = many(rng, 20_000, classes)
        reference = HeldOutReference.of(tuple(range(classes)), drawn(rng, answers.stated), answers)
        samples = []
        for _ in range(150):
            sample = many(rng, 300, classes)
            samples.append(expected(sample, one_hot(drawn(rng, sample.stated), classes)))
        for name in metrics_of(classes):
            scatter = float(np.std([one[name] for one in samples]))
            assert reference.deviation(name, 300) == pytest.approx(scatter, rel=0.25), name


def test_the_nearest_function_that_never_falls() -> None:
    for seed in range(rounds(5, 200)):
        rng = np.random.default_rng(seed)
        x = rng.integers(0, 8, 30) / 8
        y = (rng.random(30) < 0.2 + 0.6 * x).astype(float)
        found = Isotonic.fit(x, y)
        places = np.unique(x)
        means = np.array([[y[(x >= a) & (x <= b)].mean() if a <= b else np.nan for b in places] for a in places])
        wanted = [max(np.nanmin(means[a, i:]) for a in range(i + 1)) for i in range(places.size)]
        assert found(places) == pytest.approx(wanted)
        assert found(np.array([-1.0, 2.0])) == pytest.approx([wanted[0], wanted[-1]])


@pytest.mark.parametrize("classes", [2, 4])
def test_a_model_that_is_too_sure_is_put_right_and_one_that_is_right_is_left(classes: int) -> None:
    rng = np.random.default_rng(5)
    answers = many(rng, 4000, classes)
    truth = drawn(rng, answers.stated)
    assert not Calibration.fit(truth, answers.stated).curves
    sure = answers.stated**4 / (answers.stated**4).sum(axis=1, keepdims=True)
    calibration = Calibration.fit(truth, sure)
    assert calibration(sure).sum(axis=1) == pytest.approx(1)
    too_sure = Answers(sure, sure.argmax(axis=1))
    realised = expected(too_sure, one_hot(truth, classes))
    found = expected(too_sure, calibration(sure))
    naive = expected(too_sure, sure)
    for name in ("accuracy", "log_loss", "brier"):
        assert abs(found[name] - realised[name]) < 0.25 * abs(naive[name] - realised[name])
    assert Calibration.from_list(calibration.as_list()) == calibration
    assert not Calibration.fit(truth[:20], sure[:20]).curves


def test_a_reference_is_read_back_as_it_was() -> None:
    rng = np.random.default_rng(7)
    answers = many(rng, 300, 3)
    reference = HeldOutReference.of(("a", "b", "c"), drawn(rng, answers.stated), answers)
    assert HeldOutReference.from_dict(reference.as_dict()) == reference
    assert reference.rows == 300
