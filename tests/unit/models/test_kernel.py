"""Gaussian processes: what is learnt is what the textbook says, and limits are kept."""

import logging

import numpy as np
import polars as pl
import pytest

from headrace.errors import DeclarationError
from headrace.features import Features, col
from headrace.models.base import Training
from headrace.models.encoding import Encoder
from headrace.models.kernel import Kernel
from headrace.models.marginal import MarginalLikelihood


def training(rows: int = 200, noise: float = 0.1) -> Training:
    generator = np.random.default_rng(3)
    frame = pl.DataFrame(
        {"bent": generator.uniform(-3, 3, rows), "idle": generator.normal(size=rows), "port": ["a", "b"] * (rows // 2)}
    )
    target = np.sin(2 * frame["bent"].to_numpy()) + (frame["port"] == "a").to_numpy()
    target = 10.0 + target + generator.normal(0, noise, rows)
    encoded = Encoder.fitted(Features({name: col(name) for name in frame.columns}), frame, target)
    return Training(encoded, encoded.encoder, target, "regression", 0, seed=1)


def test_the_gradient_is_that_of_the_likelihood() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(3, 30, 4))
    found = MarginalLikelihood(points @ points.transpose(0, 2, 1), generator.normal(size=30))
    place, step = np.array([-1.0, -0.5, 0.3, 0.1]), 1e-5
    slopes = [(found.at(place + step * way)[0] - found.at(place - step * way)[0]) / (2 * step) for way in np.eye(4)]
    assert np.allclose(found.at(place)[1], slopes, rtol=1e-5)
    covariance = np.tensordot(np.exp(place[:3]), found.kernels, 1) + np.exp(place[3]) * np.eye(30)
    expected = (found.target @ np.linalg.solve(covariance, found.target) + np.linalg.slogdet(covariance)[1]) / 2
    assert found.at(place)[0] == pytest.approx(expected)


def test_it_finds_a_bend_that_no_line_has_and_the_noise() -> None:
    data = training()
    model = Kernel().fit(data)
    errors = model.scores(data.rows) - data.target
    assert np.sqrt((errors**2).mean()) < 0.15
    parts = model.contributions(data.rows).parts[:, :, 0]
    assert parts[:, 1].std() < 0.1 * parts[:, 0].std()


def test_beyond_its_limit_it_learns_from_some_rows_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    data = training()
    with caplog.at_level(logging.WARNING):
        model = Kernel(max_rows=150).fit(data)
    assert "150 of 200 rows" in caplog.text
    assert all(len(each.points) == 150 for each in model.radials)
    again = Kernel(max_rows=150).fit(data)
    assert again.scores(data.rows).tobytes() == model.scores(data.rows).tobytes()


def test_a_target_that_is_always_the_same_is_what_it_says() -> None:
    data = training()
    same = Training(data.rows, data.encoder, np.full(200, 7.0), "regression", 0, seed=1)
    assert np.allclose(Kernel().fit(same).scores(data.rows), 7.0)


def test_it_learns_numbers_only() -> None:
    with pytest.raises(DeclarationError, match="a kernel learner has no binary output, only regression"):
        Kernel().check("binary", Features({"x": col("x")}))


def test_the_prior_of_weights_has_its_slope():
    random = np.random.default_rng(0)
    points = random.normal(size=(2, 40, 3))
    likelihood = MarginalLikelihood(np.stack([part @ part.T for part in points]), random.normal(size=40))
    at, step = np.array([-1.0, 0.5, -0.3]), 1e-5
    _, slope = likelihood.with_prior(at)
    values = [likelihood.with_prior(at + sign * step * row)[0] for row in np.eye(3) for sign in (1, -1)]
    assert np.allclose(slope, np.subtract(values[::2], values[1::2]) / (2 * step), rtol=1e-4)
