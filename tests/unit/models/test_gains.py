"""Gains of splits, beside those that LightGBM itself tells."""

import numpy as np

from headrace.models.booster import Booster
from headrace.models.gains import gains_of


def test_gains_are_those_of_lightgbm():
    import lightgbm

    random = np.random.default_rng(0)
    matrix = random.normal(size=(500, 4))
    target = matrix[:, 2] * 3 + matrix[:, 0] + random.normal(size=500)
    data = lightgbm.Dataset(matrix, target, free_raw_data=False)
    trained = lightgbm.train({"objective": "regression", "verbose": -1, "num_threads": 1}, data, 20)
    text = trained.model_to_string()
    found = Booster.from_text(text).gains()
    np.testing.assert_allclose(found, trained.feature_importance("gain"), rtol=1e-4)  # a text has six digits
    assert found.argmax() == 2


def test_a_model_of_single_leaves_gains_nothing():
    assert gains_of(b"tree\nTree=0\nnum_leaves=1\nsplit_feature=\nsplit_gain=\n", 3).tolist() == [0, 0, 0]
