"""Models that other packages bring, found by kind: in configuration and when what was fitted is read."""

import json

import pytest

from headrace import Classifier
from headrace.config import override
from headrace.errors import ArtefactError, ConfigError, PluginError
from headrace.models.fitted import load_series

ACME = """
from typing import ClassVar, Literal

import numpy as np

from headrace.models.base import Fitted, Learner


class FittedCoin(Fitted):
    def scores(self, rows):
        return np.full(len(rows), 0.5)

    def save(self, path):
        path.write_text("coin")

    @classmethod
    def load(cls, path):
        return cls()


class Coin(Learner):
    kind: Literal["coin"] = "coin"
    fitted: ClassVar = FittedCoin
    sides: int = 2

    def fit(self, training):
        return FittedCoin()


class Read:
    @staticmethod
    def load(folder):
        return ("read", folder.name)


class Series:
    fitted = Read
"""


@pytest.fixture
def acme(distribution, tmp_path):
    entries = {"coin": "acme_models:Coin", "acme_series": "acme_models:Series", "broken": "acme_models:Nothing"}
    distribution("acme", "1.2", {"headrace.models": entries})
    (tmp_path / "site-packages" / "acme_models.py").write_text(ACME)


def test_a_learner_of_an_installed_package_is_found_by_its_kind(acme):
    model = override(Classifier(), {"members": [{"kind": "coin", "sides": 3}, {"kind": "linear"}]})
    assert [member.kind for member in model.members] == ["coin", "linear"]
    assert model.model_dump(mode="json")["members"][0] == {"kind": "coin", "sides": 3}


def test_a_wrong_kind_is_refused_with_those_that_there_are(acme):
    with pytest.raises(ConfigError, match=r"members\[0\]: .*'dice': one of linear, boosting, .*coin"):
        override(Classifier(), {"members": [{"kind": "dice"}]})
    with pytest.raises(PluginError, match=r"it comes with acme 1\.2"):
        override(Classifier(), {"members": [{"kind": "broken"}]})


def test_what_a_package_fitted_is_read_by_it(acme, tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"kind": "acme_series"}))
    assert load_series(tmp_path) == ("read", tmp_path.name)
    (tmp_path / "model.json").write_text(json.dumps({"kind": "unheard"}))
    with pytest.raises(ArtefactError, match="is a unheard, which nothing here reads"):
        load_series(tmp_path)
