"""Gradient boosting without its Python package: LightGBM's C library called directly.

Importing ``lightgbm`` drags scikit-learn and scipy in and costs 1.5 s, which a refresh or a request does not
have. `Booster` loads ``lib_lightgbm`` by ctypes and gives the same bits as ``lightgbm.Booster.predict``. Only
`fit_booster` imports the package, and only when it is called.

LightGBM trusts a model text: a truncated one aborts the process, an index out of range reads foreign memory.
So every text is checked here before the library sees it, unless its digest says that it was before.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.errors import ArtefactError, ModelError, NotEnoughDataError
from headrace.watching import tree_callbacks

if TYPE_CHECKING:
    import numpy as np

    from headrace.models.trees import Trees

_log = logging.getLogger("headrace.booster")

_FLOAT32, _FLOAT64, _NORMAL, _CONTRIBUTIONS, _ALL_ITERATIONS = 0, 1, 0, 3, -1
MANY = 4_096
"""From so many rows at once on `Trees` is quicker than LightGBM."""
READ = 16_384
"""From so many rows in all on it is worth while to read the model for that."""
_RESTORE = "restore the file or train again"
_INTEGER, _FLOAT = rb"-?\d{1,10}+", rb"(?:-?(?:\d++(?:\.\d++)?+(?:e[+-]?\d++)?+|inf)|nan)"
_INTEGERS = re.compile(rb"(?:%b(?: %b)*+)?" % (_INTEGER, _INTEGER)).fullmatch
_FLOATS = re.compile(rb"(?:%b(?: %b)*+)?" % (_FLOAT, _FLOAT)).fullmatch
_TREE_KEYS = frozenset(
    b"Tree num_leaves num_cat split_feature split_gain threshold decision_type left_child right_child "
    b"leaf_value leaf_weight leaf_count internal_value internal_weight internal_count cat_boundaries "
    b"cat_threshold is_linear shrinkage".split()
)
_ALIASES = {
    **dict.fromkeys(("random_seed", "random_state"), "seed"),
    **dict.fromkeys(("num_thread", "nthread", "nthreads", "n_jobs"), "num_threads"),
    **dict.fromkeys(("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees"), "rounds"),
    **dict.fromkeys(("num_round", "num_rounds", "nrounds", "num_boost_round", "n_estimators"), "rounds"),
    **dict.fromkeys(("max_iter",), "rounds"),
}
_FILES = {"darwin": "lib_lightgbm.dylib", "win32": "lib_lightgbm.dll"}


class Booster:
    """A fitted model, ready to predict. Safe to use from any number of threads.

    Attributes:
        features: The number of columns that a row must have.
        outputs: The number of values per row: 1, or the number of classes.
        feature_names: The columns' names, in order.
        text: LightGBM's text form.
    """

    def __init__(self, text: bytes, header: _Header) -> None:
        self.text = text
        self._handle = _Handle(text)
        self.feature_names = header.feature_names
        self.features = len(header.feature_names)
        self.outputs = header.outputs
        self._asked = 0
        self._local = threading.local()

    @classmethod
    def from_text(cls, model_text: str | bytes, *, known: str | None = None) -> Booster:
        """Load a model from LightGBM's text form.

        Args:
            model_text: What `fit_booster` gave.
            known: `digest` of a model that was loaded before. A text that has it is not checked again, which takes
                several times as long as loading it.

        Raises:
            ArtefactError: The text is truncated, damaged or not a model.
            ModelError: LightGBM's library is not installed, or refuses the model.
        """
        text = model_text.encode() if isinstance(model_text, str) else model_text
        unchanged = known is not None and hashlib.sha256(text).hexdigest() == known
        return cls(text, _header(text) if unchanged else _checked(text))

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.text).hexdigest()

    def predict(self, matrix: np.ndarray, threads: int = 1) -> np.ndarray:
        """Predict many rows.

        Args:
            matrix: ``(rows, features)``, float32 or float64; rows or columns contiguous. NaN means missing.
            threads: How many threads the library may use; the result does not depend on it.

        Returns:
            float64, ``(rows,)``, or ``(rows, outputs)`` for a model with several outputs.

        Raises:
            ModelError: The matrix has another shape, type or layout.
        """
        kind, parameters = _matrix_type(matrix, self.features), _parameters(threads)
        rows = matrix.shape[0]
        self._asked += rows
        if rows >= MANY and self._asked >= READ and self._trees is not None:
            return self._trees.predict(matrix)
        out = self._of_library(matrix, kind, _NORMAL, self.outputs, parameters)
        return out.ravel() if self.outputs == 1 else out

    def contributions(self, matrix: np.ndarray, threads: int = 1) -> np.ndarray:
        """What every column adds to the sum of the trees of many rows: SHAP values, as LightGBM computes them.

        They add up to the sum before the objective's own transformation, such as the log odds.

        Args:
            matrix: As of `predict`.
            threads: How many threads the library may use; the result does not depend on it.

        Returns:
            float64, ``(rows, outputs, features + 1)``; the last is what the trees say on average, in every row.

        Raises:
            ModelError: The matrix has another shape, type or layout.
        """
        kind, width = _matrix_type(matrix, self.features), self.outputs * (self.features + 1)
        out = self._of_library(matrix, kind, _CONTRIBUTIONS, width, _parameters(threads))
        return out.reshape(matrix.shape[0], self.outputs, self.features + 1)

    def gains(self) -> np.ndarray:
        """What all splits by each column gain, ``(features,)``."""
        from headrace.models.gains import gains_of

        return gains_of(self.text, self.features)

    def _of_library(
        self, matrix: np.ndarray, kind: int, wanted: int, width: int, parameters: ctypes.c_char_p
    ) -> np.ndarray:
        """What LightGBM gives for every row of a matrix, ``(rows, width)``."""
        import numpy as np

        rows = matrix.shape[0]
        out = np.empty((rows, width), dtype=np.float64)
        if rows:
            length = ctypes.c_int64(0)
            _call(
                "LGBM_BoosterPredictForMat",
                self._handle.pointer,
                ctypes.c_void_p(matrix.ctypes.data),
                ctypes.c_int(kind),
                ctypes.c_int32(rows),
                ctypes.c_int32(self.features),
                ctypes.c_int(int(matrix.flags["C_CONTIGUOUS"])),
                ctypes.c_int(wanted),
                ctypes.c_int(0),
                ctypes.c_int(_ALL_ITERATIONS),
                parameters,
                ctypes.byref(length),
                ctypes.c_void_p(out.ctypes.data),
            )
        return out

    @cached_property
    def _trees(self) -> Trees | None:
        from headrace.models.trees import Trees

        return Trees.from_text(self.text)

    def predict_row(self, values: Sequence[float] | np.ndarray) -> float:
        """Predict one row: the same bits as `predict`, in microseconds.

        Args:
            values: ``features`` numbers in the model's order. NaN means missing.

        Raises:
            ModelError: The number of values is wrong, one is not a number, or the model has several outputs.
        """
        if self.outputs != 1:
            raise ModelError(f"the model has {self.outputs} outputs", hint="use predict_outputs")
        return self._row()(values)[0]

    def predict_outputs(self, values: Sequence[float] | np.ndarray) -> list[float]:
        """Predict one row of a model with any number of outputs, as `predict_row`."""
        return list(self._row()(values))

    def _row(self) -> _Row:
        # One buffer and one native configuration per thread: no lock, and nothing is shared between calls.
        row: _Row | None = getattr(self._local, "row", None)
        if row is None:
            row = self._local.row = _Row(self._handle, self.features, self.outputs)
        return row


class _Handle:
    """Owns a native booster; freed with the last object that refers to it."""

    def __init__(self, text: bytes) -> None:
        self.pointer = ctypes.c_void_p()
        self._free = _library().LGBM_BoosterFree  # at the interpreter's end this module's own names are gone
        iterations = ctypes.c_int(0)
        if _library().LGBM_BoosterLoadModelFromString(
            ctypes.c_char_p(text), ctypes.byref(iterations), ctypes.byref(self.pointer)
        ):
            raise ArtefactError(f"LightGBM refuses the model: {_last_error()}", hint=_RESTORE)

    def __del__(self) -> None:
        if self.pointer.value:
            self._free(self.pointer)
            self.pointer.value = None


class _Row:
    """The single-row fast call of one thread, with its own buffers."""

    def __init__(self, handle: _Handle, features: int, outputs: int) -> None:
        self._handle = handle  # keeps the booster alive for as long as the native configuration refers to it
        self._config = ctypes.c_void_p()
        self._free = _library().LGBM_FastConfigFree
        self._input = (ctypes.c_double * features)()
        self._output = (ctypes.c_double * outputs)()
        self._length = ctypes.c_int64(0)
        # Called with the interpreter's lock held: a row takes microseconds, and to have a lock back that another
        # thread has taken meanwhile takes many times as long.
        self._function = ctypes.PyDLL(_library_path()).LGBM_BoosterPredictForMatSingleRowFast
        _call(
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            handle.pointer,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(_ALL_ITERATIONS),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(features),
            _parameters(1),
            ctypes.byref(self._config),
        )
        self._arguments = (self._config, self._input, ctypes.byref(self._length), self._output)

    def __call__(self, values: Sequence[float] | np.ndarray) -> ctypes.Array[ctypes.c_double]:
        try:
            self._input[:] = values  # type: ignore[call-overload]
        except (ValueError, TypeError) as error:
            width = len(self._input)
            raise ModelError(f"a row must be {width} numbers: {error}", hint="give NaN for a missing value") from error
        if self._function(*self._arguments):
            _raise_last()
        return self._output

    def __del__(self) -> None:
        if self._config.value:
            self._free(self._config)
            self._config.value = None


def fit_booster(
    matrix: np.ndarray,
    target: np.ndarray,
    *,
    rounds: int,
    params: Mapping[str, Any],
    feature_names: Sequence[str],
    categorical: Sequence[int] = (),
    weight: np.ndarray | None = None,
) -> str:
    """Fit a model; the same input and parameters give the same text, byte for byte, on any number of cores.

    Args:
        matrix: ``(rows, features)``, float32 or float64; rows or columns contiguous. NaN means missing.
        target: ``(rows,)``, finite.
        rounds: The number of boosting rounds.
        params: LightGBM's own names. ``seed`` is 0 and ``num_threads`` is 2 unless given (a number taken from
            the machine would let the result differ between machines); determinism and silence cannot be
            turned off.
        feature_names: One per column.
        categorical: The indices of the columns that hold category codes (non-negative integers or NaN).
        weight: ``(rows,)``, or None for equal weights.

    Returns:
        The model's text, for `Booster.from_text`.

    Raises:
        NotEnoughDataError: There is no row.
        ModelError: Shapes differ, the target is not finite, or LightGBM refuses the data or a parameter.
    """
    _check_training_data(matrix, target, weight, feature_names, categorical)
    settings = _settings(params)
    lightgbm = _lightgbm()
    try:
        data = lightgbm.Dataset(
            matrix,
            target,
            weight=weight,
            feature_name=list(feature_names),
            categorical_feature=list(categorical),
            params=settings,
        )
        fitted = lightgbm.train(settings, data, num_boost_round=rounds, callbacks=tree_callbacks())
        text: str = fitted.model_to_string()
    except (lightgbm.basic.LightGBMError, ValueError, TypeError) as error:
        raise ModelError(f"LightGBM could not fit: {error}", hint="check the model's parameters") from error
    return text


def _settings(params: Mapping[str, Any]) -> dict[str, Any]:
    for name in params:
        if name in _ALIASES:
            # LightGBM would drop the alias in silence, since its own name is set below.
            raise ModelError("the parameter has another name here", where=name, hint=f"use {_ALIASES[name]}")
    if params.get("linear_tree"):
        raise ModelError("linear trees are not supported", where="linear_tree", hint="remove the parameter")
    fixed = {"deterministic": True, "force_row_wise": True, "verbosity": -1}
    return {"seed": 0, "num_threads": 2, **params, **fixed}


def _check_training_data(
    matrix: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    feature_names: Sequence[str],
    categorical: Sequence[int],
) -> None:
    import numpy as np

    _matrix_type(matrix, len(feature_names))
    rows = matrix.shape[0]
    if rows == 0:
        raise NotEnoughDataError("there is no row to fit on")
    for name, values in (("target", target), ("weight", weight)):
        if values is None:
            continue
        if values.shape != (rows,):
            raise ModelError(f"the shape is {values.shape}, but the matrix has {rows} rows", where=name)
        if not np.isfinite(values).all():
            raise ModelError("there are values that are not finite", where=name, hint="leave such rows out")
    if any(not 0 <= index < len(feature_names) for index in categorical):
        raise ModelError(f"{list(categorical)} names columns that the matrix has not", where="categorical")


def _matrix_type(matrix: np.ndarray, features: int) -> int:
    """LightGBM's code for the matrix's type, after its shape and layout are checked."""
    if matrix.ndim != 2 or matrix.shape[1] != features:
        raise ModelError(f"the matrix must have the shape (rows, {features}), not {matrix.shape}")
    if str(matrix.dtype) not in ("float32", "float64"):
        raise ModelError(f"the matrix must be float32 or float64, not {matrix.dtype}")
    if not (matrix.flags["C_CONTIGUOUS"] or matrix.flags["F_CONTIGUOUS"]):
        raise ModelError("the matrix must be contiguous", hint="numpy.ascontiguousarray")
    return _FLOAT32 if str(matrix.dtype) == "float32" else _FLOAT64


def _parameters(threads: int) -> ctypes.c_char_p:
    if threads < 1:
        raise ModelError(f"threads must be at least 1, not {threads}")
    return ctypes.c_char_p(b"num_threads=%d verbosity=-1" % threads)


@cache
def _library() -> ctypes.CDLL:
    """LightGBM's native library."""
    _wait_politely()
    library = ctypes.CDLL(_library_path())
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _library_path() -> str:
    """Where the library is, found without running the Python package around it."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("lightgbm")
    name = _FILES.get(sys.platform, "lib_lightgbm.so")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in (Path(folder, "lib", name), Path(folder, "bin", name), Path(folder, name)):
            if path.is_file():
                return str(path)
    raise ModelError(f"LightGBM's library {name} was not found", hint="pip install lightgbm")


def _wait_politely() -> None:
    """Let OpenMP's idle threads sleep instead of spin; it reads the setting when the library is loaded.

    Three fits at once on two cores took 55 s with spinning threads and 1.4 s without; one alone costs the same.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _call(function: str, *arguments: object) -> None:
    if getattr(_library(), function)(*arguments):
        _raise_last()


