"""A finished model that is a function of the features: it is asked as it is, and refused where it gives nonsense."""

import numpy as np
import pytest
from tests.unit.models.test_estimator import CLASSES, FEATURES, NUMBERS, answers, fit, refused, table

from headrace import Function
from headrace.errors import ModelError
from headrace.features import col
from headrace.features.view import Features

ONE = Features({"size": col("size")})


def odds(frame):
    return frame["size"].fillna(0).to_numpy() * 2 - 6


def risk(frame):
    return 1 / (1 + np.exp(-odds(frame)))


def shares(frame):
    p = risk(frame) / 2
    return np.column_stack([p, p, 1 - 2 * p])


@pytest.mark.parametrize("output", CLASSES)
def test_it_is_asked_as_it_is(output, tmp_path):
    function = {"binary": risk, "multiclass": shares, "regression": odds}[output]
    fitted, encoder = fit(Function(function=function), output)
    frame = table(70, seed=4)
    scores = answers(fitted, encoder, frame)
    np.testing.assert_array_equal(scores, function(frame.to_pandas()))
    fitted.save(tmp_path / "member")
    np.testing.assert_array_equal(answers(type(fitted).load(tmp_path / "member"), encoder, frame), scores)


def test_two_columns_are_both_classes_and_the_code_shapes_the_digest():
    both = Function(function=lambda matrix: np.column_stack([1 - 0 * matrix[:, 0], 0 * matrix[:, 0]]), reads="matrix")
    frame = table(10)
    fitted, encoder = fit(
        Function(function=lambda matrix: np.full((len(matrix), 2), 0.5), reads="matrix"), "binary", ONE
    )
    assert answers(fitted, encoder, frame).tolist() == [0.5] * 10
    assert both.model_dump(mode="json")["code"] != Function(function=risk).model_dump(mode="json")["code"]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda frame: 1 / 0, "failed: ZeroDivisionError"),
        (lambda frame: np.ones((len(frame), 3)), r"gives the shape \(64, 3\), \(64,\) is wanted"),
        (lambda frame: np.full(len(frame), 1.5), "no probability"),
        (lambda frame: np.full(len(frame), np.nan), "no probability"),
    ],
)
def test_what_is_no_answer_is_named(function, what):
    with pytest.raises(ModelError, match=what):
        fit(Function(function=function), "binary")


@pytest.mark.parametrize(
    ("output", "hint"), [("binary", "probabilities, not labels"), ("regression", "a number a row")]
)
def test_labels_are_no_numbers(output, hint):
    with pytest.raises(ModelError, match="gives what is no number: could not convert") as error:
        fit(Function(function=lambda frame: ["won"] * len(frame)), output)
    assert hint in error.value.hint


@pytest.mark.parametrize(("odd", "rows"), [(np.nan, 14), (np.inf, 14)])
def test_a_number_that_is_none_is_refused_with_its_rows(odd, rows):
    member = Function(function=lambda frame: frame["size"].fillna(odd).to_numpy())
    with pytest.raises(ModelError, match=f"gives no finite number for {rows} of 120 rows") as error:
        fit(member, "regression")
    assert error.value.hint == "fill missing values in the pipeline or function"


def test_a_row_of_which_it_knows_nothing_is_refused_when_it_is_asked():
    fitted, encoder = fit(Function(function=lambda frame: np.where(frame["size"] > 50, np.nan, 1.0)), "regression")
    frame = table(3)[1:].with_columns(size=np.array([99.0, 1.0]))
    with pytest.raises(ModelError, match="no finite number for 1 of 2 rows"):
        answers(fitted, encoder, frame)
    row = frame.row(1)
    assert fitted.score(encoder.row(row), row, encoder) == 1.0


@pytest.mark.parametrize(
    ("member", "features", "where"),
    [
        (Function(), NUMBERS, "function"),
        (Function(function=5), NUMBERS, "function"),
        (Function(class_path="math.nothing"), NUMBERS, "class_path"),
        (Function(function=risk, reads="matrix"), FEATURES, "features.title"),
    ],
)
def test_a_mistake_is_refused_before_a_row_is_read(member, features, where):
    assert refused(member, "binary", features).where == where
