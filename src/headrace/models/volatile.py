"""What a fitted object holds that no prediction reads and no two equal fits share: left out of its pickle.

A library may note how long its work took, or where an object lay in memory. Equal fits must give equal bytes: the
digest of a model's files enters the identity of every prediction.
"""

from __future__ import annotations

import re
from typing import Any

from headrace.models.brought import is_library

SET = "set"
"""First part of the persistent id of a set of texts, whose order in memory differs from process to process."""
_TIMING = re.compile(r"(\w+_)?(fit|refit|train|training|predict|forecast|score|cv)_times?_?")
_NUMBER = re.compile(r"[0-9a-f]{32}")
_ADDRESSES = frozenset(("_stop_words_id",))
"""Attributes known to hold an address, also of an object that is no longer there."""


def reduced(thing: Any) -> Any:
    """How to pickle an object of a library without what is volatile in it; `NotImplemented`: as it is.

    Objects of your own classes are left alone: what they call ``fit_time`` may be read by their code.
    """
    if not hasattr(thing, "__dict__") or not is_library(type(thing)):
        return NotImplemented
    root = type(thing).__module__.partition(".")[0]
    if root == "torch" and type(thing).__name__ in ("TypedStorage", "UntypedStorage"):
        return _of_storage(thing)
    parts = (_unstamped(thing) if root == "catboost" else thing).__reduce_ex__(5)
    if not isinstance(parts, tuple) or len(parts) < 3 or type(parts[2]) is not dict:
        return parts if isinstance(parts, tuple) else NotImplemented
    return *parts[:2], _settled(parts[2]), *parts[3:]


def unnumbered(parts: Any) -> Any:
    """How to pickle a class as a whole, without the random number by which cloudpickle knows it again."""
    if not isinstance(parts, tuple):
        return parts
    arguments = (None if isinstance(part, str) and _NUMBER.fullmatch(part) else part for part in parts[1])
    return parts[0], tuple(arguments), *parts[2:]


def _unstamped(thing: Any) -> Any:
    """A model of CatBoost without the time of its training and its random identity; others as they are."""
    if not getattr(thing, "is_fitted", lambda: False)():
        return thing
    copied = thing.copy()
    metadata = copied.get_metadata()
    for name in ("train_finish_time", "model_guid"):
        if name in metadata:
            del metadata[name]
    return copied


def _of_storage(storage: Any) -> tuple[Any, ...]:
    """Numbers of PyTorch as plain bytes: its own form names them by their address."""
    content = bytes(getattr(storage, "_untyped_storage", storage).cpu())
    return storage_of, (content, getattr(storage, "dtype", None))


def storage_of(content: bytes, dtype: Any) -> Any:
    """The storage of PyTorch that holds these bytes: typed, or untyped where there is no type."""
    import torch

    untyped = torch.UntypedStorage(len(content))
    if content:
        untyped.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8).untyped_storage())
    return untyped if dtype is None else torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


def _settled(state: dict[str, Any]) -> dict[str, Any]:
    addresses = {id(value) for value in state.values()}
    return {
        name: {key: part for key, part in value.items() if not _is_timing(key)} if type(value) is dict else value
        for name, value in state.items()
        if not (_is_timing(name) or name in _ADDRESSES or (type(value) is int and value in addresses))
    }


def _is_timing(name: Any) -> bool:
    return isinstance(name, str) and _TIMING.fullmatch(name) is not None


def set_id(value: Any) -> tuple[str, str, tuple[str, ...]] | None:
    """The persistent id of a set of texts: its elements in order; None for anything else."""
    kind = type(value)
    if (kind is not set and kind is not frozenset) or not all(type(element) is str for element in value):
        return None
    return SET, kind.__name__, tuple(sorted(value))


def set_of(pid: tuple[str, str, tuple[str, ...]]) -> set[str] | frozenset[str]:
    """The set that a persistent id says."""
    return frozenset(pid[2]) if pid[1] == "frozenset" else set(pid[2])
