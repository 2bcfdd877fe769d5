"""What makes numbers of texts: an `Embedder`, found by its name, and its numbers as features have them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotFoundError, PluginError
from headrace.plugins import Group

EMBEDDERS = Group("headrace.embedders", {"minilm": "headrace.models.minilm:MiniLM"})
"""By name, classes that are made without arguments."""
STEP = 2.0**-20
"""What the numbers of an embedding are multiples of: sums of their products have no rounding, in whatever order."""
_MOST = 20_000
"""Texts whose numbers are kept: 30 MB of 384 numbers each."""


class Embedder(ABC):
    """Turns a text into numbers by a model that an installed package brings. Safe to use from several threads.

    An entry point of the group ``headrace.embedders`` makes one of your own known by its name.
    """

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """How many numbers a text becomes."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Of all that decides the numbers, such as weights and vocabulary: another digest, another model."""

    @abstractmethod
    def embed(self, text: str) -> NDArray[Any]:
        """The numbers of one text: shape (dimensions,), finite, in any unit. Equal texts have equal bits.

        Args:
            text: Not empty.
        """


@cache
def embedder_of(name: str) -> Embedder:
    """The embedder of a name: built in, or of an installed package.

    Raises:
        NotFoundError: There is none; says which there are.
        PluginError: What it needs is not installed.
    """
    found = EMBEDDERS.load(name)
    if found is None:
        hint = f"one of {', '.join(EMBEDDERS.names())}, or install the package that brings it"
        raise NotFoundError(f"no embedder has the name {name!r}", where="embedding.model", hint=hint)
    made = found()
    if not isinstance(made, Embedder):
        raise PluginError(f"{name!r} is no Embedder", where=EMBEDDERS.name)
    return made


def vector_of(embedder: Embedder, text: str) -> NDArray[np.float64]:
    """The numbers of a text, of length 1 but for rounding, as multiples of 2^-20; zeros of a text without words.

    Raises:
        PluginError: The embedder gives something else than so many finite numbers.
    """
    if not text.strip():
        return np.zeros(embedder.dimensions)
    key = hashlib.blake2b(f"{embedder.digest}\n{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    kept = _CACHE.get(key)
    if kept is None:
        kept = _scaled(embedder, text)
        _CACHE.put(key, kept)
    return kept.astype(np.float64)


def _scaled(embedder: Embedder, text: str) -> NDArray[np.float32]:
    numbers = np.asarray(embedder.embed(text), dtype=np.float64)
    if numbers.shape != (embedder.dimensions,) or not np.isfinite(numbers).all():
        message = f"gives no {embedder.dimensions} finite numbers for a text"
        raise PluginError(message, where=type(embedder).__name__, hint="it is a mistake in the package")
    length = float(np.sqrt(np.add.accumulate(numbers * numbers)[-1]))
    scaled = np.round(numbers / (length or 1.0) / STEP) * STEP
    return scaled.astype(np.float32)  # 21 bits, which 32-bit floats hold


class TextCache:
    """The numbers of the texts that were asked for last.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Those of a text; None where they are not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, numbers: NDArray[np.float32]) -> None:
        """Keep those of a text."""
        with self._lock:
            self._kept[key] = numbers
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)


_CACHE = TextCache(_MOST)
