"""An alert that people were told of, and that facts withdraw which were known before and are stored late."""

from __future__ import annotations

import pytest
from tests.worlds.flow import last, system_of, world

import headrace
from headrace import Monitoring
from headrace.loop import notify as telling
from headrace.policy.monitoring import StaleSource

RULE = StaleSource(by="series", ended="4d", pauses=5)
TOLD = Monitoring(baselines=("12h", "24h"), window="3d", rules=(RULE,), notify=("OPS",))
SYSTEM = system_of().model_copy(update={"monitoring": TOLD})


class Killed(BaseException):
    """As kill -9 would, when all is kept and nothing is sent."""


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setenv("OPS", "json://127.0.0.1:9/hook")
    monkeypatch.setattr(telling, "by_apprise", lambda _, title, text, kind: messages.append((title, text)))
    return messages


def test_late_facts_that_withdraw_an_alert_are_told_once(tmp_path, sent, monkeypatch):
    whole = world(3, places=3, ahead=False)
    gap = (whole["place"] == "p1") & (whole["time"] >= last(144)) & (whole["time"] < last(48))
    lacking, late = tmp_path / "lacking.parquet", tmp_path / "late.parquet"
    whole.filter(~gap).write_parquet(lacking)
    whole.write_parquet(late)
    bound = headrace.open(tmp_path / "home").system(SYSTEM)
    bound.ingest(last(144), source=f"file:{lacking}")
    for back in (144, 120, 96, 72):
        bound.run(last(back), source=f"file:{lacking}")
    assert [title for title, _ in sent] == ["world: 1 warning", "world: 1 alarm"], "of the series that seems silent"

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(telling, "deliver", dies)
        with pytest.raises(Killed):
            bound.run(last(48), source=f"file:{late}")
    assert bound.alerts() == []
    for back in (48, 0):
        bound.run(last(back), source=f"file:{late}")
    assert [title for title, _ in sent[2:]] == ["world: 1 alert withdrawn"]
    assert "told was: warning: stale source by series of place p1" in sent[-1][1]