def _raise_last() -> NoReturn:
    raise ModelError(f"LightGBM: {_last_error()}")


def _last_error() -> str:
    return str(_library().LGBM_GetLastError().decode(errors="replace"))


@cache
def _lightgbm() -> Any:
    _wait_politely()
    import lightgbm

    class Logger:
        """LightGBM prints to stdout otherwise, where a command's JSON goes."""

        info = staticmethod(_log.debug)
        warning = staticmethod(_log.debug)

    lightgbm.register_logger(Logger())
    return lightgbm


class _Header:
    """What the first lines of a model text say."""

    def __init__(self, lines: dict[bytes, bytes]) -> None:
        self.outputs = _integer(lines, b"num_tree_per_iteration")
        self.feature_names = tuple(lines.get(b"feature_names", b"").decode().split(" "))
        self.tree_sizes = _numbers(lines.get(b"tree_sizes", b""), int)
        features = len(self.feature_names)
        if _integer(lines, b"max_feature_idx") != features - 1:
            _damaged("the number of features differs from their names")
        if len(lines.get(b"feature_infos", b"").split(b" ")) != features:
            _damaged("the number of features differs from their ranges")
        _integer(lines, b"label_index")
        if _integer(lines, b"num_class") != self.outputs or not 1 <= self.outputs <= 10_000:
            _damaged("the number of classes is wrong")
        for word in lines.get(b"objective", b"").split(b" "):
            if word.startswith(b"num_class:") and word != b"num_class:%d" % self.outputs:
                _damaged("the objective's number of classes is wrong")


