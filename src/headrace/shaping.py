"""What of a declaration shapes the numbers, and which part of it a model was not made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.lineage import digest_of

if TYPE_CHECKING:
    from headrace.system import System

_FIELDS = ("keys", "time", "step", "phase", "target", "horizon", "features", "model")
_SOURCE = ("columns", "constants", "lag", "known_at")
_ONLY_LEARNT = ("features", "model")
"""Fields in which two models may differ and still say the same thing about the same facts."""


def made_from(system: System) -> dict[str, str]:
    """A digest of every part of a declaration that shapes its numbers, by the part's path.

    Not among them: descriptions, the schedule, what is watched, the source's URI, and columns that no feature reads and
    for which no row is set apart.
    """
    config = system.config()
    parts: dict[str, Any] = {name: config[name] for name in _FIELDS}
    parts |= {f"source.{name}": config["source"][name] for name in _SOURCE}
    contract, used = config["contract"], {*system.identity, system.target, *system.features.columns()}
    plain = {"nullable": True, "minimum": None, "maximum": None, "values": None, "pattern": None}
    for column in contract["columns"]:
        judged = any(column[name] != value for name, value in plain.items())
        if column["name"] in used or judged:
            parts[f"contract.{column['name']}"] = {k: v for k, v in column.items() if k != "description"}
    parts["contract.rules"] = [rule for rule in contract["rules"] if rule.get("severity") == "quarantine"]
    return {name: digest_of(part) for name, part in parts.items()} | {"format": str(config["format"])}


def differing(system: System, pins: Mapping[str, Any]) -> list[str]:
    """The parts of a declaration in which it differs from the one that a model was made from, by the model's pins.

    A column that is read by one of the two only is told by their features.
    """
    now, then = made_from(system), pins["made_from"]
    return [name for name in now if name in then and now[name] != then[name]]


def comparable(parts: list[str]) -> bool:
    """Whether models that differ in these parts can be compared: they forecast the same from the same facts."""
    return set(parts) <= set(_ONLY_LEARNT)
