"""Alerts of systems that predict rows, whose truth is told later: errors, baselines, intervals, and drift."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

import headrace as hr
from headrace import Classifier, Column, Contract, Linear, Monitoring, Regressor, Schedule, Source, System, console
from headrace.drift.declared import DriftLimits
from headrace.errors import NotFoundError
from headrace.features import col
from headrace.flow.verify import verify
from headrace.home import DRIFT, DRIFT_COUNTS, READINGS
from headrace.policy.monitoring import Coverage, Drifted, Threshold, WorseThanBaseline, WorseThanHeldOut
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options

BEGIN = datetime(2024, 3, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
COUNT = 80
WRONG = range(3, 6)
"""Days whose rows of one shop turn out to be otherwise than the model learnt."""
OLDER = range(2, 5)
"""Days whose rows are older than those that the model learnt from."""
FEW = {"min_support": 20, "consecutive": 2}
SHARED = (Drifted(), WorseThanBaseline(warn=0, alarm=0.2, blocks=2, sure=1, **FEW))
RULES = {
    "alive": (
        Threshold("accuracy", warn=0.8, alarm=0.5, by="shop", **FEW),
        WorseThanHeldOut("log_loss", by="shop", **FEW),
    ),
    "price": (
        Threshold("rmse", warn=3, alarm=6, by="shop", **FEW),
        Coverage(by="shop", blocks=2, warn=0.05, alarm=0.3, sure=2, **FEW),
    ),
}
MODELS = {
    "alive": Classifier(members=(Linear(),)),
    "price": Regressor(members=(Linear(),), coverage=0.8),
}
TARGETS = {
    "alive": Column("alive", "integer", values=(0, 1), nullable=True),
    "price": Column("price", "float", nullable=True),
}


def system(target: str) -> System:
    return System(
        name=target,
        source=Source(),
        contract=Contract(
            columns=(Column("id", "integer"), Column("age", "float"), Column("shop", "category"), TARGETS[target])
        ),
        keys=("id",),
        target=target,
        features={"age": col("age")},
        model=MODELS[target],
        schedule=Schedule(predict="never", train="never"),
        monitoring=Monitoring(window="2d", every="1d", rules=(*SHARED, *RULES[target]), drift=DriftLimits(window="2d")),
    )


def rows(target: str, day: int, *, told: bool) -> pl.DataFrame:
    """The rows of a day, or the same with their truth."""
    count = 10 * COUNT if day == 0 else COUNT
    rng = np.random.default_rng(day)
    age = rng.gamma(9, 1, count) + (4 if day in OLDER else 0)
    shop = np.where(np.arange(count) % 2 == 0, "north", "south")
    wrong = (shop == "south") & (day in WRONG)
    price = 20 - age + rng.normal(0, 1, count) + np.where(wrong, 12, 0)
    alive = (age + rng.normal(0, 0.5, count) < 9) ^ wrong
    truth = pl.Series(target, price if target == "price" else alive.astype(int))
    frame = pl.DataFrame({"id": np.arange(count) + 10_000 * day, "age": age, "shop": shop, target: truth})
    return frame if told else frame.with_columns(pl.lit(None, truth.dtype).alias(target))


@pytest.fixture(scope="module", params=["alive", "price"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> hr.BoundSystem:
    """Eleven days, each with the rows of that day, and the truth of those of the day before."""
    target, folder = request.param, tmp_path_factory.mktemp(request.param)
    s = hr.open(folder / "home", clock=lambda: BEGIN + 30 * DAY, quiet=True).system(system(target))
    for day in range(11):
        parts = [rows(target, day, told=day == 0)] + ([rows(target, day - 1, told=True)] if day > 1 else [])
        path = folder / f"{day}.csv"
        pl.concat(parts).write_csv(path)
        (s.predict if 0 < day < 10 else s.run)(BEGIN + day * DAY, source=f"file:{path}")
    return s


def test_errors_of_a_shop_are_raised_and_closed(watched: hr.BoundSystem) -> None:
    raised = {alert.rule: alert for alert in watched.alerts()}
    for rule in RULES[watched.name]:
        alert = raised[rule.called]
        assert (alert.severity, alert.scope) == ("alarm", {"shop": "south"})
        assert BEGIN + 4 * DAY < alert.raised_at < BEGIN + 7 * DAY
        assert alert.closed_at is not None
        assert BEGIN + 7 * DAY < alert.closed_at < BEGIN + 10 * DAY
    assert len(watched.alerts()) == len(raised)
    assert raised["worse than baseline"].closed_at is not None


def test_drift_is_raised_and_closed_and_what_is_stable_is_not(watched: hr.BoundSystem) -> None:
    (alert,) = [alert for alert in watched.alerts() if alert.rule == "drifted"]
    assert "age" in alert.evidence["columns"]
    assert BEGIN + 2 * DAY < alert.raised_at < BEGIN + 6 * DAY
    assert alert.closed_at is not None
    assert not watched.alerts(as_of=BEGIN + 2 * DAY)


def test_alerts_outlive_a_copy_a_pruning_and_a_new_name_and_go_with_the_system(
    watched: hr.BoundSystem, tmp_path: Path
) -> None:
    shutil.copytree(watched.workspace.path, tmp_path / "home")
    home = hr.open(tmp_path / "home", clock=lambda: BEGIN + 30 * DAY, quiet=True)
    alerts = [alert.as_dict() for alert in watched.alerts()]
    assert verify(home.reading, deep=True)["ok"]
    assert {READINGS, DRIFT, DRIFT_COUNTS} <= set(home.disk(watched.name)["name"])
    home.prune("1d", system=watched.name, runs=0, dry=False)
    assert [alert.as_dict() for alert in home.system(watched.declaration).alerts()] == alerts
    home.rename(watched.name, "other")
    other = home.system(watched.declaration.model_copy(update={"name": "other"}))
    renamed = [alert.as_dict() for alert in other.alerts()]
    assert [{**alert, "id": ""} for alert in renamed] == [{**alert, "id": ""} for alert in alerts]
    with pytest.raises(NotFoundError, match="no data yet"):
        home.system(watched.declaration).alerts()
    home.delete("other")
    for ask in (other.alerts, other.why):
        with pytest.raises(NotFoundError, match="no data yet"):
            ask()
    assert home.reading.store.tables("other") == []


def test_the_endpoint_and_the_terminal_tell_the_same(
    watched: hr.BoundSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    alerts = watched.alerts()
    options = Options(access_log="off")
    application = Application([watched.declaration], watched.workspace.home, options, registry=CollectorRegistry())
    with TestClient(application) as client:
        answer = client.get(f"/v1/systems/{watched.name}/alerts")
    assert (answer.status_code, answer.json()["alerts"]) == (200, [alert.as_dict() for alert in alerts])
    console.print_alerts(watched.name, alerts, as_json=False)
    console.print_chain(watched.name, watched.why(), 20, as_json=False)
    out = capsys.readouterr().out
    assert "0 open" in out
    for alert in alerts:
        assert f"{alert.raised_at:%Y-%m-%d %H:%M}" in out
        assert alert.line in out
    assert "is well again" in out
    assert "version 1 was trained because there is no champion" in out