def _header(text: bytes) -> _Header:
    return _Header(_lines(text[: text.find(b"\nTree=") + 1]))


def _checked(text: bytes) -> _Header:
    """The header of a model text whose every index has been found in range.

    Raises:
        ArtefactError: It is not such a text.
    """
    body, end, rest = text.partition(b"\nend of trees\n")
    if not text.startswith(b"tree\nversion=v4\n"):
        raise ArtefactError("this is not a LightGBM model of version v4")
    if not end or b"\nend of parameters\n" not in rest or not _ends_whole(rest) or b"\0" in text:
        _damaged("its end is missing")
    start = body.find(b"\nTree=") + 1 or len(body)
    try:
        header = _Header(_lines(body[:start]))
        for number, size in enumerate(header.tree_sizes):
            block = text[start : start + size]
            if not block.startswith(b"Tree=%d\n" % number) or size != len(block) or block[-3:] != b"\n\n\n":
                _damaged(f"tree {number} is not where it should be")
            _check_tree(_lines(block), len(header.feature_names))
            start += size
    except (ValueError, OverflowError) as error:
        raise ArtefactError(f"the model is damaged: {error}", hint=_RESTORE) from error
    if text[start:].lstrip(b"\n")[:12] != b"end of trees" or len(header.tree_sizes) % header.outputs:
        _damaged("there are more or fewer trees than it says")
    return header


