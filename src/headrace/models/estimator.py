"""Any scikit-learn estimator or pipeline as a member, by object, factory or class path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from headrace.errors import DeclarationError, HeadraceError, ModelError
from headrace.features.view import Features
from headrace.models import pickles
from headrace.models.base import Fitted, Learner, Training
from headrace.models.brought import Brought, is_library, named, require
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded
from headrace.models.linear import Design

if TYPE_CHECKING:
    import polars as pl

BLOCK = 64
"""Rows that an estimator is always asked for at once."""
Reads = Literal["auto", "matrix", "pandas", "polars"]


def in_blocks(matrix: Array, ask: Callable[[Array], Array], size: int = BLOCK) -> Array:
    """What `ask` gives for the rows of a matrix, of shape (rows, ...), asked for `size` of them at a time.

    Linear algebra rounds a product of matrices by their shapes. In blocks of one size, the last one filled up, a row
    gets the same bits whoever its neighbours are, and also when it has none.
    """
    parts = []
    for index in range(0, max(matrix.shape[0], 1), size):
        block = matrix[index : index + size]
        full = np.vstack([block, np.repeat(block[-1:], size - len(block), axis=0)])
        parts.append(ask(full)[: len(block)])
    return np.concatenate(parts)


def frames_in_blocks(frame: pl.DataFrame, ask: Callable[[pl.DataFrame], Array]) -> Array:
    """`in_blocks` of a frame."""
    parts = []
    for index in range(0, max(frame.height, 1), BLOCK):
        block = frame[index : index + BLOCK]
        full = block[[*range(block.height), *[block.height - 1] * (BLOCK - block.height)]]
        parts.append(ask(full)[: block.height])
    return np.concatenate(parts)


def finite(scores: Array, name: str) -> Array:
    """The numbers that a model of yours gives for rows, if they are numbers.

    Args:
        scores: Shape (rows,).
        name: What the model is called.

    Raises:
        ModelError: Some are NaN or infinite; says of how many rows.
    """
    odd = int((~np.isfinite(scores)).sum())
    if odd:
        message = f"{name} gives no finite number for {odd} of {len(scores)} rows"
        raise ModelError(message, where="model", hint="fill missing values in the pipeline or function")
    return scores


def as_pandas(frame: pl.DataFrame) -> Any:
    """A frame as notebooks have it: numbers as float64 with NaN, texts as objects with None."""
    import pandas as pd
    import polars as pl

    columns = {}
    for column in frame.iter_columns():
        texts = column.dtype == pl.String
        columns[column.name] = np.array(column.to_list(), dtype=object) if texts else column.to_numpy()
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class FittedEstimator(Fitted):
    """A fitted `Estimator`.

    Attributes:
        estimator: The object itself.
        design: What it reads of encoded rows; None where it reads a frame.
        reads: ``matrix``, ``pandas`` or ``polars``.
        output: What is asked of it.
        classes: How many there are; it may have seen some of them only.
        stored: It as it was right after the fit, before anything was asked of it; None where it was read.
    """

    estimator: Any
    design: Design | None
    reads: str
    output: str
    classes: int
    stored: pickles.Pickled | None = field(default=None, repr=False, compare=False)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What is pickled."""
        return self.estimator, self.design, self.reads, self.output, self.classes

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        if self.design is not None:
            design = self.design
            scores = in_blocks(rows.matrix, lambda block: self._ask(design.dense(block)))
        else:
            scores = frames_in_blocks(rows.frame, lambda block: self._ask(given(block, self.reads)))
        return finite(scores, named(self.estimator)) if self.output == "regression" else scores

    def _ask(self, rows: Any) -> Array:
        try:
            return self._numbers(rows)
        except HeadraceError:
            raise
        except Exception as error:  # another's estimator may raise anything
            raise ModelError(f"cannot be asked: {type(error).__name__}: {error}", where="model") from error

    def _numbers(self, rows: Any) -> Array:
        if self.output == "regression":
            return np.asarray(self.estimator.predict(rows), dtype=np.float64).reshape(len(rows))
        answer = np.asarray(self.estimator.predict_proba(rows), dtype=np.float64)
        self._refuse_improbable(answer)
        if self.output == "binary":
            return answer[:, 1]
        probabilities = np.zeros((len(rows), self.classes))
        probabilities[:, np.asarray(self.estimator.classes_).astype(np.intp)] = answer
        return probabilities

    def _refuse_improbable(self, answer: Array) -> None:
        """Refuse rows of probabilities that are negative or do not sum to 1; float32 is less exact with more classes.

        Raises:
            ModelError: Names the estimator.
        """
        tolerance = 1e-6 * answer.shape[-1]
        if not ((answer >= -tolerance).all() and (np.abs(answer.sum(axis=-1) - 1) <= tolerance).all()):
            hint = "fill missing values in the pipeline" if np.isnan(answer).any() else None
            message = f"{named(self.estimator)} gives what is no probability: each is 0 or more, and a row sums to 1"
            raise ModelError(message, where="model", hint=hint)

    def contributions(self, rows: Encoded) -> Contributions | None:
        """See `Fitted`: SHAP values of a booster of XGBoost or LightGBM that reads a matrix; None of all others."""
        if self.design is None:
            return None
        from headrace.models.brought_boosters import shap_values

        return shap_values(self.estimator, self.design, rows.matrix, self.scores(rows), self.output)

    def save(self, path: Path) -> None:
        """Write it to a folder: pickled, with the code of yours that it needs."""
        pickles.save(self.stored or self.parts, path)

    @classmethod
    def load(cls, path: Path) -> FittedEstimator:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It cannot be read with the libraries installed.
        """
        return cls(*pickles.load(path))


def given(frame: pl.DataFrame, reads: str) -> Any:
    """A frame as an estimator reads it."""
    return as_pandas(frame) if reads == "pandas" else frame


class Estimator(Learner):
    """A scikit-learn classifier, regressor or pipeline, or anything that keeps to their protocol.

    A pipeline, or a class of your own, reads a frame with the features by name: numbers as floats, categories and free
    texts as they are. An estimator of a library reads a matrix: categories one-hot, numbers standardised and missing
    ones as their mean with a mark beside. One row takes the columnar way: it costs as much as the estimator's own call.

    Attributes:
        model: An object, which is copied before each fit, or a function or class that makes one.
        class_path: Or where the class is, such as ``sklearn.ensemble.RandomForestClassifier``.
        params: Arguments of the function or class.
        reads: ``matrix``, ``pandas`` or ``polars``; ``auto`` is as said above, and the frame is pandas.

    >>> Estimator(class_path="sklearn.linear_model.LogisticRegression", params={"C": 0.3}).make()
    LogisticRegression(C=0.3)
    """

    fitted: ClassVar[type[Fitted]] = FittedEstimator
    kind: Literal["estimator"] = "estimator"
    model: Any = None
    class_path: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    reads: Reads = "auto"

    @model_serializer(mode="wrap")
    def _described(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self.model_copy(update={"model": None}))
        return plain | self.brought.described()

    @property
    def brought(self) -> Brought:
        """What is fitted."""
        return Brought(self.model, self.class_path, self.params, "")

    def make(self) -> Any:
        """An estimator that was not fitted yet."""
        return self.brought.make()

    def check(self, output: str, features: Features) -> None:
        """Refuse what cannot be made, is of the other kind, or cannot read a feature."""
        self.brought.check()
        estimator = self.make()
        refuse_other_kind(estimator, output)
        reads = self._reads(estimator)
        if reads == "pandas":
            require("pandas", "reads")
        if reads == "matrix":
            super().check(output, features)

    def _reads(self, estimator: Any) -> str:
        if self.reads != "auto":
            return self.reads
        return "matrix" if is_library(type(estimator)) and not hasattr(estimator, "steps") else "pandas"

    def fit(self, training: Training) -> FittedEstimator:
        """Fit on rows.

        Raises:
            DeclarationError: There is no such class, or it does not take these arguments.
            ModelError: It cannot be fitted.
            ArtefactError: What was fitted cannot be pickled.
        """
        estimator = self.make()
        seeded(estimator, training.seed)
        reads, target = self._reads(estimator), training.target
        if training.output != "regression":
            target = target.astype(np.int64)
        design = Design.fit(training.encoder, training.rows.matrix) if reads == "matrix" else None
        rows = given(training.rows.frame, reads) if design is None else design.dense(training.rows.matrix)
        try:
            estimator.fit(rows, target)
        except Exception as error:  # another's estimator may raise anything
            message = f"{named(estimator)} cannot be fitted: {type(error).__name__}: {error}"
            raise ModelError(message, where="model") from error
        fitted = FittedEstimator(estimator, design, reads, training.output, training.classes)
        return replace(fitted, stored=pickles.pickled(fitted.parts, named(estimator)))


def seeded(estimator: Any, seed: int) -> None:
    """Give every part of an estimator that has a ``random_state`` without a value this one."""
    if not hasattr(estimator, "get_params"):
        return
    unset = [
        name
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    if unset:
        estimator.set_params(**dict.fromkeys(unset, seed))


def kind_of_estimator(estimator: Any) -> str | None:
    """``classifier`` or ``regressor``, as scikit-learn tells them apart; None where it says neither."""
    from sklearn.base import is_classifier, is_regressor

    try:
        if is_classifier(estimator):
            return "classifier"
        if is_regressor(estimator):
            return "regressor"
    except (AttributeError, TypeError):  # no estimator of scikit-learn's
        pass
    return "classifier" if hasattr(estimator, "predict_proba") else None


def refuse_other_kind(estimator: Any, output: str) -> None:
    """Refuse a regressor where classes are wanted, and the reverse.

    Raises:
        DeclarationError: It is of the other kind, or lacks a method.
    """
    name, kind = named(estimator), kind_of_estimator(estimator)
    numbers = output == "regression"
    if kind == ("classifier" if numbers else "regressor"):
        outputs = "numbers" if numbers else "classes"
        hint = "give a regressor, or use Classifier()" if numbers else "give a classifier, or use Regressor()"
        raise DeclarationError(f"{name} is a {kind}, and {outputs} are wanted", hint=hint)
    for method in ("fit", "predict" if numbers else "predict_proba"):
        if not hasattr(estimator, method):
            more = "CalibratedClassifierCV of sklearn.calibration adds it" if method == "predict_proba" else None
            raise DeclarationError(f"{name} has no {method}, which a {output} output needs", hint=more)
