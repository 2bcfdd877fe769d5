"""The learners that headrace brings do what every learner must, and a forecaster of frames what every one must."""

import polars as pl
import pytest

from headrace.models.boosting import Boosting
from headrace.models.factorisation import Factorisation
from headrace.models.kernel import Kernel
from headrace.models.linear import Linear
from headrace.models.network import Network
from headrace.testing import ForecasterSuite, LearnerSuite


class TestLinear(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Linear(C=1.0)


class TestBoosting(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Boosting(n_estimators=20, min_child_samples=5)


class TestFactorisation(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Factorisation(factors=4, rounds=30)


class TestKernel(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Kernel(tuned_rows=80)


class TestNetwork(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Network(hidden=(16, 8), copies=2, batch=16, epochs=6, penalty=0.01)


class TestBoostingOfCopies(LearnerSuite):
    @pytest.fixture
    def learner(self):
        return Boosting(n_estimators=20, min_child_samples=5, copies=2)


class Last:
    """Repeats what was a day ago."""

    def fit(self, frame):
        return self

    def predict(self, frame, horizon):
        newest = frame.group_by("unique_id", maintain_order=True).tail(24)
        hours = pl.int_range(pl.len()).over("unique_id")
        return newest.filter(hours < horizon).select("unique_id", pl.col("ds").dt.offset_by("24h"), forecast="y")


class TestLast(ForecasterSuite):
    @pytest.fixture
    def forecaster(self):
        return Last()
