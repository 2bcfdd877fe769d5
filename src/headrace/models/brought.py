"""What you bring: an object, a factory or the path of a class, made anew for every fit."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from headrace.errors import DeclarationError
from headrace.user_code import code_digest

INSTALLS = {
    "catboost": "catboost",
    "lightgbm": "lightgbm",
    "mlflow": "mlflow-skinny",
    "mlforecast": "mlforecast",
    "onnxruntime": "headrace[onnx]",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "sktime": "sktime",
    "statsforecast": "statsforecast",
    "torch": "torch",
    "xgboost": "xgboost",
}
"""What pip calls the packages that models are of, by their import name."""


_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def require(package: str, where: str) -> None:
    """Refuse to go on without a package.

    Raises:
        DeclarationError: It is not installed; the hint is the line that installs it.
    """
    if find_spec(package) is None:
        name = INSTALLS.get(package, package)
        raise DeclarationError(f"needs {package}, which is not installed", where=where, hint=f"pip install '{name}'")


@dataclass(frozen=True)
class Brought:
    """A model of yours, as it is declared.

    Attributes:
        model: An object, which is copied before it is fitted, or a function or class that makes one.
        class_path: Or where the class is, such as ``sklearn.svm.SVC``.
        params: Arguments of the function or class.
        where: Path of what has the three fields, for errors; empty: the errors name fields alone.

    >>> Brought(None, "collections.Counter", {"a": 2}, "").make()
    Counter({'a': 2})
    """

    model: Any
    class_path: str | None
    params: Mapping[str, Any]
    where: str

    def check(self) -> None:
        """Refuse what cannot be made.

        Raises:
            DeclarationError: Names the field.
        """
        if (self.model is None) == (self.class_path is None):
            raise DeclarationError("say either model= or class_path=", where=self._at("model"))
        if self.params and not self.makes:
            hint = "set them in the object, or give the class: model=Name, params={...}"
            raise DeclarationError("an object takes no arguments", where=self._at("params"), hint=hint)
        if self.makes:
            self._refuse_arguments(self.factory())

    @property
    def makes(self) -> bool:
        """Whether it says how a model is made, rather than being one."""
        return (
            self.class_path is not None
            or inspect.isroutine(self.model)
            or isinstance(self.model, type | functools.partial)
        )

    def factory(self) -> Any:
        """The function or class.

        Raises:
            DeclarationError: There is no such class.
        """
        return self.model if self.class_path is None else located(self.class_path, self._at("class_path"))

    def make(self) -> Any:
        """A model that was not fitted yet.

        Raises:
            DeclarationError: The function or class does not make one of these arguments, or an object, such as one
                that holds a lock, cannot be copied.
        """
        if self.makes:
            try:
                return self.factory()(**self.params)
            except DeclarationError:
                raise
            except Exception as error:  # whatever a user's own function raises
                message = f"cannot be made: {type(error).__name__}: {error}"
                raise DeclarationError(message, where=self._at("class_path" if self.class_path else "model")) from error
        try:
            return fresh(self.model)
        except Exception as error:  # copying runs the object's own code
            message = f"{named(self.model)} cannot be copied: {type(error).__name__}: {error}"
            hint = "make it in fit, or give the class: model=Name, params={...}"
            raise DeclarationError(message, where=self._at("model"), hint=hint) from error

    def _at(self, field: str) -> str:
        return f"{self.where}.{field}" if self.where else field

    def _refuse_arguments(self, factory: Any) -> None:
        try:
            signature = inspect.signature(factory)
        except (TypeError, ValueError):  # of a compiled class nothing is known
            return
        try:
            signature.bind(**self.params)
        except TypeError as error:
            known = ", ".join(signature.parameters)
            unknown = [name for name in self.params if name not in signature.parameters]
            where = self._at(f"params.{unknown[0]}" if unknown else "params")
            raise DeclarationError(f"{named(factory)}: {error}", where=where, hint=f"it takes {known}") from error

    def described(self) -> dict[str, Any]:
        """JSON-ready: what it is, with a digest of the code and the settings that are yours."""
        if self.class_path is not None:
            return {"code": code_digest(self.factory())} if not _installed(self.class_path) else {}
        # Of a library's object the settings count, and code of yours that it holds; within a list it is no root.
        library = is_library(self.model if isinstance(self.model, type) else type(self.model))
        return {"model": named(self.model), "code": code_digest([self.model] if library else self.model)}


def located(class_path: str, where: str) -> Any:
    """What a path such as ``sklearn.svm.SVC`` names.

    Raises:
        DeclarationError: Its package is not installed, or there is no such thing in it.
    """
    module, _, name = class_path.rpartition(".")
    if not module or not all(part.isidentifier() for part in class_path.split(".")):
        raise DeclarationError(f"{class_path!r} is no path of a class, such as sklearn.svm.SVC", where=where)
    require(module.partition(".")[0], where)
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DeclarationError(f"there is no {class_path}: {error}", where=where) from error


def fresh(model: Any) -> Any:
    """A copy that was not fitted: as scikit-learn makes one where it can, otherwise a deep one."""
    if hasattr(model, "get_params") and not isinstance(model, type) and hasattr(model, "fit"):
        from sklearn.base import clone

        try:
            return clone(model)
        except (TypeError, RuntimeError):  # it has the name of the method only
            return copy.deepcopy(model)
    return copy.deepcopy(model)


def named(thing: Any) -> str:
    """What a person calls it: the path of a function or class, or of an object's class."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    owner = thing if hasattr(thing, "__qualname__") else type(thing)
    module = owner.__module__ or ""
    local = module.startswith("_headrace_system_") or module == "__main__"
    return str(owner.__qualname__ if local else f"{module}.{owner.__qualname__}")


def is_library(kind: type) -> bool:
    """Whether a class is of an installed library, rather than your own code."""
    name = kind.__module__ or ""
    if name == "__main__" or name.startswith("_headrace_"):
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or file.startswith(_LIBRARIES)


def _installed(class_path: str) -> bool:
    """Whether it is of a library, whose version is pinned elsewhere, rather than your own code."""
    spec = find_spec(class_path.partition(".")[0])
    if spec is None:
        return False
    if spec.origin is not None:
        return spec.origin.startswith(_LIBRARIES)
    # A folder without __init__.py is one with those of its name elsewhere: some packages install one called `tests`.
    return all(place.startswith(_LIBRARIES) for place in spec.submodule_search_locations or ())
