"""What a model must do, and a learner of rows within one. One file per kind; each imports its library where it is used.

A system names one `Model`. A model of rows (`Classifier`, `Regressor`) compares several `Learner`s: each is fitted on
encoded rows and gives a `Fitted`, which answers rows. A learner of your own needs a subclass of either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from headrace.declaration import Declared
from headrace.errors import DeclarationError
from headrace.features.ngrams import JoinedText
from headrace.features.text import TextColumn
from headrace.features.view import Features
from headrace.kinds import Kinds
from headrace.plugins import Group

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.contract import Column
    from headrace.features.arrays import History
    from headrace.models.contributions import Contributions
    from headrace.models.encoding import Array, Encoded, Encoder
    from headrace.models.parts import TrainingParts


class Model(Declared):
    """Base of the declared models: settings only. What was fitted lives in an artefact.

    A subclass with a field ``kind: Literal["mine"] = "mine"`` is found by it in configuration:
    ``--set 'model={kind: mine}'``. One of an installed package is, too, by an entry point of ``headrace.models``.

    Attributes:
        reads_features: Whether it learns from the system's features, so that there must be some.
    """

    reads_features: ClassVar[bool] = True

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        MODEL_KINDS.add(cls)

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that this model cannot serve. Called when the system is loaded.

        Args:
            target: The contract's column that is predicted.
            features: What the model reads.
            step: Time between two records of a series; None for rows.
            horizon: How far ahead to predict; None for rows.

        Raises:
            DeclarationError: Names the field.
        """

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before a forecast's origin a model of this kind looks, so that one reading serves all who look."""
        return features.lookback

    def cleaned(
        self, history: History, target: str, series: NDArray[np.intp], origin: NDArray[np.intp]
    ) -> tuple[History, NDArray[np.intp]]:
        """What the forecasts (series[i], origin[i]) read of a history, and the row of it that each reads."""
        return history, series


@dataclass(frozen=True)
class Training:
    """What a learner of rows is fitted on.

    Attributes:
        rows: The features of every row: `rows.matrix`, floats of shape (rows, features) with NaN for what is missing,
            or `rows.frame`, a polars frame with one column a feature, numbers as floats and categories as texts.
        encoder: How features became floats: their names, roles and levels.
        target: Shape (rows,): the number of each row's class, from 0, or a number on the output's scale.
        output: What is asked of the learner: ``binary``, ``multiclass`` or ``regression``.
        classes: How many classes there are; 0 for numbers. Not every class need be among the rows.
        seed: Of all that is random.
    """

    rows: Encoded
    encoder: Encoder
    target: Array
    output: str
    classes: int
    seed: int


