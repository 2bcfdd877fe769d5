"""A finished model of MLflow, of a registry, a run or a folder, as a member."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from headrace.errors import ArtefactError, DeclarationError, ModelError
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner, Training
from headrace.models.brought import require
from headrace.models.encoding import Array, Encoded
from headrace.models.estimator import as_pandas, finite, frames_in_blocks, kind_of_estimator, refuse_other_kind
from headrace.models.pickles import RESTORING
from headrace.registry.artefact import folder_digest

_FOLDER, _ASKED, _MANIFEST = "model", "asked.json", "MLmodel"
_NATIVE = ("sklearn", "xgboost", "lightgbm", "catboost")
"""Flavours whose own objects give probabilities, where MLflow's common form gives classes only."""
_MOVING = ("latest", "None", "Staging", "Production", "Archived")
_REGISTERED = re.compile(r"models:/([^/@]+)/([0-9]+)")


@dataclass(frozen=True)
class FittedMlflow(Fitted):
    """An `Mlflow` that was read.

    Attributes:
        folder: Where its files are.
        output: What is asked of it.
        classes: How many there are.
    """

    folder: Path
    output: str = "regression"
    classes: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return FittedMlflow, (self.folder, self.output, self.classes)  # what was loaded stays in its process

    @cached_property
    def model(self) -> Any:
        """The model in its own form, or in MLflow's common one.

        Raises:
            ArtefactError: It cannot be read with the libraries installed.
        """
        return _loaded(self.folder)

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        scores = frames_in_blocks(rows.frame, lambda block: self._ask(as_pandas(block)))
        return finite(scores, "the model of MLflow") if self.output == "regression" else scores

    def _ask(self, frame: Any) -> Array:
        try:
            method = self.model.predict if self.output == "regression" else _probabilities(self.model)
            answer = np.asarray(method(_columns(self.folder, frame)), dtype=np.float64)
        except ArtefactError:
            raise
        except Exception as error:  # another's model may raise anything
            raise ModelError(f"cannot be asked: {type(error).__name__}: {error}", where="model") from error
        return self._checked(answer.reshape(len(frame), -1))

    def _checked(self, answer: Array) -> Array:
        wanted = {"multiclass": (self.classes,), "binary": (1, 2), "regression": (1,)}[self.output]
        if answer.shape[1] not in wanted:
            message = f"gives {answer.shape[1]} numbers a row, a {self.output} output needs {wanted[-1]}"
            raise ModelError(message, where="model")
        if self.output != "regression" and not ((answer >= 0) & (answer <= 1)).all():
            hint = "log it with pyfunc_predict_fn='predict_proba'"
            raise ModelError("gives what is no probability", where="model", hint=hint)
        return answer if self.output == "multiclass" else np.ascontiguousarray(answer[:, -1])

    def save(self, path: Path) -> None:
        """Write it to a folder: its files as they came, and what is asked of it."""
        shutil.copytree(self.folder, path / _FOLDER, copy_function=shutil.copyfile)
        asked = {"output": self.output, "classes": self.classes}
        (path / _ASKED).write_text(json.dumps(asked, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> FittedMlflow:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is missing or damaged, or needs a library that is not installed.
        """
        try:
            asked = json.loads((path / _ASKED).read_text(encoding="utf-8"))
            model = cls(path / _FOLDER, asked["output"], asked["classes"])
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(path)) from error
        _ = model.model
        return model


class Mlflow(Learner):
    """A finished model of MLflow, taken as it is: nothing of it is fitted here.

    It reads a pandas frame of the features: those that its signature names, or all of them in their order. A model of
    scikit-learn, XGBoost, LightGBM or CatBoost gives classes by its ``predict_proba``, in the order of the contract's
    ``values=``; any other must give probabilities itself. Its files go into the model version, so a prediction can be
    repeated when the registry is gone. Rows that it was made from flatter it.

    Attributes:
        uri: ``models:/name/3``, ``runs:/ID/model``, or the path of a folder with an ``MLmodel``. A name that moves is
            refused, such as ``models:/name/latest`` or an alias.
        tracking_uri: Of the server that has it; empty: as ``MLFLOW_TRACKING_URI`` says.
        digest: Digest of its files: others under the same name are refused. Empty: that of when the system is loaded.

    >>> Mlflow(uri="models:/risk/3").kind
    'mlflow'
    """

    fitted: ClassVar[type[Fitted]] = FittedMlflow
    kind: Literal["mlflow"] = "mlflow"
    reads_text: ClassVar[bool] = True
    uri: str
    tracking_uri: str | None = None
    digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    @model_serializer(mode="wrap")
    def _described(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        if _is_path(self.uri):
            plain["uri"] = Path(self.uri).name  # where it lies shapes no number
        return plain if RESTORING.get() else plain | {"digest": self.digest or _pinned(self.uri, self.tracking_uri)}

    def check(self, output: str, features: Features) -> None:
        """Refuse a model that is not there or another one, of the other kind, or that reads what is no feature."""
        super().check(output, features)
        require("pandas", "kind")
        if RESTORING.get():  # only the code of a stored model is wanted: its files lie beside it
            return
        folder = self._folder()
        for flavour in _flavours(folder):
            if flavour in _NATIVE:
                require(flavour, "uri")
        missing = [name for name in _signature(folder) if name not in features.names]
        if missing:
            hint = f"name a feature {missing[0]}"
            raise DeclarationError(f"the model reads {missing[0]}, which is no feature", where="features", hint=hint)
        try:
            model = _loaded(folder)
        except ArtefactError as error:
            raise DeclarationError(error.message, where="uri", hint=error.hint) from error
        if kind_of_estimator(model) is not None:
            refuse_other_kind(model, output)

    def _folder(self) -> Path:
        """Where its files are.

        Raises:
            DeclarationError: There are none, or others than were declared.
        """
        moving = self.uri.startswith("models:/") and ("@" in self.uri or self.uri.rpartition("/")[2] in _MOVING)
        if moving:
            raise DeclarationError(f"{self.uri} moves", where="uri", hint="name a version: models:/name/3")
        folder = _fetched(self.uri, self.tracking_uri)
        if not (folder / _MANIFEST).is_file():
            raise DeclarationError(f"there is no {_MANIFEST} in {self.uri}", where="uri")
        digest, known = folder_digest(folder), self.digest or _pinned(self.uri, self.tracking_uri)
        if digest != known:
            other = "not the declared one" if self.digest else "another one than when the system was loaded"
            raise DeclarationError(f"{self.uri} has the digest {digest}, {other}", where="digest")
        return folder

    def fit(self, training: Training) -> FittedMlflow:
        """Ask it for a row, to see whether it answers.

        Raises:
            DeclarationError: It is not there, or another one.
            ArtefactError: It cannot be read with the libraries installed.
            ModelError: It fails, or gives something else than is asked for.
        """
        model = FittedMlflow(self._folder(), training.output, training.classes)
        model.scores(training.rows)
        return model


@functools.lru_cache(maxsize=32)
def _downloaded(uri: str, tracking_uri: str | None) -> tempfile.TemporaryDirectory[str]:
    """A folder with the files that a URI names, which goes with the process."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    folder = tempfile.TemporaryDirectory(prefix="headrace-mlflow-")
    try:
        place, registered = uri, _REGISTERED.fullmatch(uri)
        if registered:  # by itself MLflow looks these up where the environment says, whatever the tracking URI is
            client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            place = client.get_model_version_download_uri(registered[1], registered[2])
        download_artifacts(place, dst_path=folder.name, tracking_uri=tracking_uri)
    except (MlflowException, OSError) as error:
        folder.cleanup()
        message = f"{uri} cannot be had: {str(error).partition(chr(10))[0]}"
        raise DeclarationError(message, where="uri", hint="is tracking_uri, or MLFLOW_TRACKING_URI, right?") from error
    return folder


def _is_path(uri: str) -> bool:
    return "://" not in uri and not uri.startswith(("models:/", "runs:/"))


def _fetched(uri: str, tracking_uri: str | None) -> Path:
    if _is_path(uri):
        if not Path(uri).is_dir():
            raise DeclarationError(f"there is no folder {uri}", where="uri")
        return Path(uri)
    top = Path(_downloaded(uri, tracking_uri).name)
    inner = sorted(top.glob(f"*/{_MANIFEST}"))
    folder = inner[0].parent if inner and not (top / _MANIFEST).is_file() else top
    (folder / "registered_model_meta").unlink(missing_ok=True)  # the client notes under which name it came
    return folder


@functools.lru_cache(maxsize=32)
def _pinned(uri: str, tracking_uri: str | None) -> str:
    """The digest of a model's files when this process first looked: settings do not change under it."""
    return folder_digest(_fetched(uri, tracking_uri))


def _manifest(folder: Path) -> Mapping[str, Any]:
    import yaml

    content: Mapping[str, Any] = yaml.safe_load((folder / _MANIFEST).read_text(encoding="utf-8"))
    return content


def _flavours(folder: Path) -> list[str]:
    return list(_manifest(folder).get("flavors", {}))


def _signature(folder: Path) -> dict[str, str]:
    """The type of each column that a model says it reads; empty where it says nothing."""
    inputs = json.loads((_manifest(folder).get("signature") or {}).get("inputs") or "[]")
    return {column["name"]: column["type"] for column in inputs if "name" in column and column["type"] != "tensor"}


def _columns(folder: Path, frame: Any) -> Any:
    """The columns that a model reads, in its order; whole numbers and truths as such where none is missing."""
    types = _signature(folder)
    kinds = {"long": "int64", "integer": "int32", "boolean": "bool", "float": "float32"}
    chosen = frame[list(types)] if types else frame
    casts = {name: kinds[kind] for name, kind in types.items() if kind in kinds and not chosen[name].isna().any()}
    return chosen.astype(casts)


def _probabilities(model: Any) -> Any:
    return getattr(model, "predict_proba", model.predict)


@functools.lru_cache(maxsize=8)
def _loaded(folder: Path) -> Any:
    """The model in a folder: as the object of its own library where that gives probabilities."""
    try:
        native = next((flavour for flavour in _flavours(folder) if flavour in _NATIVE), None)
        if native is not None:
            model = __import__(f"mlflow.{native}", fromlist=["load_model"]).load_model(str(folder))
            if hasattr(model, "predict") and kind_of_estimator(model) is not None:
                return model
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(folder))
    except Exception as error:  # whatever its libraries raise
        hint = "install what its requirements.txt names"
        message = f"the model cannot be read: {type(error).__name__}: {error}"
        raise ArtefactError(message, where=str(folder), hint=hint) from error