def _ends_whole(rest: bytes) -> bool:
    import json

    key, _, value = rest.rstrip(b"\n").rpartition(b"\n")[2].partition(b":")
    try:
        json.loads(value)
    except ValueError:
        return False
    return key == b"pandas_categorical"


def _check_tree(lines: dict[bytes, bytes], features: int) -> None:
    """Every child comes after its parent (so a walk ends), and every index is within its array."""
    if not lines.keys() <= _TREE_KEYS:
        _damaged("a tree has an unknown line")  # LightGBM would stop reading there, or abort
    leaves = _integer(lines, b"num_leaves")
    categories = _integer(lines, b"num_cat")
    if leaves < 1 or categories < 0 or lines.get(b"is_linear", b"0") != b"0":
        _damaged("a tree's sizes are wrong")
    _length(lines.get(b"leaf_value", b""), leaves)
    _length(lines.get(b"shrinkage", b""), 1)
    nodes = leaves - 1
    for name in (b"split_gain", b"internal_value", b"internal_weight", b"internal_count"):
        _length(lines.get(name), nodes)
    for name in (b"leaf_weight", b"leaf_count"):
        _length(lines.get(name) if nodes else None, leaves)
    if any(not 0 <= feature < features for feature in _array(lines, b"split_feature", int, nodes)):
        _damaged("a split's feature does not exist")
    for name in (b"left_child", b"right_child"):
        for node, child in enumerate(_array(lines, name, int, nodes)):
            if not (node < child < nodes or 0 <= ~child < leaves):
                _damaged("a split's child does not exist")
    _check_categories(lines, nodes, categories)


