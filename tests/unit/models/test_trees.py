import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headrace.models import booster, trees
from headrace.models.booster import Booster, fit_booster
from headrace.models.trees import Trees

FEATURES = 4
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, trees.TINY, -trees.TINY, 1e-36, -1e-36, 1e300]


def fitted(*, gaps: float = 0.1, rows: int = 600, rounds: int = 30, **params: object) -> str:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(rows, FEATURES)).round(1)
    target = matrix[:, 0] * 2 + np.sin(matrix[:, 1] * 3) + generator.normal(size=rows) / 10
    target = np.abs(target) if params.get("objective") in ("poisson", "mape") else target
    matrix[generator.random(matrix.shape) < gaps] = np.nan
    known = {"min_data_in_leaf": 5, "num_threads": 1, "num_leaves": 31, **params}
    names = [f"f{i}" for i in range(FEATURES)]
    return fit_booster(matrix, target, rounds=rounds, params=known, feature_names=names)


MODELS = {
    "missing values": fitted(objective="regression_l1"),
    "none missing": fitted(gaps=0.0),
    "two leaves": fitted(num_leaves=2, objective="quantile", alpha=0.9),
    "large trees": fitted(num_leaves=256, min_data_in_leaf=1, rounds=3, gaps=0.0, rows=2000),
    "long paths": fitted(num_leaves=100, min_data_in_leaf=1, rounds=3, lambda_l1=0.1),
    "one leaf": fitted(min_data_in_leaf=10_000, objective="mape"),
}
ELSEWHERE = {
    "poisson": fitted(objective="poisson"),
    "root": fitted(reg_sqrt=True),
    "forest": fitted(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
    "zero is missing": fitted(zero_as_missing=True),
    "257 leaves": fitted(num_leaves=257, min_data_in_leaf=1, rounds=2, gaps=0.0, rows=2000),
}


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
def test_they_give_the_bits_of_lightgbm(name: str, data: st.DataObject) -> None:
    text = MODELS[name]
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    matrix = generator.normal(size=(data.draw(st.sampled_from([0, 1, 63, 64, 65, 500])), FEATURES)).round(2)
    odd = st.one_of(st.sampled_from(ODD), st.integers(-30, 30).map(lambda n: n / 10))
    some = data.draw(hnp.arrays(np.float64, (min(len(matrix), 9), FEATURES), elements=odd))
    matrix[: len(some)] = some
    found = Trees.from_text(text.encode())
    assert found is not None
    expected = Booster.from_text(text).predict(matrix)
    assert found.predict(matrix).tobytes() == expected.tobytes()
    assert found.predict(np.asfortranarray(matrix)).tobytes() == expected.tobytes()
    with np.errstate(over="ignore"):
        narrow = matrix.astype(np.float32)
    assert found.predict(narrow).tobytes() == Booster.from_text(text).predict(narrow).tobytes()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_other_models_are_left_to_lightgbm(name: str) -> None:
    assert Trees.from_text(ELSEWHERE[name].encode()) is None


def test_blocks_of_rows_and_a_booster_that_is_asked_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODELS["missing values"]
    matrix = np.random.default_rng(1).normal(size=(3 * 128 + 7, FEATURES))
    expected = Booster.from_text(text).predict(matrix)
    monkeypatch.setattr(trees, "ROWS", 128)
    monkeypatch.setattr(booster, "MANY", 100)
    monkeypatch.setattr(booster, "READ", 2 * len(matrix))
    asked = Booster.from_text(text)
    for read in (False, True):  # once it was asked often enough
        assert asked.predict(matrix).tobytes() == expected.tobytes()
        assert ("_trees" in vars(asked)) is read
