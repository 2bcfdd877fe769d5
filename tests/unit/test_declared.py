"""Parts of a declaration that a program makes: each mistake is typed, and says the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace import Boosting, Classifier, Estimator, Forecaster, Function, Linear, Monitoring, Onnx, Schedule
from headrace.contract import Share
from headrace.errors import DeclarationError
from headrace.models.wrapped import as_model

MAKE: Any = Function


class Means:
    """What is no estimator of scikit-learn's, though it has the methods of one."""

    def fit(self, x: Any, y: Any) -> Means:
        return self

    def predict(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: Schedule(predict="soon"), "Schedule.predict"),
        (lambda: Monitoring(windows="3d"), "Monitoring.windows"),
        (lambda: Classifier(members=(1,)), "Classifier.members[0]"),
        (lambda: Linear(C="much"), "Linear.C"),
        (lambda: Boosting(trees=3), "Boosting.trees"),
        (lambda: Forecaster(seasons=("noon",)), "Forecaster.seasons[0]"),
        (Onnx, "Onnx.file"),
        (lambda: Share(column="a", condition="odd", at_most=0.5), "Share.condition"),
        (lambda: MAKE(len), "Function"),
    ],
)
def test_a_mistake_says_its_field(make: Callable[[], Any], where: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        make()
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("value", "said"), [(Means, "Estimator(model=Means)"), (Linear(), "Classifier(members=(Linear(...),))")]
)
def test_the_hint_of_what_is_no_model_can_be_followed(value: Any, said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        as_model(value, forecasts=False)
    assert said in str(caught.value.hint)
    assert Estimator(model=Means).model is Means
