"""A model of rows that was made elsewhere, as an ONNX file, as a member."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PlainSerializer

from headrace.errors import ArtefactError, ConfigError, DeclarationError, ModelError
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner, Training
from headrace.models.brought import require
from headrace.models.encoding import CATEGORY, Array, Encoded
from headrace.models.estimator import in_blocks
from headrace.models.pickles import RESTORING

_FILE, _ASKED = "model.onnx", "asked.json"
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


@dataclass(frozen=True)
class FittedOnnx(Fitted):
    """An `Onnx` that was read.

    Attributes:
        content: The file.
        output: What is asked of it.
        classes: How many there are.
    """

    content: bytes
    output: str = "binary"
    classes: int = 2

    def __reduce__(self) -> tuple[Any, ...]:
        return FittedOnnx, (self.content, self.output, self.classes)  # a session stays in its process

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

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        return in_blocks(rows.matrix, self._ask)

    def check(self, matrix: Array) -> None:
        """Ask it for some rows.

        Raises:
            ModelError: It does not read them, or gives something else than is asked for.
        """
        in_blocks(matrix, self._ask)

    def _ask(self, block: Array) -> Array:
        (given, *more), outputs = self.session.get_inputs(), self.session.get_outputs()
        if more or given.type not in _TYPES:
            raise ModelError(f"reads {given.type} and {len(more)} more", where="model", hint="one matrix of floats")
        try:
            found = self.session.run([each.name for each in outputs], {given.name: block.astype(_TYPES[given.type])})
        except Exception as error:  # as above
            raise ModelError(f"cannot be asked: {_first_line(error)}", where="model") from error
        for each in reversed(found):  # a label comes first, where there is one
            if isinstance(each, np.ndarray) and each.dtype.kind == "f" and each.size in self._sizes(len(block)):
                return self._checked(each.reshape(len(block), -1).astype(np.float64))
        told = ", ".join(f"{each.name}: {each.type}{each.shape}" for each in outputs)
        wanted, hint = {
            "binary": ("probability", "export it without ZipMap"),
            "multiclass": (f"{self.classes} probabilities", "export it without ZipMap; declare values= in its order"),
            "regression": ("number a row", "is it a classifier? then use Classifier()"),
        }[self.output]
        raise ModelError(f"gives no {wanted}, but {told}", where="model", hint=hint)

    def _sizes(self, rows: int) -> tuple[int, ...]:
        """How many numbers an answer for so many rows may have."""
        return {"binary": (rows, 2 * rows), "multiclass": (self.classes * rows,)}.get(self.output, (rows,))

    def _checked(self, answer: Array) -> Array:
        scores: Array = answer if self.output == "multiclass" else answer[:, -1]
        fill = "fill missing values: col(name).fill(0)"
        if self.output == "regression":
            if not np.isfinite(scores).all():
                raise ModelError("gives what is no number", where="model", hint=fill)
        elif ((scores < 0) | (scores > 1) | np.isnan(scores)).any():
            raise ModelError("gives what is no probability", where="model", hint=fill)
        return scores

    def save(self, path: Path) -> None:
        """Write it to a folder: the file as it came, and what is asked of it."""
        path.mkdir(parents=True)
        (path / _FILE).write_bytes(self.content)
        asked = {"output": self.output, "classes": self.classes}
        (path / _ASKED).write_text(json.dumps(asked, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> FittedOnnx:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is missing or damaged.
            ConfigError: ONNX Runtime is not installed.
        """
        try:
            asked = json.loads((path / _ASKED).read_text(encoding="utf-8"))
            model = cls((path / _FILE).read_bytes(), asked["output"], asked["classes"])
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(path)) from error
        _ = model.session
        return model


class Onnx(Learner):
    """A finished model, taken as it is: nothing of it is fitted here.

    It reads the features in their order, as one matrix of numbers with NaN for what is missing. It gives the
    probability of the second of two classes (one column, or one a class), a probability for each of several, in the
    order of the contract's ``values=``, or a number. Calibration and comparison with other members are as ever, so rows
    that it was made from flatter it. One row takes the columnar way. Needs ``headrace[onnx]``.

    Attributes:
        file: The file; in `system.py` best ``Path(__file__).with_name("model.onnx")``. Its bytes go into the model
            version.
        sha256: Digest of the file: another file under its name is refused.

    >>> member = Onnx(file=Path("models/risk.onnx"), sha256="0" * 64)
    >>> member.model_dump(mode="json")["file"]
    'risk.onnx'
    """

    fitted: ClassVar[type[Fitted]] = FittedOnnx
    kind: Literal["onnx"] = "onnx"
    # Where it lies shapes no number: only its name is told and digested, beside the digest of its bytes.
    file: Annotated[Path, PlainSerializer(lambda path: path.name, return_type=str, when_used="json")]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    def check(self, output: str, features: Features) -> None:
        """Refuse a file that is not there or another one, and a package that is not installed."""
        super().check(output, features)
        require("onnxruntime", "kind")
        if RESTORING.get():  # only the code of a stored model is wanted: the file's bytes lie beside it
            return
        try:
            self._content()
        except ArtefactError as error:
            raise DeclarationError(error.message, where="file", hint=f"looked for at {self.file}") from error

    def _content(self) -> bytes:
        try:
            content = self.file.read_bytes()
        except OSError as error:
            raise ArtefactError(f"cannot be read: {error.strerror}", where=str(self.file)) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ArtefactError(f"has the digest {digest}, not the declared one", where=str(self.file))
        return content

    def fit(self, training: Training) -> FittedOnnx:
        """Read the file.

        Raises:
            DeclarationError: A feature is a category, for which nobody knows the codes it was made with.
            ArtefactError: The file is missing, is another one, or no model.
            ConfigError: ONNX Runtime is not installed.
            ModelError: The model does not read these features, or gives something else.
        """
        encoder = training.encoder
        categories = [name for name, role in zip(encoder.names, encoder.roles, strict=True) if role == CATEGORY]
        if categories:
            hint = "make it numbers: col(name) == value"
            raise DeclarationError("an ONNX model reads numbers", where=f"features.{categories[0]}", hint=hint)
        model = FittedOnnx(self._content(), training.output, training.classes)
        model.check(training.rows.matrix[:1])
        return model


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
