"""Tune: search, compare on unseen data, store, use, withdraw."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.commands import headrace
from tests.servers import SMALL, TITANIC, titanic_template
from tests.templates import template

import headrace as hr
from headrace import Classifier, Column, Contract, Forecaster, Linear, Schedule, Source, System, Tuning
from headrace.api.bound import BoundSystem
from headrace.errors import ConfigError, TuningError, UsageError
from headrace.features import col, lag
from headrace.registry.configurations import Configuration, digest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
C = {"model.members.linear.C": {"low": 0.0001, "high": 10.0, "log": True}}


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy of a home in which `shops` was ingested, trained and predicted, and of the file of its rows."""
    made = template(tmp_path_factory.getbasetemp(), "shops", _fill)
    return Path(shutil.copytree(made, tmp_path / "made"))


def _fill(folder: Path) -> None:
    """Rows whose target follows from two numbers."""
    random = np.random.default_rng(7)
    x, y = random.normal(size=(2, 400))
    bought = [*(x - 2 * y + random.normal(size=400) > 0)[:-3].astype(int).tolist(), None, None, None]
    pl.DataFrame({"id": range(400), "x": x, "y": y, "bought": bought}).write_csv(folder / "rows.csv")
    s = opened(folder, shops())
    s.ingest(source=f"file:{folder / 'rows.csv'}")
    s.train()
    s.predict()


def shops(**settings: Any) -> System:
    """A linear learner of so little strength that it says the same of everybody."""
    columns = (
        Column("id", "integer"),
        Column("x", "float"),
        Column("y", "float"),
        Column("bought", "integer", values=(0, 1), nullable=True),
    )
    declared: dict[str, Any] = {
        "model": Classifier(members=(Linear(C=0.0001),), folds=2, repeats=1),
        "tuning": Tuning(space=C, trials=3),
    }
    return System(
        name="shops",
        source=Source(uri="file:rows.csv"),
        contract=Contract(columns=columns),
        keys=("id",),
        target="bought",
        features={"x": col("x"), "y": col("y")},
        schedule=Schedule(predict="never", train="never"),
        **declared | settings,
    )


def opened(folder: Path, system: System, *settings: str) -> BoundSystem:
    return hr.open(folder / "home", clock=lambda: NOW, quiet=True).system(system, settings)


def stored(s: BoundSystem, values: dict[str, Any]) -> Configuration:
    """A configuration that won, as a search leaves one."""
    declared = s.declaration.config_digest
    found = Configuration(s.name, 0, digest(declared, values), declared, values, NOW, NOW, won=True)
    return s.workspace.home.configurations(s.name).add(found)


def test_the_best_configuration_is_used_by_trainings_and_pinned_by_versions(folder: Path) -> None:
    s = opened(folder, shops())
    search = s.tune()
    document = search.as_dict()
    assert (search.trials, search.used, search.config_version) == (3, True, 1)
    assert all(len(trial.folds) == 2 for trial in search.result.trials)
    assert document["best"]["value"] < document["present"]["value"]  # the first trial is the present configuration
    assert document["unseen"]["difference"] < 0 < document["unseen"]["error"]
    assert document["unseen"]["count"] == 80  # a fifth of the rows that have a target
    assert document["present_left_out"] is None
    best = search.best["params"]["model.members.linear.C"]
    run = s.train()
    version = s.models[run.model["version"] - 1]
    assert version.version == 2
    assert version.params["members"][0]["C"] == best
    assert (version.pins["config_version"], version.pins["configuration"]) == (1, document["config_digest"])
    assert s.declaration.model.members[0].C == 0.0001  # what is declared is as it was
    assert best == s.configured().model.members[0].C
    again = s.tune()  # the same study: nothing is tried, and what is in use is told
    assert (again.trials, again.config_version, again.used) == (3, 1, True)


def test_a_configuration_belongs_to_its_declaration_and_set_goes_over_it(folder: Path) -> None:
    s = opened(folder, shops())
    best = stored(s, {"model.members.linear.C": 0.5}).overrides["model.members.linear.C"]
    over = opened(folder, shops(), "model.folds=4")
    assert (over.configured().model.members[0].C, over.configured().model.folds) == (best, 4)
    own = opened(folder, shops(), "model.members.linear.C=3.5")
    assert own.configured().model.members[0].C == 3.5
    edited = opened(folder, shops(model=Classifier(members=(Linear(C=0.001),), folds=2, repeats=1)))
    assert edited.configured().model.members[0].C == 0.001
    assert any("configuration 1 was tuned for another declaration" in text for text in edited.train().warnings)
    assert s.withdraw(1).withdrawn
    assert s.configured() is s.declaration
    with pytest.raises(UsageError, match="was withdrawn before"):
        s.withdraw(1)


def test_what_set_replaces_of_a_configuration_is_not_said_to_be_used(folder: Path) -> None:
    system = shops()
    s = opened(folder, system)
    found = stored(s, {"model.members.linear.C": 0.5, "model.folds": 3})
    linear, folds = "model.members.linear.C=1.0", "model.folds=2"
    some = opened(folder, system, linear)
    assert (some.configured().model.members[0].C, some.configured().model.folds) == (1.0, 3)
    told = some.train()
    assert (told.model["config_version"], told.model["config_replaced"]) == (1, ["model.members.linear.C"])
    pins = some.models[told.model["version"] - 1].pins
    assert (pins["configuration"], pins["config_replaced"]) == (found.digest, ["model.members.linear.C"])
    every = opened(folder, system, linear, folds)
    assert every.configured() is every.declaration
    assert every.configuration_in_use() is None
    told = every.train()
    assert (told.model["config_version"], told.model["config_replaced"]) == (None, [])
    reason = "configuration 1 is not used: --set replaces all its values (model.folds, model.members.linear.C)"
    assert reason in told.warnings
    assert "configuration" not in every.models[told.model["version"] - 1].pins
    whole = opened(folder, system, "model.members=[{kind: boosting, n_estimators: 5}]")
    assert whole.configured().tuned == replace(found.tuned, replaced=("model.members.linear.C",))
    same = opened(folder, system, "model.folds=3")  # what it has anyway
    assert same.configured().tuned == found.tuned


