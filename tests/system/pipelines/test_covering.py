"""A challenger that knows more series has a say: it takes the place unless it is worse on those that both know."""

from datetime import timedelta

import pytest
from tests.worlds import stream as worlds

from headrace.flow.run import RunRequest, run
from headrace.tasks import gate
from headrace.tasks.gate import Match, covering, judged

CHAMPION = {"wape": 0.20, "rmse": 10.0, "mape": 0.3}


@pytest.mark.parametrize(
    ("ours", "takes"),
    [
        ({"wape": 0.208, "rmse": 10.4, "mape": 0.31}, True),
        ({"wape": 0.23, "rmse": 10.0, "mape": 0.3}, False),
        ({"wape": 0.19, "rmse": 12.0, "mape": 0.3}, False),
    ],
)
def test_it_may_be_a_little_worse_on_the_common_ones(ours, takes):
    found = covering(Match(ours, CHAMPION), 1, 3)
    assert (found is not None) is takes
    if found is not None:
        assert not judged(Match(ours, CHAMPION), 1)[1]
        assert "covers 3 series that version 1 does not know" in found[0]


def test_nothing_matured_of_the_common_ones():
    assert covering(Match({}, {}), 1, 1) == (
        "covers 1 series that version 1 does not know, and nothing of the others has matured",
        True,
    )


def test_a_new_series_is_not_locked_out(tmp_path, monkeypatch):
    """The gate refuses the version by its scores; it knows one more series, and is as good on the others."""
    home = worlds.train(tmp_path)
    later, source = (
        worlds.TRAINED + timedelta(days=2),
        worlds.SOURCE.replace("series=8", "series=9").replace("20", "30"),
    )
    monkeypatch.setattr(gate, "judged", lambda *_: ("does not beat version 1", False))
    request = RunRequest(later, later, source, ("ingest", "validate", "train"), retrain=True)
    trained = run(worlds.system(), home, request).trained
    assert trained.promoted, trained.reason
    assert "covers 1 series" in trained.reason
