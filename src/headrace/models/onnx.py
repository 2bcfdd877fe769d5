"""A classifier that was made elsewhere, as an ONNX file, as a member."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, PlainSerializer

from headrace.declaration import Declared
from headrace.errors import ArtefactError, ConfigError, DeclarationError, ModelError
from headrace.models.encoding import CATEGORY, Array, Encoder
from headrace.models.estimator import in_blocks

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Onnx(Declared):
    """A finished model of two classes, taken as it is: nothing of it is fitted here.

    It reads the features in their order, as one matrix of numbers with NaN for what is missing, and gives the
    probability of the second class: one column, or two (one a class). Calibration and comparison with other members are
    as ever, so rows that it was made from flatter it. One row takes the columnar way. Needs ``headrace[onnx]``.

    Attributes:
        file: The file; in `system.py` best ``Path(__file__).with_name("model.onnx")``. Its bytes go into the model
            version.
        sha256: Digest of the file: another file under its name is refused.
    """

    kind: ClassVar[str] = "onnx"
    # Where it lies shapes no number: only its name is told and digested, beside the digest of its bytes.
    file: Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str, when_used="json")]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    def fit(self, encoder: Encoder, matrix: Array, target: Array, seed: int) -> OnnxScorer:
        """Read the file.

        Raises:
            DeclarationError: A feature is a category, for which nobody knows the codes it was made with.
            ArtefactError: The file is missing, is another one, or no model.
            ConfigError: ONNX Runtime is not installed.
            ModelError: The model does not read these features, or gives no probability.
        """
        categories = [name for name, role in zip(encoder.names, encoder.roles, strict=True) if role == CATEGORY]
        if categories:
            hint = "make it numbers: col(name) == value"
            raise DeclarationError("an ONNX model reads numbers", where=f"features.{categories[0]}", hint=hint)
        try:
            content = self.file.read_bytes()
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(self.file)) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ArtefactError(f"has the digest {found}, not the declared one", where=str(self.file))
        scorer = OnnxScorer(content)
        scorer.scores(matrix[:1])
        return scorer


@dataclass(frozen=True)
class OnnxScorer:
    """An `Onnx` that was read: the probability of the second class."""

    content: bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxScorer, (self.content,)  # a session stays in its process

    @cached_property
    def session(self) -> Any:
        """The model, ready to be asked, on one thread: bits do not depend on the number of cores.

        Raises:
            ConfigError: ONNX Runtime is not installed.
            ArtefactError: The bytes are no model.
        """
        if find_spec("onnxruntime") is None:
            raise ConfigError("an ONNX model needs onnxruntime", where="model", hint="pip install 'headrace[onnx]'")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised
        try:
            return onnxruntime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            raise ArtefactError(f"is no ONNX model: {_first_line(error)}", where="model") from error

    def scores(self, matrix: Array) -> Array:
        """Probabilities of encoded rows: shape (rows,)."""
        return in_blocks(matrix, self._ask)

    def _ask(self, block: Array) -> Array:
        (given, *more), outputs = self.session.get_inputs(), self.session.get_outputs()
        if more or given.type not in _TYPES:
            raise ModelError(f"reads {given.type} and {len(more)} more", where="model", hint="one matrix of floats")
        try:
            found = self.session.run([each.name for each in outputs], {given.name: block.astype(_TYPES[given.type])})
        except Exception as error:  # as above
            raise ModelError(f"cannot be asked: {_first_line(error)}", where="model") from error
        for each in reversed(found):  # a label comes first, where there is one
            if isinstance(each, np.ndarray) and each.dtype.kind == "f" and each.size in (len(block), 2 * len(block)):
                p = each.reshape(len(block), -1)[:, -1].astype(np.float64)
                if ((p < 0) | (p > 1) | np.isnan(p)).any():
                    raise ModelError(
                        "gives what is no probability", where="model", hint="fill missing values: col(name).fill(0)"
                    )
                return p
        told = ", ".join(f"{each.name}: {each.type}{each.shape}" for each in outputs)
        raise ModelError(f"gives no probability, but {told}", where="model", hint="export it without ZipMap")

    def score(self, row: list[float]) -> float:
        """The probability of one encoded row, through the columnar way."""
        return float(self.scores(np.array([row]))[0])

    def save(self, path: Path) -> None:
        """Write the bytes as they came."""
        path.write_bytes(self.content)

    @classmethod
    def load(cls, path: Path) -> OnnxScorer:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is missing or damaged.
            ConfigError: ONNX Runtime is not installed.
        """
        scorer = cls(path.read_bytes())
        _ = scorer.session
        return scorer


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