def test_what_was_found_later_is_not_used_before(folder: Path) -> None:
    s = opened(folder, shops())
    configuration = stored(s, {"model.members.linear.C": 0.5})
    assert s.configured(configuration.as_of).tuned is not None
    assert s.configured(configuration.as_of - timedelta(seconds=1)).tuned is None


def test_a_search_goes_on_and_another_space_is_another_one(folder: Path) -> None:
    s = opened(folder, shops())
    one, two = s.tune(trials=1), s.tune(trials=2)
    assert one.result.study == two.result.study
    assert (two.trials, two.frame().rows()[:1]) == (2, one.frame().rows())
    other = opened(folder, shops(), "tuning.seed=1", "tuning.trials=1").tune()
    assert (other.trials, other.result.study == two.result.study) == (1, False)


def test_mistakes_are_named_before_anything_is_tried(folder: Path) -> None:
    system = shops()
    with pytest.raises(UsageError, match="nothing to search") as none:
        opened(folder, system.model_copy(update={"tuning": Tuning()})).tune()
    assert "tuning: {space: {model.members.linear.C: {low: 1e-05, high: 0.001, log: true}}}" in str(none.value)
    for space, message in [
        ({"model.members.linear.D": {"low": 1, "high": 2}}, "tuning.space.model.members.linear.D: .*no such setting"),
        ({"model.members.linear.C": {"low": -1.0, "high": 2}}, "tuning.space.model.members.linear.C: .*=-1.0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            opened(folder, system.model_copy(update={"tuning": Tuning(space=space)})).tune()
    with pytest.raises(UsageError, match="is set and searched at once"):
        opened(folder, system, "model.members.linear.C=1").tune()


def test_trials_that_all_fail_end_the_search_with_their_words(folder: Path) -> None:
    tuning = Tuning(space={"model.members.linear.C": {"low": 1.0, "high": 2.0}}, trials=20)
    system = shops(tuning=tuning, model=Classifier(members=(Linear(C=1.0),), folds=2, repeats=1))
    s = opened(folder, system)
    from headrace.models.linear import Linear as Learner

    with pytest.MonkeyPatch.context() as patch:

        def fit(self: Any, training: Any) -> Any:
            raise TuningError("no fit today")

        patch.setattr(Learner, "fit", fit)
        with pytest.raises(TuningError, match="10 failed, the last with TuningError: no fit today"):
            s.tune(workers=1)


def test_series_are_judged_from_origins_that_no_trial_saw(folder: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    hours = pl.datetime_range(NOW - timedelta(days=30), NOW, "1h", eager=True, time_zone="UTC", closed="left")
    level = 100 + 30 * np.sin(np.arange(len(hours)) * 2 * np.pi / 24) + random.normal(size=len(hours))
    file = tmp_path / "series.csv"
    pl.DataFrame({"time": hours, "value": level}).write_csv(file)
    system = System(
        name="loads",
        source=Source(uri=f"file:{file}", lag="0h"),
        contract=Contract(columns=(Column("time", "time"), Column("value", "float"))),
        time="time",
        step="1h",
        target="value",
        features={"day": lag("value", "24h")},
        model=Forecaster(seasons=("24h",), n_estimators=2, num_leaves=4, min_child_samples=20),
        horizon="6h",
        tuning=Tuning(space={"model.n_estimators": {"low": 2, "high": 30}}, trials=2),
    )
    s = opened(folder, system)
    s.ingest()
    document = s.tune().as_dict()
    assert (document["trials"], document["measure"], document["unseen"]["unit"]) == (2, "wape", "forecasts")
    assert document["unseen"]["blocks"] > 10


def test_a_trace_tells_the_configuration_of_the_model(folder: Path) -> None:
    s = opened(folder, shops())
    one = s.predictions()["id"][0]
    assert s.trace(one)["model"]["configuration"] is None
    values = {"model.members.linear.C": 0.5, "model.folds": 3}
    found = stored(s, values)
    s = opened(folder, shops(), "model.folds=2")
    assert s.train().model["promoted"]
    told = s.trace(s.predict().predictions["id"][0])["model"]["configuration"]
    assert told == {
        "version": 1,
        "digest": found.digest,
        "replaced": ["model.folds"],
        "overrides": {"model.members.linear.C": 0.5},
        "study": None,
    }


def test_on_the_command_line(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home")
    outside = "tuning.space={model.members.linear.C: {low: 50, high: 90}}"
    command = ["tune", TITANIC, "--trials", 1, "--workers", 1, *SMALL[TITANIC], "--set", outside, "--home", home]
    document = headrace(*command, "--json").json
    assert document["trials"] == 1
    assert set(document["best"]) == {"value", "params", "trial"}
    assert document["present"] is None
    reason = "model.members.linear.C is 0.3 now, which is outside of the space: 50 to 90"
    assert document["present_left_out"] == reason
    told = headrace(*command).out
    assert f"no trial has the present values: {reason}" in told
    assert f"--withdraw 1 --home {home}  # to undo it" in told  # what is pasted names the home
    listed = headrace("configurations", TITANIC, "--home", home, "--json").json
    assert [row["version"] for row in listed["configurations"]] == [1]
