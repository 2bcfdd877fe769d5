"""A finished model that is a function of the features, such as a PyTorch module, as a member."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from headrace.errors import DeclarationError, HeadraceError, ModelError
from headrace.features.view import Features
from headrace.models import pickles
from headrace.models.base import Fitted, Learner, Training
from headrace.models.brought import Brought, is_library, named, require
from headrace.models.encoding import CATEGORY, Array, Encoded
from headrace.models.estimator import finite, frames_in_blocks, given, in_blocks
from headrace.user_code import code_digest


@dataclass(frozen=True)
class FittedFunction(Fitted):
    """A `Function` as it was declared: nothing of it was fitted.

    Attributes:
        function: What is called.
        reads: ``matrix``, ``pandas`` or ``polars``.
        output: What is asked of it.
        classes: How many there are.
        stored: It as it was before anything was asked of it; None where it was read.
    """

    function: Any
    reads: str
    output: str
    classes: int
    stored: pickles.Pickled | None = field(default=None, repr=False, compare=False)

    @property
    def parts(self) -> tuple[Any, ...]:
        """What is pickled."""
        return self.function, self.reads, self.output, self.classes

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        if self.reads == "matrix":
            scores = in_blocks(rows.matrix, self._ask)
        else:
            scores = frames_in_blocks(rows.frame, lambda block: self._ask(given(block, self.reads)))
        return finite(scores, named(self.function)) if self.output == "regression" else scores

    def _ask(self, rows: Any) -> Array:
        try:
            answer = _called(self.function, rows)
        except HeadraceError:
            raise
        except Exception as error:  # a user's own function may raise anything
            message = f"{named(self.function)} failed: {type(error).__name__}: {error}"
            raise ModelError(message, where="model") from error
        try:
            numbers = np.asarray(answer, dtype=np.float64)
        except (TypeError, ValueError) as error:
            message = f"{named(self.function)} gives what is no number: {error}"
            hint = "give a number a row" if self.output == "regression" else "give probabilities, not labels"
            raise ModelError(message, where="model", hint=hint) from error
        return self._checked(numbers, len(rows))

    def _checked(self, answer: Array, rows: int) -> Array:
        """The scores, if they are what the output asks for."""
        if self.output == "binary" and answer.shape == (rows, 2):
            answer = answer[:, 1]
        if self.output != "multiclass" and answer.shape == (rows, 1):
            answer = answer[:, 0]
        shape = (rows, self.classes) if self.output == "multiclass" else (rows,)
        if answer.shape != shape:
            message = f"{named(self.function)} gives the shape {answer.shape}, {shape} is wanted"
            raise ModelError(message, where="model")
        if self.output != "regression" and not ((answer >= 0) & (answer <= 1)).all():
            hint = "fill missing values: col(name).fill(0)" if np.isnan(answer).any() else None
            raise ModelError(f"{named(self.function)} gives what is no probability", where="model", hint=hint)
        return answer

    def save(self, path: Path) -> None:
        """Write it to a folder: pickled, with the code of yours that it needs."""
        pickles.save(self.stored or self.parts, path)

    @classmethod
    def load(cls, path: Path) -> FittedFunction:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It cannot be read with the libraries installed.
        """
        return cls(*pickles.load(path))


class Function(Learner):
    """A finished model, taken as it is: a function of the features, or a PyTorch module.

    It gives probabilities of the second class, one probability a class, or numbers. Nothing of it is fitted here, so
    rows that it was made from flatter it. A module of PyTorch gets a float32 tensor of the matrix, and is asked without
    gradients.

    Attributes:
        function: What is called with the features of some rows.
        class_path: Or where it is, such as ``mypackage.scoring.risk``.
        reads: What it is called with: ``matrix`` has the features in order, with NaN for what is missing.

    >>> def risk(matrix): return 1 / (1 + np.exp(-matrix[:, 0]))
    >>> Function(function=risk, reads="matrix").kind
    'function'
    """

    fitted: ClassVar[type[Fitted]] = FittedFunction
    kind: Literal["function"] = "function"
    function: Any = None
    class_path: str | None = None
    reads: Literal["matrix", "pandas", "polars"] = "pandas"

    @model_serializer(mode="wrap")
    def _described(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self.model_copy(update={"function": None}))
        if self.function is None:
            return plain | self._brought.described()
        library = is_library(type(self.function)) and not hasattr(self.function, "__code__")
        code = code_digest([self.function] if library else self.function)
        return plain | {"function": named(self.function), "code": code}

    @property
    def _brought(self) -> Brought:
        return Brought(None, self.class_path, {}, "")

    def check(self, output: str, features: Features) -> None:
        """Refuse what cannot be called, or cannot read a feature."""
        if (self.function is None) == (self.class_path is None):
            raise DeclarationError("say either function= or class_path=", where="function")
        called = self._brought.factory() if self.function is None else self.function
        if not callable(called):
            raise DeclarationError(f"{named(called)} cannot be called", where="function")
        if _is_module(called) and self.reads != "matrix":
            message = f"{named(called)} is a module of PyTorch, which reads a matrix"
            raise DeclarationError(message, where="reads", hint="Function(function=..., reads='matrix')")
        if self.reads == "pandas":
            require("pandas", "reads")
        if self.reads == "matrix":
            super().check(output, features)

    def fit(self, training: Training) -> FittedFunction:
        """Ask it for a row, to see whether it answers.

        Raises:
            DeclarationError: It reads a matrix, and a feature is a category.
            ModelError: It fails, or gives something else than is asked for.
            ArtefactError: It cannot be pickled.
        """
        encoder = training.encoder
        categories = [name for name, role in zip(encoder.names, encoder.roles, strict=True) if role == CATEGORY]
        if categories and self.reads == "matrix":
            hint = "make it numbers: col(name) == value; or let it read a frame: reads='pandas'"
            raise DeclarationError("a matrix holds numbers", where=f"features.{categories[0]}", hint=hint)
        called = self._brought.factory() if self.function is None else self.function
        fitted = FittedFunction(called, self.reads, training.output, training.classes)
        fitted = replace(fitted, stored=pickles.pickled(fitted.parts, named(called)))
        fitted.scores(training.rows)
        return fitted


def _is_module(function: Any) -> bool:
    """Whether something is a module of PyTorch, which is not imported for that."""
    return any((kind.__module__ or "").startswith("torch.nn.") for kind in type(function).__mro__)


def _called(function: Any, rows: Any) -> Any:
    """What a function gives; a module of PyTorch is asked in its own way."""
    if not _is_module(function):
        answer = function(rows)
        return answer.detach().cpu().numpy() if hasattr(answer, "detach") else answer
    import torch

    function.eval()
    with torch.no_grad():
        return function(torch.as_tensor(np.asarray(rows, dtype=np.float32))).cpu().numpy()
