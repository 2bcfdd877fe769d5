"""The outcome of one rule over a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """The outcome of one rule over the batch.

    Args:
        rule: The kind of rule.
        severity: ``warn``, ``quarantine`` (rows were set apart) or ``stop`` (the batch fails).
        passed: Whether the rule holds.
        message: What was found, with numbers.
        numbers: The same numbers by name.
    """

    rule: str
    severity: str
    passed: bool
    message: str
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)

    @property
    def stops(self) -> bool:
        """Whether this finding alone breaks the contract."""
        return not self.passed and self.severity == "stop"