class Fitted(ABC):
    """A fitted learner. Safe to use from any number of threads, and to pickle.

    A score is what the output asks for. Of ``binary`` it is the probability of the second class, of ``regression`` the
    number, of ``multiclass`` a probability per class.
    """

    @abstractmethod
    def scores(self, rows: Encoded) -> Array:
        """The scores of rows: float64 of shape (rows,), or (rows, classes) for several classes.

        A row's score has the same bits whoever its neighbours are.
        """

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """The score of one row, as a float or a list of floats: the very bits that `scores` gives.

        Without a way of its own a learner answers a row as a table of one.

        Args:
            encoded: The row as floats; in the place of n-grams a `SparseRow`.
            features: The row's features as they were computed.
            encoder: What made the one of the other.
        """
        return self.scores(encoder.one(encoded, features))[0].tolist()

    def contributions(self, rows: Encoded) -> Contributions | None:
        """What every feature adds to the scores of rows, exactly; None where the learner cannot tell.

        Optional: without it a learner is asked for rows in between; see `headrace.models.explaining`. What it gives
        adds up, on the linear scale, to what `scores` gives: of ``binary`` to the log odds, of ``multiclass`` to
        numbers whose softmax are the probabilities, of ``regression`` to the number.

        Args:
            rows: One at least.
        """
        return None

    def gains(self, features: int) -> Array | None:
        """What all splits by each feature gain, of a learner that has trees; None of any other.

        Args:
            features: How many the encoder has.
        """
        return None

    def of_ngrams(self, row: Encoded, place: int) -> Array | None:
        """What the n-grams of one row's feature add to its contribution, one by one; None where nobody can tell.

        Args:
            row: One row.
            place: Of the feature.

        Returns:
            On the linear scale, shape (columns of `row.sparse(place)`, width).
        """
        return None

    @property
    def single(self) -> bool:
        """Whether `score` has a quick way of its own for one row."""
        return type(self).score is not Fitted.score

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write it to one file; the same learner gives the same bytes."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. The registry has checked its digest.

        Raises:
            ArtefactError: It is missing or damaged.
        """


MODELS = Group(
    "headrace.models",
    {
        "classifier": "headrace.models.classifier:Classifier",
        "regressor": "headrace.models.regressor:Regressor",
        "forecaster": "headrace.models.forecaster:Forecaster",
        "frame": "headrace.models.frames:FrameForecaster",
        "linear": "headrace.models.linear:Linear",
        "boosting": "headrace.models.boosting:Boosting",
        "factorisation": "headrace.models.factorisation:Factorisation",
        "kernel": "headrace.models.kernel:Kernel",
        "network": "headrace.models.network:Network",
        "estimator": "headrace.models.estimator:Estimator",
        "function": "headrace.models.function:Function",
        "rules": "headrace.models.rules:Rules",
        "onnx": "headrace.models.onnx:Onnx",
        "mlflow": "headrace.models.mlflow_model:Mlflow",
    },
)


class Learner(Declared):
    """Base of what learns from rows, one member of a model: settings only.

    A subclass that says its `kind` is known by it from then on, in configuration (``{"kind": "linear", "C": 0.3}``) and
    to every model that was fitted with it.

    Attributes:
        kind: Its name in configuration and artefacts: a field with one value, ``kind: Literal["mine"] = "mine"``.
        features: Those that it reads; all of them, unless you name some.
        outputs: What it can be asked for.
        fitted: The class of what `fit` gives, whose `load` reads it back.
        reads_text: Whether it reads features of free text.
        reads_ngrams: Whether it reads the sparse rows of n-grams and embeddings; see `Encoded.sparse`.
    """

    kind: str
    features: tuple[str, ...] | None = Field(default=None, exclude_if=lambda names: names is None)
    outputs: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    fitted: ClassVar[type[Fitted]]
    reads_text: ClassVar[bool] = False
    reads_ngrams: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        LEARNER_KINDS.add(cls)

    def check(self, output: str, features: Features) -> None:
        """Refuse what it cannot learn. Called when the system is loaded.

        Raises:
            DeclarationError: It cannot be asked for this output, or not read a feature.
        """
        if output not in self.outputs:
            raise DeclarationError(f"a {self.kind} learner has no {output} output, only {', '.join(self.outputs)}")
        texts = [name for name, expression in features.items() if isinstance(expression, TextColumn)]
        if texts and not self.reads_text:
            message = f"a {self.kind} learner does not read free text"
            hint = "count its words, as col(name).words() does, or let pipelines alone be members: Estimator(model=...)"
            raise DeclarationError(message, where=f"features.{texts[0]}", hint=hint)
        grams = [name for name, expression in features.items() if isinstance(expression, JoinedText)]
        if grams and not self.reads_ngrams:
            message, hint = (
                f"a {self.kind} learner does not read n-grams and embeddings",
                "use Linear(), or a pipeline that reads a frame",
            )
            raise DeclarationError(message, where=f"features.{grams[0]}", hint=hint)

    def fit(self, training: Training) -> Fitted:
        """Fit on rows: the same rows and seed give the same bits.

        Raises:
            DeclarationError: Its settings do not fit the rows.
            HeadraceError: It cannot be fitted.
        """
        raise NotImplementedError(type(self).__qualname__)

    def reads_parts(self, output: str) -> bool:
        """Whether it learns from rows that are read part by part, when asked for an output: see `fit_parts`.

        A learner that does not is fitted on so many rows as a model says that memory holds.
        """
        return False

    def fit_parts(self, training: TrainingParts) -> Fitted:
        """`fit` on more rows than memory holds. How these are parted changes no bit.

        Raises:
            HeadraceError: It cannot be fitted.
        """
        raise NotImplementedError(type(self).__qualname__)


def check_members(members: Sequence[Learner], output: str, features: Features, field: str = "members") -> None:
    """Refuse members that cannot learn what a system asks of them.

    Args:
        members: Of a model.
        output: What they are asked for.
        features: What they read.
        field: Of the model, in which they are.

    Raises:
        DeclarationError: Names the field, below ``model.members``, or the feature.
    """
    for place, member in enumerate(members):
        try:
            member.check(output, _read_by(member, features))
        except DeclarationError as error:
            of_feature = error.where is not None and error.where.startswith("features.")
            place_told = f"model.{field}[{place}]" if error.where is None else f"model.{field}[{place}].{error.where}"
            where = error.where if of_feature else place_told
            raise DeclarationError(error.message, where=where, hint=error.hint) from error


def _read_by(member: Learner, features: Features) -> Features:
    """The features that a member reads."""
    if member.features is None:
        return features
    unknown = [name for name in member.features if name not in features]
    if unknown:
        message, hint = f"{unknown[0]!r} is no feature", f"one of {', '.join(features)}"
        raise DeclarationError(message, where="features", hint=hint)
    if not member.features:
        raise DeclarationError("a member reads one feature at least", where="features", hint="leave it out to read all")
    return Features({name: features[name] for name in features if name in member.features})


MODEL_KINDS = Kinds[Model](MODELS, shared=True)
LEARNER_KINDS = Kinds[Learner](MODELS, shared=True)
