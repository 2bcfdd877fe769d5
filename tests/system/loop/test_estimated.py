"""Estimated performance of systems of classes: no truth comes, rows become harder, and then the truth does come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

import headrace as hr
from headrace import Classifier, Column, Contract, Linear, Monitoring, Regressor, Schedule, Source, System, console
from headrace.config import override
from headrace.errors import ArtefactError, UsageError
from headrace.features import col
from headrace.loop import readings
from headrace.loop.evaluate import evaluate, policy_of
from headrace.policy.monitoring import EstimatedPerformance, Reading
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.tasks.rows.estimated import REFERENCE, estimates, read_reference
from headrace.tasks.watched import EstimateRequest

BEGIN = datetime(2024, 3, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
COUNT, HARD, LAST = 200, 2, 4
KINDS = ("low", "middle", "high")
RULES = (
    EstimatedPerformance(),
    EstimatedPerformance("accuracy", warn=0.8, truth=None, window="1d"),
    EstimatedPerformance("accuracy", name="accuracy of a day", warn=0.7, window="1d"),
)


def system() -> System:
    return System(
        name="sizes",
        source=Source(),
        contract=Contract(
            columns=(
                Column("id", "integer"),
                Column("age", "float"),
                Column("size", "category", values=KINDS, nullable=True),
            )
        ),
        keys=("id",),
        target="size",
        features={"age": col("age")},
        model=Classifier(members=(Linear(),)),
        schedule=Schedule(predict="never", train="never"),
        monitoring=Monitoring(window="2d", every="1d", rules=RULES),
    )


def rows(day: int, *, told: bool) -> pl.DataFrame:
    """The rows of a day, or the same with their truth; from a day on all of them lie near a border."""
    count = 4 * COUNT if day == 0 else COUNT
    rng = np.random.default_rng(day)
    age = rng.uniform(0, 20, count)
    if day >= HARD:
        age = 5 + rng.normal(0, 0.3, count)
    place = ((age + rng.logistic(0, 0.7, count)) / 10 + 0.5).clip(0, 2).astype(int)
    truth = pl.Series("size", np.array(KINDS)[place])
    frame = pl.DataFrame({"id": np.arange(count) + 10_000 * day, "age": age, "size": truth})
    return frame if told else frame.with_columns(pl.lit(None, pl.String).alias("size"))


def comes(s: hr.BoundSystem, day: int, *frames: pl.DataFrame) -> None:
    """Some rows come, those without a truth are predicted, and readings are made."""
    path = s.workspace.path.parent / f"{day}.csv"
    pl.concat(frames).write_csv(path)
    (s.predict if day else s.run)(BEGIN + day * DAY, source=f"file:{path}")
    evaluate(s.declaration, s.workspace.home, as_of=BEGIN + day * DAY)


def opened(folder: Path, declared: System) -> hr.BoundSystem:
    return hr.open(folder / "home", clock=lambda: BEGIN + 30 * DAY, quiet=True).system(declared)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> hr.BoundSystem:
    """Days whose rows are asked for; the truth of all of them comes on the last."""
    s = opened(tmp_path_factory.mktemp("sizes"), system())
    for day in range(LAST):
        comes(s, day, rows(day, told=day == 0))
    comes(s, LAST, *(rows(day, told=True) for day in range(1, LAST)), rows(LAST, told=False))
    return s


def kept(s: hr.BoundSystem, declared: System) -> list[Reading]:
    return readings.read(s.workspace.home, "sizes", policy_of(declared))


def test_harder_rows_are_told_before_their_truth_comes(watched: hr.BoundSystem) -> None:
    raised = {alert.rule: alert for alert in watched.alerts()}
    for name in ("estimated performance", "estimated accuracy"):
        alert = raised[name]
        assert alert.severity == "warning"
        assert BEGIN + HARD * DAY < alert.raised_at < BEGIN + (HARD + 2) * DAY
        assert alert.evidence["matured"] == 0
    assert not watched.alerts(as_of=BEGIN + HARD * DAY)


def test_estimates_stand_beside_the_truth_and_agree_with_it(
    watched: hr.BoundSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    before = watched.drift(as_of=BEGIN + (LAST - 1) * DAY).performance
    assert before is not None
    assert (before.rows, before.matured) == (2 * COUNT, 0)
    assert all(item.realised is None for item in before.metrics)
    drift = watched.drift()
    performance = drift.performance
    assert performance is not None
    assert (performance.rows, performance.matured) == (2 * COUNT, COUNT)  # today's rows have none
    for item in performance.metrics:
        assert item.estimated is not None
        assert item.realised is not None
        assert abs(item.estimated - item.realised) < 4 * item.deviation, item
    accuracy = next(item for item in performance.metrics if item.name == "accuracy")
    assert accuracy.estimated is not None
    assert accuracy.estimated < 0.75 < 0.85 < accuracy.held_out
    console.print_drift(drift, as_json=False)
    assert "performance, by the probabilities of 400 predictions; of 200 the truth is known" in capsys.readouterr().out
    options = Options(access_log="off")
    application = Application([watched.declaration], watched.workspace.home, options, registry=CollectorRegistry())
    with TestClient(application) as client:
        answer = client.get("/v1/systems/sizes/drift").json()
    assert answer["performance"] == performance.as_dict()


def test_readings_are_the_same_live_late_and_repeated(watched: hr.BoundSystem) -> None:
    home = watched.workspace.home
    assert evaluate(watched.declaration, home, as_of=BEGIN + LAST * DAY).readings == 0
    renamed = (RULES[0].model_copy(update={"name": "anew"}), *RULES[1:])
    monitoring = watched.declaration.monitoring.model_copy(update={"rules": renamed})
    late = watched.declaration.model_copy(update={"monitoring": monitoring})
    assert policy_of(late) != policy_of(watched.declaration)
    evaluate(late, home, as_of=BEGIN + LAST * DAY)
    anew = [replace(each, rule=RULES[0].called) if each.rule == "anew" else each for each in kept(watched, late)]
    order = attrgetter("time", "rule")
    assert sorted(anew, key=order) == sorted(kept(watched, watched.declaration), key=order)


def test_a_version_may_lack_its_reference_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / REFERENCE).write_text('{"rows": 3}')
    with pytest.raises(ArtefactError, match="held out"):
        read_reference(tmp_path)
    (tmp_path / REFERENCE).unlink()
    assert read_reference(tmp_path) is None


def test_numbers_and_unknown_metrics_have_no_estimate(watched: hr.BoundSystem) -> None:
    rules = [{"kind": "estimated_performance", "metric": "auc", "warn": 0.8}]
    asks = override(watched.declaration, {"monitoring": {"rules": rules}})
    with pytest.raises(UsageError, match="no estimate of 'auc'"):
        evaluate(asks, watched.workspace.home, as_of=BEGIN + LAST * DAY)
    numbers = watched.declaration.model_copy(update={"target": "age", "model": Regressor(members=(Linear(),))})
    request = EstimateRequest((BEGIN,), (BEGIN,), (1,), DAY)
    assert estimates(numbers, watched.workspace.home, request).is_empty()
    with pytest.raises(UsageError, match="estimates are of classes"):
        estimates(numbers, watched.workspace.home, replace(request, metrics=("accuracy",)))
