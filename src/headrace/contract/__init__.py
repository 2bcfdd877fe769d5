"""Contracts: column rules, declared once; good rows from bad; rules over the batch; a JSON Schema."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace.contract.bands import BeyondZ, MeanBand, SpreadBand
from headrace.contract.column import Column, ColumnType
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.known import KNOWN_AT, KnownTimes
from headrace.contract.rules import Gaps, MaximumRows, MinimumRows, Staleness, ZScore
from headrace.contract.shares import URL, Forbids, LevelCount, Matches, OutOfRange, Share, Unique
from headrace.declaration import declaration_error, field_path

if TYPE_CHECKING:
    from headrace.contract.checking import check
    from headrace.contract.parts import CheckContext, check_parts
    from headrace.contract.validation import Validation

_HOMES = {
    "CheckContext": "headrace.contract.parts",
    "Validation": "headrace.contract.validation",
    "check": "headrace.contract.checking",
    "check_parts": "headrace.contract.parts",
}

__all__ = [
    "KNOWN_AT",
    "URL",
    "BeyondZ",
    "CheckContext",
    "Column",
    "ColumnType",
    "Contract",
    "Finding",
    "Forbids",
    "Gaps",
    "KnownTimes",
    "LevelCount",
    "Matches",
    "MaximumRows",
    "MeanBand",
    "MinimumRows",
    "OutOfRange",
    "Share",
    "SpreadBand",
    "Staleness",
    "Unique",
    "Validation",
    "ZScore",
    "check",
    "check_parts",
    "declaration_error",
    "field_path",
]


def __getattr__(name: str) -> Any:
    """Import what checks a table where it is first used: a refresh without new records checks none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace.contract' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
