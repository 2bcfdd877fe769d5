"""A study: its budget, its seed, its dead, and when it has had enough. The loss here is that of a parabola."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace.tuning import Tuning
from headrace.tuning.samplers import pruner_of
from headrace.tuning.study import DONE, FAILED, PRUNED, RUNNING, Study
from headrace.tuning.workers import Workers

SPACE = {"x": {"low": -5.0, "high": 5.0}, "n": {"low": 1, "high": 9}}
Report = Callable[[int, float], None]


def parabola(values: Mapping[str, Any], report: Report) -> float:
    return float((values["x"] - 2) ** 2 + values["n"])


def study(folder: Path, folds: int = 1, **settings: Any) -> Study:
    return Study("study", Tuning(space=SPACE, **settings), folder, folds=folds)


def done(made: Study, count: int) -> list[Mapping[str, Any]]:
    return [made.run(parabola).values for _ in range(count)]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random", "qmc"])
def test_the_same_seed_tries_the_same_also_where_it_goes_on(tmp_path: Path, sampler: Any) -> None:
    at_once = done(study(tmp_path / "a", sampler=sampler), 14)
    first = done(study(tmp_path / "b", sampler=sampler), 6)
    assert first + done(study(tmp_path / "b", sampler=sampler), 8) == at_once
    assert len({tuple(values.items()) for values in at_once}) == 14  # and nothing twice
    if sampler != "qmc":
        assert done(study(tmp_path / "c", sampler=sampler, seed=1), 2) != at_once[:2]


def test_only_complete_trials_count_and_another_budget_goes_on(tmp_path: Path) -> None:
    made = study(tmp_path, trials=3)
    done(made, 2)
    with pytest.raises(ZeroDivisionError):
        made.run(lambda values, report: 1 / 0)
    assert [trial.state for trial in made.trials()] == [DONE, DONE, FAILED]
    assert made.trials()[2].error == "ZeroDivisionError: division by zero"
    assert made.left() == 1
    done(made, 1)
    assert made.left() == 0
    assert study(tmp_path, trials=10).left() == 7


def test_it_begins_with_the_present_values(tmp_path: Path) -> None:
    made = study(tmp_path)
    made.begin({"x": 1.5, "n": 3})
    assert done(made, 1) == [{"x": 1.5, "n": 3}]
    made.begin({"x": 0.0, "n": 1})  # a study that goes on has them
    assert done(made, 1) != [{"x": 0.0, "n": 1}]


def test_patience_ends_after_so_many_trials_without_a_better_one(tmp_path: Path) -> None:
    made, losses = study(tmp_path, trials=100, patience=3), iter([5.0, 4.0, 4.0, 6.0])
    for _ in range(4):
        made.run(lambda values, report: next(losses))
    assert made.left() == 96
    made.run(lambda values, report: 4.5)
    assert made.left() == 0


def test_a_trial_that_is_worse_at_its_folds_is_pruned(tmp_path: Path) -> None:
    made = study(tmp_path, folds=5, trials=100)

    def folds(level: float) -> Callable[[Mapping[str, Any], Report], float]:
        def loss(values: Mapping[str, Any], report: Report) -> float:
            for fold in range(5):
                report(fold, level)
            return level

        return loss

    assert [made.run(folds(1.0)).state for _ in range(6)] == [DONE] * 6
    trial = made.run(folds(2.0))
    assert (trial.state, trial.loss, dict(trial.folds)) == (PRUNED, None, {0: 2.0, 1: 2.0})
    assert made.left() == 94


def test_hyperband_ends_trials_too(tmp_path: Path) -> None:
    made = study(tmp_path, folds=5, trials=100, pruner="hyperband", sampler="random")

    def loss(values: Mapping[str, Any], report: Report) -> float:
        for fold in range(5):
            report(fold, values["x"])
        return float(values["x"])

    states = {made.run(loss).state for _ in range(20)}
    assert states == {DONE, PRUNED}


def test_under_five_folds_nothing_is_pruned_unless_it_is_asked_for() -> None:
    names = [type(pruner_of(Tuning(pruner=name), folds)).__name__ for name in ("auto", "median") for folds in (4, 5)]
    assert names == ["NopPruner", "MedianPruner", "MedianPruner", "MedianPruner"]


def test_choices_come_back_as_they_were_declared(tmp_path: Path) -> None:
    space = {"kind": ["a", 3, True, None, ["24h", "168h"]], "c": {"low": 1, "high": 2, "when": {"kind": "a"}}}
    made = Study("study", Tuning(space=space, sampler="random"), tmp_path)
    values = [made.run(lambda values, report: 0.0).values for _ in range(30)]
    assert all(("c" in chosen) == (chosen["kind"] == "a") for chosen in values)
    assert any(chosen["kind"] == ["24h", "168h"] for chosen in values)
    assert [trial.values for trial in Study("study", made.tuning, tmp_path).trials()] == values


def test_the_trial_of_a_killed_process_is_given_up_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    made = study(tmp_path, trials=2)
    made._study.ask().set_user_attr("worker", "gone")  # what a process that was killed leaves
    assert [trial.state for trial in made.trials()] == [RUNNING]
    assert made.left() == 2  # it does not count as running

    def look(values: Mapping[str, Any], report: Report) -> float:
        assert made.reap() == 1
        assert study(tmp_path, trials=2).left() == 1  # another one sees that this one runs
        return 1.0

    made.run(look)
    assert [trial.state for trial in made.trials()] == [FAILED, DONE]
    assert made.trials()[0].error == "the process that ran it is gone"
    assert made.reap() == 0


def test_what_others_gave_up_is_not_told_any_more(tmp_path: Path) -> None:
    made = study(tmp_path)

    def given_up(values: Mapping[str, Any], report: Report) -> float:
        assert made._failed(made._study.get_trials()[-1], "given up by others") == 1
        report(0, 1.0)
        return 1.0

    trial = made.run(given_up)
    assert (trial.state, trial.error) == (FAILED, "given up by others")


def test_a_trial_without_a_mark_is_given_up_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path)
    made._study.ask()  # its process was killed before it left one
    assert (made.reap(), made.running) == (0, 1)
    monkeypatch.setattr("headrace.tuning.study._STARTED", 0.0)
    assert (made.reap(), made.running) == (1, 0)


def test_a_mark_that_nobody_left_is_no_living_process(tmp_path: Path) -> None:
    workers, other = Workers(tmp_path), Workers(tmp_path)
    assert not workers.alive("nobody")
    assert other.alive(workers.own)
    workers.leave()
    assert not other.alive("anybody")
    assert list(tmp_path.iterdir()) == []
