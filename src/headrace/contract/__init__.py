"""Contracts: column rules, declared once; good rows from bad; rules over the batch; a JSON Schema."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column, ColumnType
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.known import KNOWN_AT, Known
from headrace.contract.mistakes import declaration_error, field_path
from headrace.contract.rules import Gaps, MinimumRows, Share, Staleness, ZScore

if TYPE_CHECKING:
    from headrace.contract.checking import check
    from headrace.contract.parts import Seen, check_parts
    from headrace.contract.validation import Validation

_HOMES = {
    "Seen": "headrace.contract.parts",
    "Validation": "headrace.contract.validation",
    "check": "headrace.contract.checking",
    "check_parts": "headrace.contract.parts",
}

__all__ = [
    "KNOWN_AT",
    "Column",
    "ColumnType",
    "Contract",
    "Finding",
    "Gaps",
    "Known",
    "MinimumRows",
    "Seen",
    "Share",
    "Staleness",
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
