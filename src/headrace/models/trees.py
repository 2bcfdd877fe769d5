"""A booster's trees for many rows at once, several times faster than LightGBM and to the same bits.

LightGBM walks row by row down one tree after the other: some two thousand branches a row that a processor foresees
badly. Here each split is asked of all rows before the next one, 64 rows to a word: first every (feature, threshold) of
all trees, then per tree which rows reach a node. Leaves are numbered so that few of these words make up the numbers'
digits; the values are added in the order of the trees, as LightGBM adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array

Words = NDArray[np.uint64]
Step = tuple[Callable[..., Any], int, int, int]

ROWS = 65_536
"""Rows at once: the words of a tree stay in the processor's cache, those of all splits take 25 MB."""
DIGITS = 8
"""A leaf's number is one byte."""
TINY = float(np.float32(1e-35))
"""LightGBM reads what is no larger than this as zero."""
_AS_IT_IS = frozenset({b"regression", b"regression_l1", b"huber", b"fair", b"quantile", b"mape"})
"""Objectives that do not transform the sum of the leaves."""
_ROOT = -DIGITS - 1
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_IS_ZERO, _MISSING_IS_NAN = 1, 2, 4, 8


@dataclass(frozen=True)
class _Question:
    """Whether ``value <= threshold``, and whether a missing value counts as if it were."""

    feature: int
    threshold: float
    missing: bool


@dataclass(frozen=True)
class _Tree:
    """How to find every row's leaf.

    Attributes:
        steps: Functions of two places into a third: the questions from 0 on; from -1 down the digits, the lowest first,
            and then the nodes on the way from the root to where we are.
        values: By leaf number.
        digits: Of the leaf numbers.
    """

    steps: list[Step]
    values: Array
    digits: int


