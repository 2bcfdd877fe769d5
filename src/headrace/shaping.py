"""What of a declaration shapes the numbers, and which part of it a model was not made from."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from headrace.lineage import digest_of

_FIELDS = ("keys", "time", "step", "phase", "target", "horizon", "features", "model")
_SOURCE = ("columns", "constants", "lag", "known_at")
_UNSAID = {"label": "begin", "midnight": "begins"}
"""Fields of a column that came later: where they say what was meant before, models of then are as declared now."""
_ONLY_LEARNT = ("features", "model")
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
    parts |= {f"source.{name}": config["source"][name] for name in _SOURCE}
    contract = config["contract"]
    plain = {"nullable": True, "minimum": None, "maximum": None, "values": None, "pattern": None}
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
    then = pins.get("made_from") or {"format": "0"}
    return [name for name in now if name in then and now[name] != then[name]]


def comparable(parts: list[str]) -> bool:
    """Whether models that differ in these parts can be compared: they forecast the same from the same facts."""
    return set(parts) <= set(_ONLY_LEARNT)
