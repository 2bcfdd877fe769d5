"""Equal fits give equal files: the digest of a model enters the identity of every prediction."""

from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from tests.unit.models import test_estimator as rows
from tests.unit.models import test_frames as series

from headrace import Estimator, Function
from headrace.models import pickles
from headrace.models.regressor_member import fit_regressor
from headrace.registry.artefact import folder_digest


def searched(output):
    return GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)


def piped(output):
    return rows.pipeline(LogisticRegression())


class Counting(rows.Own):
    """Notes what it is asked, as a cache does."""

    asked = 0

    def predict(self, frame):
        self.asked += 1
        return super().predict(frame)


def local_class():
    """A class that is stored as a whole, as no module has it by name."""

    class Local(Counting):
        def predict(self, frame):
            return super().predict(frame) + 1

    return Local


MEMBERS = {
    "pipeline": (piped, "binary", rows.FEATURES),
    "search": (searched, "binary", rows.NUMBERS),
    "xgboost": (rows.xgboost, "binary", rows.NUMBERS),
    "lightgbm": (rows.lightgbm, "multiclass", rows.NUMBERS),
    "catboost": (rows.catboost, "regression", rows.NUMBERS),
    "own": (lambda output: Counting(), "regression", rows.NUMBERS),
}


def digest(fitted, folder, made_first=False):
    if made_first:
        folder.mkdir()
    fitted.save(folder)
    return folder_digest(folder)


def fitted_member(name):
    make, output, features = MEMBERS[name]
    return rows.fit(Estimator(model=make(output)), output, features)


@pytest.mark.parametrize("name", MEMBERS)
def test_equal_fits_of_rows_give_equal_files_whether_or_not_they_were_asked(name, tmp_path):
    (first, encoder), (second, _) = fitted_member(name), fitted_member(name)
    rows.answers(second, encoder, rows.table(40, seed=3))
    digests = {digest(first, tmp_path / "a"), digest(second, tmp_path / "b")}
    rows.answers(first, encoder, rows.table(5, seed=4))
    assert digests == {digest(first, tmp_path / "c")}


def test_equal_fits_of_series_give_equal_files_whether_or_not_they_were_asked(tmp_path):
    pytest.importorskip("statsforecast", reason="statsforecast is not installed")
    from statsforecast import StatsForecast
    from statsforecast.models import SeasonalNaive

    class Counted(series.Seasonal):
        asked = 0

        def predict(self, frame, horizon):
            self.asked += 1
            return super().predict(frame, horizon)

    y = series.history(days=12)
    for place, make in enumerate(
        (lambda: StatsForecast([SeasonalNaive(24)], "1h"), lambda: SeasonalNaive(24), Counted)
    ):
        first, second = (series.fit(make(), y).model for _ in range(2))
        series.at(second, y, 200)
        folders = [tmp_path / f"{place}{name}" for name in "ab"]
        assert len({digest(*pair, made_first=True) for pair in zip((first, second), folders, strict=True)}) == 1


def test_a_regressor_behind_features_and_a_finished_function_are_kept_as_they_were_fitted(tmp_path):
    matrix = np.random.default_rng(3).normal(size=(90, 2))

    class Noting(BaseEstimator):
        def __init__(self):
            self.asked = []

        def fit(self, matrix, target):
            self.mean_ = float(target.mean())

        def predict(self, matrix):
            self.asked.append(len(matrix))
            return np.full(len(matrix), self.mean_)

        def __call__(self, frame):
            self.asked.append(len(frame))
            return np.full(len(frame), 0.5)

    member = fit_regressor(Estimator(model=Noting()), matrix, matrix[:, 0], 3)
    member.predict(matrix)
    member.save(tmp_path / "regressor")
    assert pickles.load(tmp_path / "regressor").steps[-1][1].asked == []
    fitted, _ = rows.fit(Function(function=Noting()), "binary")
    fitted.save(tmp_path / "function")
    assert pickles.load(tmp_path / "function")[0].asked == []


def test_sets_come_back_as_they_were(tmp_path):
    value = {"mutable": {"b", "a"}, "frozen": frozenset(("c", "d")), "numbers": {1, 2}, "empty": set()}
    pickles.save(value, tmp_path / "kept")
    back = pickles.load(tmp_path / "kept")
    assert back == value
    assert [type(part) for part in back.values()] == [set, frozenset, set, set]


def test_what_your_own_code_calls_a_time_is_kept(tmp_path):
    class Own:
        def __init__(self):
            self.fit_time = datetime(2026, 1, 1, tzinfo=UTC)

    pickles.save(Own(), tmp_path / "kept")
    assert pickles.load(tmp_path / "kept").fit_time == datetime(2026, 1, 1, tzinfo=UTC)
