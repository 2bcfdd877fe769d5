"""Which rows are held out together, and what is refused because nothing could be held out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Classifier, Column, Contract, Linear, Regressor, System
from headrace.errors import DeclarationError, ModelError, NotEnoughDataError
from headrace.features import Features, col
from headrace.tasks.rows.fitting import RowFit, Rows, fit
from headrace.tasks.rows.folds import Fold, RowFolds, tenths
from headrace.tasks.rows.outputs.base import output_class

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 120
X = np.random.default_rng(0).normal(size=COUNT)
THREE = [("a", "b", "c")[int(place)] for place in np.digitize(X, [-0.5, 0.5])]


def moments(hours: Any) -> pl.Series:
    return pl.Series("at", [None if hour is None else START + timedelta(hours=int(hour)) for hour in hours])


def of(count: int, **columns: Any) -> list[Fold]:
    rows = len(next(iter(columns.values())))
    parts = RowFolds.of(count, rows, columns.get("time"), columns.get("group"), columns.get("strata"))
    return list(parts.each(seed=0))


def test_what_is_held_out_forward_is_later_than_all_that_is_learnt_from() -> None:
    hours = np.random.default_rng(1).permutation(np.repeat(np.arange(50), 2))  # two rows of every moment
    folds = of(4, time=moments(hours))
    assert [fold.held.size for fold in folds] == [20] * 4
    assert [fold.kept.size for fold in folds] == [20, 40, 60, 80]
    for fold in folds:
        assert hours[fold.kept].max() < hours[fold.held].min()
    held = np.concatenate([fold.held for fold in folds])
    assert np.unique(held).size == held.size == 80
    assert hours[np.setdiff1d(np.arange(100), held)].max() == 9, "the first part is learnt from only"


def test_rows_of_one_moment_stay_together_and_rows_without_one_are_first() -> None:
    hours = [None] * 10 + [3] * 50 + [9] * 40
    parts = [(fold.held.tolist(), fold.kept.tolist()) for fold in of(3, time=moments(hours))]
    assert parts == [([*range(10, 60)], [*range(10)]), ([*range(60, 100)], [*range(60)])]
    assert [fold.kept.size for fold in of(3, time=moments([5] * 30))] == [0], "nothing is before the one moment"


def test_a_group_is_never_on_both_sides() -> None:
    names = pl.Series([f"c{place % 11}" for place in range(97)] + [None] * 3)
    folds = of(4, group=names)
    assert sorted(np.concatenate([fold.held for fold in folds]).tolist()) == list(range(100))
    for fold in folds:
        assert not {*names[fold.held]} & {*names[fold.kept]}
        assert abs(fold.held.size - 25) <= 9, "the largest go first, each to the part with the fewest rows"
    both = of(4, time=moments(range(100)), group=names)
    for fold in both:
        assert not {*names[fold.held]} & {*names[fold.kept]}
        assert not fold.kept.size or fold.kept.max() < fold.held.min()


def test_random_parts_hold_every_row_once_and_none_is_empty() -> None:
    strata = np.array([0] * 9 + [1] * 2 + [2])
    folds = of(20, strata=strata)
    assert len(folds) == 12, "more parts than rows are as many as rows"
    assert sorted(np.concatenate([fold.held for fold in folds]).tolist()) == list(range(12))


def test_random_parts_of_numbers_have_as_many_large_ones() -> None:
    numbers = np.exp(np.random.default_rng(2).normal(size=500))
    folds = of(5, strata=tenths(numbers))
    large = numbers > np.quantile(numbers, 0.9)
    assert {int(large[fold.held].sum()) for fold in folds} == {10}
    assert {fold.held.size for fold in folds} == {100}
    assert set(tenths(np.zeros(30))) == {1}, "one value, one stratum"


def trained(model: Any, column: Column, values: Any, *, time: Any = None, **columns: Any) -> RowFit:
    frame = pl.DataFrame({"x": X, "y": values, **columns}, strict=False)
    classes = frame["y"].unique().sort().to_list() if model.discrete else ()
    output = output_class(model.output(classes)).of(model, column, classes)
    if time is not None:
        frame = frame.with_columns(moments(time))
    rows = Rows(frame, "y", {"x": "float"}, "at" if time is not None else None)
    return fit(model, output, Features({"x": col("x")}), rows)


def classifier(**settings: Any) -> Classifier:
    members = (Linear(), Boosting(n_estimators=5))
    return Classifier(members=members, **({"folds": 3, "repeats": 1} | settings))


def regressor(**settings: Any) -> Regressor:
    return Regressor(members=(Linear(),), **({"folds": 3, "repeats": 1} | settings))


CLASS, NUMBER = Column("y", "category"), Column("y", "float")


@pytest.mark.parametrize(("groups", "hint"), [(3, "model.folds=3"), (1, "leave out model.groups")])
def test_more_folds_than_groups_are_refused(groups: int, hint: str) -> None:
    with pytest.raises(
        NotEnoughDataError, match=f"5 folds hold out whole values of 'g', and the rows have {groups}"
    ) as e:
        trained(classifier(folds=5, groups="g"), CLASS, THREE, g=[place % groups for place in range(COUNT)])
    assert (e.value.where, hint in str(e.value.hint)) == ("model.folds", True)


def test_groups_that_cannot_be_held_out_are_refused_and_not_mixed() -> None:
    own = ["a" if place % 2 else "b" for place in range(COUNT)]
    with pytest.raises(NotEnoughDataError, match="0 rows can be held out by 'g'") as refused:
        trained(classifier(folds=2, groups="g"), CLASS, own, g=own)
    assert refused.value.where == "model.groups"


def test_a_class_may_be_absent_of_a_fold_and_be_seen_once() -> None:
    late = trained(
        classifier(), CLASS, ["z" if place >= 100 else three for place, three in enumerate(THREE)], time=range(COUNT)
    )
    assert (late.held_by, late.judged) == ("forward", 60)
    once = trained(classifier(), CLASS, ["z" if place == 50 else three for place, three in enumerate(THREE)])
    grouped = trained(
        classifier(groups="g"),
        CLASS,
        ["z" if place % 7 == 3 else three for place, three in enumerate(THREE)],
        g=[place % 7 for place in range(COUNT)],
    )
    for done in (late, once, grouped):
        assert done.output.classes == ("a", "b", "c", "z")
        answer = done.model.answer({"x": 0.1})
        assert [*answer["probabilities"]] == ["a", "b", "c", "z"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert np.isfinite(list(done.scores.values())).all()


def test_too_few_later_rows_are_held_out_at_random() -> None:
    late = ["z" if place >= 100 else "a" for place in range(COUNT)]
    assert trained(classifier(), CLASS, late, time=range(COUNT)).held_by == "random"
    assert trained(regressor(), NUMBER, X, time=[7] * COUNT).held_by == "random"
    kept = trained(classifier(groups="g"), CLASS, late, time=range(COUNT), g=[place % 9 for place in range(COUNT)])
    assert kept.held_by == "groups", "groups are kept to"


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("boolean", [three == "a" for three in THREE]),
        ("integer", [ord(three) for three in THREE]),
        ("integer", [-1 if three == "a" else 1 for three in THREE]),
        ("text", [three * 3 for three in THREE]),
        ("category", THREE),
    ],
)
def test_labels_of_any_type_are_answered_as_they_are(type_: Any, values: list[Any]) -> None:
    done = trained(classifier(), Column("y", type_), values)
    answers = [done.model.answer({"x": x})["y"] for x in X.tolist()]
    assert {(type(label), label) for label in answers} == {(type(label), label) for label in values}
    assert np.mean([label == value for label, value in zip(answers, values, strict=True)]) > 0.9
    assert done.model.answers({"x": X.tolist()}) == [done.model.answer({"x": x}) for x in X.tolist()]


@pytest.mark.parametrize(
    ("model", "column", "values", "message"),
    [
        (classifier(), CLASS, ["a"] * COUNT, "120 rows with 1 different targets are too few"),
        (
            regressor(scale="log"),
            Column("y", "float", minimum=0),
            [-2.0, 5.0] * 60,
            "-2 is below 0 and has no logarithm",
        ),
        (regressor(), NUMBER, [1e300, *X[1:]], "a target of 1e\\+300 is too large to learn from"),
    ],
)
def test_targets_that_say_nothing_are_refused(model: Any, column: Column, values: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        trained(model, column, values)
    assert refused.value.where == "y"


@pytest.mark.parametrize("values", [("a", "b"), ("a", "b", "d")])
def test_a_class_that_is_declared_no_more_is_refused(values: tuple[str, ...]) -> None:
    model = classifier()
    output = output_class(model.output(values)).of(model, Column("y", "category", values=values), values)
    rows = Rows(pl.DataFrame({"x": X, "y": THREE}), "y", {"x": "float"})
    with pytest.raises(
        ModelError, match=f"{THREE.count('c')} rows have a target that is none of {', '.join(values)}: c"
    ):
        fit(model, output, Features({"x": col("x")}), rows)


def test_a_number_that_never_changes_is_learnt() -> None:
    done = trained(regressor(), NUMBER, [3.0] * COUNT)
    assert done.model.answer({"x": 9.9}) == {"y": 3.0, "lower": 3.0, "upper": 3.0}
    assert (done.scores["rmse"], done.baselines["the mean"]) == (0.0, 0.0)


def system(target: Column, model: Any, *columns: Column) -> System:
    contract = Contract(columns=(Column("row", "integer"), Column("x", "float"), target, *columns))
    return System(name="s", contract=contract, keys=("row",), target=target.name, features={"x": col("x")}, model=model)


@pytest.mark.parametrize(
    ("target", "model", "where", "message"),
    [
        (CLASS, classifier(groups="customer"), "model.groups", "customer"),
        (CLASS, classifier(groups="y"), "model.groups", "cannot be held out together"),
        (Column("y", "category", values=("a",)), classifier(), "target", "one value"),
        (Column("y", "category", values=("a", "b", "c")), classifier(threshold=0.3), "model.threshold", "no threshold"),
        (NUMBER, classifier(), "target", "predicts one of boolean, integer, category, text"),
        (Column("y", "time"), regressor(), "target", "predicts a float or an integer"),
        (Column("y", "boolean"), regressor(), "target", "predicts a float or an integer"),
        (NUMBER, regressor(scale="log"), "model.scale", "minimum=0"),
        (Column("y", "float", minimum=-0.5), regressor(scale="log"), "model.scale", "minimum=0"),
    ],
)
def test_what_cannot_be_is_refused_before_any_data(target: Column, model: Any, where: str, message: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        system(target, model)
    assert (refused.value.where, message in str(refused.value)) == (where, True)
