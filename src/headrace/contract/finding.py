"""The outcome of one rule over a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """The outcome of one rule over the batch.

    Args:
        rule: The kind of rule.
        severity: ``warn``, ``quarantine`` (rows were set apart) or ``stop`` (the batch fails).
        passed: Whether the rule holds.
        message: What was found, with numbers.
        numbers: The same numbers by name.
        column: The column that the rule looks at; None where it looks at none.
    """

    rule: str
    severity: str
    passed: bool
    message: str
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)
    column: str | None = None

    @property
    def stops(self) -> bool:
        """Whether this finding alone breaks the contract."""
        return not self.passed and self.severity == "stop"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``rule severity passed message numbers column``."""
        return vars(self) | {"numbers": dict(self.numbers)}
