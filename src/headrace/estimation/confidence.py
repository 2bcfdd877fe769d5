"""Metrics of predictions that follow from how sure they are: confidence-based performance estimation.

A prediction whose class has the calibrated probability p is right in p of all cases. So the expected confusion matrix
is a sum of probabilities, and metrics follow from it as they do from counts. Where probabilities are those with which
things happen, and only the rows are others than before, the estimate is the expectation of the metric.

With what did happen as the probabilities (1 and 0) the same functions give the metric itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.estimation.calibration import Array

OF_TWO = ("accuracy", "log_loss", "brier", "auc", "precision", "recall", "f1")
"""Metrics of two classes; precision, recall and F1 are of the second."""
OF_MANY = ("accuracy", "log_loss", "brier", "macro_f1")
"""Metrics of more classes."""
SMALLEST = 1e-15
"""Probabilities are clipped there, so that a loss is finite."""
_HALF = 0.5


class Answers(NamedTuple):
    """What was predicted of some rows.

    Attributes:
        stated: The probability of each class, as it was said: shape (rows, classes).
        predicted: The class that was predicted, by its place: shape (rows,).
    """

    stated: Array
    predicted: NDArray[np.intp]


def metrics_of(classes: int) -> tuple[str, ...]:
    """The metrics that there are of so many classes.

    >>> metrics_of(3)
    ('accuracy', 'log_loss', 'brier', 'macro_f1')
    """
    return OF_TWO if classes == 2 else OF_MANY


def expected(answers: Answers, chances: Array, metrics: Collection[str] | None = None) -> dict[str, float]:
    """The metrics that are to be expected of some predictions.

    Args:
        answers: What was predicted.
        chances: The probability with which each class is true: shape (rows, classes). What a row's lack to 1 is that of
            a class that the model does not know.
        metrics: Some of `metrics_of`; None: all of them.

    Returns:
        Each by its name; NaN where it says nothing, as precision where nothing is predicted to be of the second class.

    >>> sure = Answers(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 0]))
    >>> found = expected(sure, sure.stated)
    >>> round(found["accuracy"], 3), round(found["precision"], 3), round(found["brier"], 3)
    (0.85, 0.8, 0.125)
    """
    stated = answers.stated
    rows, classes = stated.shape
    names = [name for name in metrics_of(classes) if metrics is None or name in metrics]
    if not rows:
        return dict.fromkeys(names, float("nan"))
    figures = dict[str, float]()
    if "log_loss" in names:
        figures["log_loss"] = _sum(losses(answers, chances)) / rows
    if "brier" in names:
        figures["brier"] = _sum(squares(answers, chances)) / rows
    if "auc" in names:
        figures["auc"] = _auc(stated[:, 1], chances)
    figures |= _of_matrix(confusion(answers, chances), rows)
    return {name: figures[name] for name in names}


def confusion(answers: Answers, chances: Array) -> Array:
    """The expected confusion matrix: a row for each true class, a column for each predicted one.

    >>> sure = Answers(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([1, 0]))
    >>> confusion(sure, sure.stated).tolist()
    [[0.9, 0.2], [0.1, 0.8]]
    """
    classes = chances.shape[1]
    counts = [np.bincount(answers.predicted, weights=chances[:, true], minlength=classes) for true in range(classes)]
    return np.array(counts)


def losses(answers: Answers, chances: Array) -> Array:
    """The expected log loss of each row, in nats: shape (rows,)."""
    loss: Array = -(chances * np.log(np.clip(answers.stated, SMALLEST, 1))).sum(axis=1)
    lacking: Array = 1 - chances.sum(axis=1)
    return loss - lacking * math.log(SMALLEST)


def squares(answers: Answers, chances: Array) -> Array:
    """The expected Brier score of each row: of two classes that of the second, of more the sum over all."""
    score: Array = (answers.stated**2).sum(axis=1) - 2 * (chances * answers.stated).sum(axis=1) + 1
    return score / 2 if chances.shape[1] == 2 else score


def _of_matrix(matrix: Array, rows: int) -> dict[str, float]:
    right, true, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    figures = {"accuracy": _sum(right) / rows}
    if right.size == 2:
        figures["precision"] = _ratio(right[1], predicted[1])
        figures["recall"] = _ratio(right[1], true[1])
        figures["f1"] = _ratio(2 * right[1], true[1] + predicted[1])
        return figures
    # A class of which less than half a row is expected, and none was predicted, would not be there to be counted.
    counted = (true >= _HALF) | (predicted > 0)
    scores = [2 * hit / (n + m) for hit, n, m in zip(right[counted], true[counted], predicted[counted], strict=True)]
    return figures | {"macro_f1": float(np.mean(scores)) if scores else float("nan")}


def _auc(scores: Array, chances: Array) -> float:
    """How often a row of the second class has the larger score, of all pairs of two rows; ties count half."""
    places, inverse = np.unique(scores, return_inverse=True)
    second, first = chances[:, 1], chances[:, 0]
    of_second, of_first, selves = (  # a row makes no pair with itself
        np.bincount(inverse, weights=part, minlength=places.size).astype(np.float64)
        for part in (second, first, second * first)
    )
    below = np.cumsum(of_first) - of_first
    pairs = _sum(second) * _sum(first) - _sum(selves)
    return _ratio(_sum(of_second * below) + (_sum(of_second * of_first) - _sum(selves)) / 2, pairs)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _sum(values: Array) -> float:
    """One addition after the other: equal rows give equal bits, wherever they lie in memory."""
    return float(np.bincount(np.zeros(values.size, dtype=np.intp), weights=values, minlength=1)[0])
