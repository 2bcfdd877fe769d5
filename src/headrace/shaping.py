"""What of a declaration shapes the numbers, and which part of it a model was not made from."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from headrace.lineage import digest_of

_FIELDS = ("keys", "time", "step", "phase", "target", "horizon", "features", "model")
_SOURCE = ("columns", "constants", "lag", "known_at")
_UNSAID = {"label": "begin", "midnight": "begins", "forbids": None}
"""Fields of a column that came later: where they say what was meant before, models of then are as declared now."""
_LATER = {"train_on": "recomputed", "task": None}
"""Fields of a system that came later, and what was meant before; where they say it, they are no part."""
_PREPARE = "source.prepare"
_ONLY_LEARNT = ("features", "model", "train_on")
"""Fields in which two models may differ and still say the same thing about the same facts."""


def shaping(config: Mapping[str, Any], used: AbstractSet[str]) -> dict[str, str]:
    """A digest of every part of a declaration that shapes its numbers, by the part's path.

    Not among them: descriptions, the schedule, what is watched, the source's URI, and columns that no feature reads and
    for which no row is set apart.

    Args:
        config: The whole declaration, JSON-ready.
        used: Columns that are read.
    """
    parts: dict[str, Any] = {name: config[name] for name in _FIELDS}
    parts |= {name: config[name] for name, meant in _LATER.items() if config[name] != meant}
    parts |= {f"source.{name}": config["source"][name] for name in _SOURCE}
    if (prepare := config["source"]["prepare"]) is not None:
        parts[_PREPARE] = prepare["digest"]
    contract = config["contract"]
    plain = {"nullable": True, "minimum": None, "maximum": None, "values": None, "pattern": None, "forbids": None}
    for column in contract["columns"]:
        judged = any(column[name] != value for name, value in plain.items())
        if column["name"] in used or judged:
            parts[f"contract.{column['name']}"] = {
                k: v for k, v in column.items() if k != "description" and v != _UNSAID.get(k, ...)
            }
    parts["contract.rules"] = [rule for rule in contract["rules"] if rule.get("severity") == "quarantine"]
    return {name: digest_of(part) for name, part in parts.items()} | {"format": str(config["format"])}


def differing(now: Mapping[str, str], pins: Mapping[str, Any]) -> list[str]:
    """The parts of a declaration in which it differs from the one that a model was made from, by the model's pins.

    A column that is read by one of the two only is told by their features. A model that does not say what it was made
    from is of an older headrace, and so of another format.
    """
    filled = _filled(pins.get("made_from") or {"format": "0"})
    return [name for name, part in _filled(now).items() if name in filled and part != filled[name]]


def _filled(parts: Mapping[str, str]) -> dict[str, str]:
    absent = {**_LATER, _PREPARE: None}
    return {**parts, **{name: parts.get(name, digest_of(meant)) for name, meant in absent.items()}}


def comparable(parts: list[str]) -> bool:
    """Whether models that differ in these parts can be compared: they forecast the same from the same facts."""
    return set(parts) <= set(_ONLY_LEARNT)
