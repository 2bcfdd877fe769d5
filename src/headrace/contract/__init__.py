"""Contracts: column rules, declared once; good rows from bad; rules over the batch; a JSON Schema."""

from headrace.contract.checking import check
from headrace.contract.column import Column, ColumnType
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.known import KNOWN_AT, Known
from headrace.contract.mistakes import declaration_error, field_path
from headrace.contract.rules import Gaps, MinimumRows, Share, Staleness, ZScore
from headrace.contract.validation import Validation

__all__ = [
    "KNOWN_AT",
    "Column",
    "ColumnType",
    "Contract",
    "Finding",
    "Gaps",
    "Known",
    "MinimumRows",
    "Share",
    "Staleness",
    "Validation",
    "ZScore",
    "check",
    "declaration_error",
    "field_path",
]
