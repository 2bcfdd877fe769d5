"""What a check found: good rows, bad rows with their reasons, findings over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.finding import Finding
from headrace.errors import ContractBroken

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Grid


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check, as data.

    Args:
        good: The typed rows: the declared columns and ``known_at``, times in UTC, in their order; of a check in parts
            those that were kept.
        bad: The rows set apart: ``id``, ``time``, ``known_at``, ``row`` (the row as it came, as JSON)
            and ``reasons``.
        findings: The rules over the batch.
        rows: How many rows came, pending ones included.
        pending: How many of them are not yet known at ``as_of``; they are in neither frame.
        reasons: How many rows broke each rule, most first; a row may break several.
        extra: Columns of the source that the contract does not declare.
        max_bad_share: The allowed share.
        as_of: The run's time.
        grid: The steps of event times; None where the system has none.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    findings: tuple[Finding, ...]
    rows: int
    pending: int
    reasons: Mapping[str, int]
    extra: tuple[str, ...]
    max_bad_share: float
    as_of: datetime
    grid: Grid | None = None

    @property
    def known(self) -> int:
        """How many rows are known at ``as_of``."""
        return self.rows - self.pending

    @property
    def bad_share(self) -> float:
        """The share of bad rows among those known at ``as_of``."""
        return self.bad.height / self.known if self.known else 0.0

    @property
    def why_broken(self) -> tuple[str, ...]:
        """Why the contract is broken; empty when it holds."""
        why = [finding.message for finding in self.findings if finding.stops]
        if self.bad_share > self.max_bad_share:
            top = "; ".join(f"{label} ({count:,})" for label, count in list(self.reasons.items())[:3])
            share = f"{self.bad_share:.2%}, allowed {self.max_bad_share:.2%}"
            why.insert(0, f"{self.bad.height:,} of {self.known:,} rows are bad ({share}): {top}")
        return tuple(why)

    @property
    def broken(self) -> bool:
        """Whether the run must stop."""
        return bool(self.why_broken)

    @property
    def remarkable(self) -> bool:
        """Whether there is more to say than that all rows are good."""
        return bool(self.bad.height or self.pending) or not all(finding.passed for finding in self.findings)

    def raise_if_broken(self, where: str | None = None) -> None:
        """Does nothing while the contract holds.

        Raises:
            ContractBroken: Too many rows are bad, or a rule with severity ``stop`` failed.
        """
        if self.broken:
            hint = "mend the source, or change the contract if it is wrong"
            if self.pending and not self.known:
                hint = "choose a later --as-of; or the known times are wrong: source.lag, source.known_at"
            raise ContractBroken("; ".join(self.why_broken), where=where, hint=hint)

    def as_dict(self) -> dict[str, Any]:
        """The report as one JSON object, without the rows."""
        return {
            "as_of": self.as_of.isoformat(),
            "rows": self.rows,
            "good": self.known - self.bad.height,
            "bad": self.bad.height,
            "pending": self.pending,
            "bad_share": self.bad_share,
            "max_bad_share": self.max_bad_share,
            "broken": self.broken,
            "why_broken": list(self.why_broken),
            "reasons": dict(self.reasons),
            "extra_columns": list(self.extra),
            "findings": [
                {
                    "rule": each.rule,
                    "severity": each.severity,
                    "passed": each.passed,
                    "message": each.message,
                    "numbers": dict(each.numbers),
                }
                for each in self.findings
            ],
        }