def _check_categories(lines: dict[bytes, bytes], nodes: int, categories: int) -> None:
    _length(lines.get(b"threshold", b""), nodes)
    kinds = _array(lines, b"decision_type", int, nodes)
    thresholds = _array(lines, b"threshold", float, nodes) if categories else [-1.0] * nodes
    for kind, threshold in zip(kinds, thresholds, strict=True):
        if not 0 <= kind < 16 or (kind & 1 and not 0 <= threshold < categories):
            _damaged("a split's kind or category does not exist")
    if categories:
        bounds = _array(lines, b"cat_boundaries", int, categories + 1)
        if bounds[0] != 0 or any(low > high for low, high in pairwise(bounds)):
            _damaged("a split's categories are out of order")
        if any(not 0 <= word < 2**32 for word in _array(lines, b"cat_threshold", int, bounds[-1])):
            _damaged("a split's categories are out of range")


def _lines(block: bytes) -> dict[bytes, bytes]:
    """``key=value`` lines. LightGBM reads a repeated key or what follows a blank line differently."""
    lines = block.rstrip(b"\n").split(b"\n")
    pairs = dict(line.partition(b"=")[::2] for line in lines if b"=" in line)
    bare = [line for line in lines if b"=" not in line and line not in (b"tree", b"average_output")]
    if bare or len(pairs) < len(lines) - 2 or b"" in pairs or b"\r" in block:
        _damaged("a line is repeated, empty or has no value")
    return pairs


def _array(lines: dict[bytes, bytes], name: bytes, kind: type[Any], size: int) -> list[Any]:
    values = _numbers(lines.get(name, b""), kind)
    if len(values) != size:
        _damaged(f"{name.decode()} has {len(values)} values instead of {size}")
    return values


def _numbers(line: bytes, kind: type[Any]) -> list[Any]:
    if not (_INTEGERS if kind is int else _FLOATS)(line):
        _damaged("there is something else than numbers")
    return list(map(kind, line.split(b" "))) if line else []


def _length(line: bytes | None, size: int) -> None:
    """For arrays that cannot lead astray, or (None) that may be absent: looked at, not parsed."""
    if line is None:
        return
    if not _FLOATS(line) or (line.count(b" ") + 1 if line else 0) != size:
        _damaged(f"an array has not {size} numbers")


def _integer(lines: dict[bytes, bytes], name: bytes) -> int:
    values = _array(lines, name, int, 1)
    return int(values[0])


def _damaged(reason: str) -> NoReturn:
    raise ArtefactError(f"the model is damaged: {reason}", hint=_RESTORE)