class Trees:
    """Reads a model text that has been checked. Safe to use from any number of threads."""

    def __init__(self, questions: list[_Question], trees: list[_Tree]) -> None:
        self._trees = trees
        self._thresholds = np.array([question.threshold for question in questions])
        self._missing = np.array([question.missing for question in questions], dtype=bool)
        self._of_feature: dict[int, list[int]] = {}
        for place, question in enumerate(questions):
            self._of_feature.setdefault(question.feature, []).append(place)
        self._deepest = max([-_ROOT, *(-step[3] for tree in trees for step in tree.steps)])

    @classmethod
    def from_text(cls, text: bytes) -> Self | None:
        """The trees of a model; None where LightGBM is needed: for classes, categories, forests, very large trees."""
        head, *blocks = text.partition(b"\nend of trees\n")[0].split(b"\nTree=")
        said = _fields(head)
        objective = said.get(b"objective", b"").split(b" ")
        if objective[0] not in _AS_IT_IS or b"sqrt" in objective or b"average_output" in said:
            return None
        numbers: dict[_Question, int] = {}
        trees = []
        for fields in map(_fields, blocks):
            questions = _questions(fields)
            values = np.array(fields[b"leaf_value"].split(b" "), dtype=np.float64)
            if questions is None or values.size > 2**DIGITS:
                return None
            indices = [numbers.setdefault(question, len(numbers)) for question in questions]
            left, right = (list(map(int, fields[name].split())) for name in (b"left_child", b"right_child"))
            trees.append(_planned(indices, left, right, values))
        return cls(list(numbers), trees)

    def predict(self, matrix: NDArray[np.floating[Any]]) -> Array:
        """The sum of every row's leaves, shape (rows,), of a matrix of shape (rows, features); NaN means missing."""
        parts = [self._some(matrix[lo : lo + ROWS]) for lo in range(0, matrix.shape[0], ROWS)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _some(self, matrix: NDArray[np.floating[Any]]) -> Array:
        words = -(-matrix.shape[0] // 64)
        digits = np.empty((DIGITS, words), dtype=np.uint64)
        way = np.empty((self._deepest - DIGITS, words), dtype=np.uint64)
        way[-1:] = ~np.uint64(0)  # every row reaches the root
        places = [*self._answers(matrix, words), *way, *digits[::-1]]
        total = np.zeros(words * 64)
        bits = np.empty(words * 64)
        for tree in self._trees:
            if not tree.steps:
                total += tree.values
                continue
            digits[: tree.digits] = 0
            for function, one, other, target in tree.steps:
                function(places[one], places[other], places[target])
            total += np.take(tree.values, _numbers(digits[: tree.digits]), out=bits, mode="clip")
        return total[: matrix.shape[0]]

    def _answers(self, matrix: NDArray[np.floating[Any]], words: int) -> Words:
        """One bit per question and row, shape (questions, words)."""
        answers = np.zeros((self._thresholds.size, words * 8), dtype=np.uint8)
        size = -(-matrix.shape[0] // 8)
        for feature, places in self._of_feature.items():
            values = np.ascontiguousarray(matrix[:, feature], dtype=np.float64)
            values = np.where(np.abs(values) <= TINY, 0.0, values)
            missing = np.isnan(values)
            yes = np.packbits(values <= self._thresholds[places, None], axis=1, bitorder="little")
            if missing.any():
                yes[self._missing[places]] |= np.packbits(missing, bitorder="little")
            answers[places, :size] = yes
        return answers.view(np.uint64)


def _fields(block: bytes) -> dict[bytes, bytes]:
    return dict(line.partition(b"=")[::2] for line in block.split(b"\n"))


def _questions(fields: dict[bytes, bytes]) -> list[_Question] | None:
    """What each node asks; None where it is not about a number."""
    columns = (fields[name].split() for name in (b"split_feature", b"threshold", b"decision_type"))
    questions = []
    for feature, threshold, kind in zip(*columns, strict=True):
        bits, limit = int(kind), float(threshold)
        if bits & (_CATEGORICAL | _MISSING_IS_ZERO):
            return None
        missing = bool(bits & _DEFAULT_LEFT) if bits & _MISSING_IS_NAN else limit >= 0
        questions.append(_Question(int(feature), limit, missing))
    return questions


def _planned(questions: list[int], left: list[int], right: list[int], values: Array) -> _Tree:
    """The steps of one tree: down to the left, and what does not go there goes to the right.

    A digit is the union of the leaves in whose numbers it is 1. Numbered from left to right in a Gray code, many are
    the same below a whole node, which then stands for its leaves.
    """
    if not questions:
        return _Tree([], values, 0)
    leaves = [node for node in _depth_first(0, left, right) if node < 0]
    number = {leaf: place ^ place >> 1 for place, leaf in enumerate(leaves)}
    shared = dict(number)
    for node in reversed(range(len(questions))):  # children come after their parents
        shared[node] = shared[left[node]] & shared[right[node]]
    steps: list[Step] = []
    above = {child: parent for side in (left, right) for parent, child in enumerate(side)}
    places = {0: _ROOT}
    for node in _depth_first(0, left, right):
        if node in above:
            parent = above[node]
            up, here = places[parent], places[parent] - 1
            places[node] = here
            is_left = node == left[parent]
            steps.append((np.bitwise_and, up, questions[parent], here) if is_left else (np.bitwise_xor, up, here, here))
            new = shared[node] & ~shared[parent]
            steps += [(np.bitwise_or, -1 - d, here, -1 - d) for d in range(DIGITS) if new >> d & 1]
    digits = (len(leaves) - 1).bit_length()
    by_number = np.zeros(2**digits)
    by_number[[number[leaf] for leaf in leaves]] = values[[~leaf for leaf in leaves]]
    return _Tree(steps, by_number, digits)


def _depth_first(node: int, left: list[int], right: list[int]) -> Iterator[int]:
    """Nodes and leaves (below zero), each before those under it, the left ones first."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        if node >= 0:
            waiting += [right[node], left[node]]


def _numbers(digits: Words) -> NDArray[np.uint8]:
    """The numbers that digits (one row each, the lowest first) make up, one byte a row of the matrix."""
    spread = np.unpackbits(digits.view(np.uint8), axis=1, bitorder="little").view(np.uint64)
    numbers: Words = spread[0]
    for place in range(1, len(spread)):
        numbers |= spread[place] << np.uint64(place)
    return numbers.view(np.uint8)
