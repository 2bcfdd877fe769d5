"""The rules that headrace brings: values that no version has seen, and warnings of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headrace.errors import DeclarationError
from headrace.policy.base import RetrainRule, StandingFacts

if TYPE_CHECKING:
    from headrace.contract import Contract

_NAMED = 3


class NewValues(RetrainRule):
    """Enough rows came with a category that the last version never saw.

    Attributes:
        column: The column that is looked at.
        share: From this share of the rows with a target on that came since the last training.
        min_rows: And from this number of rows on: one new brand among three rows is no reason to train.

    >>> NewValues("brand_name", share=0.05)
    NewValues(kind='new_values', column='brand_name', share=0.05, min_rows=20)
    """

    kind: Literal["new_values"] = "new_values"
    column: str
    share: float = Field(default=0.02, gt=0, le=1)
    min_rows: int = Field(default=20, ge=1)

    def __init__(self, column: str | None = None, **fields: Any) -> None:
        super().__init__(**(fields if column is None else {"column": column, **fields}))

    def check(self, contract: Contract) -> None:
        """The column is one of the contract's.

        Raises:
            DeclarationError: It is not.
        """
        if self.column not in contract.names:
            message = f"the contract has no column {self.column!r}"
            raise DeclarationError(message, where="column", hint=f"it has {', '.join(contract.names)}")

    def reason(self, facts: StandingFacts) -> str | None:
        """How many rows, and which values most of them hold."""
        found = facts.new_values(self.column)
        if found.new < self.min_rows or found.new < self.share * found.rows:
            return None
        count = f"{found.new:,} of {found.rows:,} new rows ({100 * found.new / found.rows:.1f} %)"
        named = ", ".join(repr(value) for value in list(found.values)[:_NAMED])
        more = f" and {len(found.values) - _NAMED:,} more" if len(found.values) > _NAMED else ""
        return f"{count} have a {self.column} that version {facts.version} never saw: {named}{more}"


class ContractWarning(RetrainRule):
    """A rule of the contract warned of a batch that was stored, since the last training.

    What a rule refuses (severity ``stop``) is not stored, so no training follows from it.

    Attributes:
        rule: The kind of the contract's rule, such as ``mean_band``.
        column: The column that it looks at; None: any.
    """

    kind: Literal["contract_warning"] = "contract_warning"
    rule: str
    column: str | None = None

    def __init__(self, rule: str | None = None, **fields: Any) -> None:
        super().__init__(**(fields if rule is None else {"rule": rule, **fields}))

    def check(self, contract: Contract) -> None:
        """The contract has such a rule, and it warns.

        Raises:
            DeclarationError: It has none.
        """
        stale = [("staleness", None)] if contract.staleness is not None else []
        warning = [(r.rule, getattr(r, "column", None)) for r in contract.rules if r.severity == "warn"] + stale
        if not any(rule == self.rule and self.column in (None, column) for rule, column in warning):
            of = "" if self.column is None else f" of {self.column!r}"
            told = sorted({rule for rule, _ in warning})
            hint = f"rules with severity warn: {', '.join(told)}" if told else "no rule of the contract warns"
            raise DeclarationError(f"the contract does not warn by a rule {self.rule!r}{of}", where="rule", hint=hint)

    def reason(self, facts: StandingFacts) -> str | None:
        """The newest such warning."""
        for warned in reversed(facts.warnings()):
            if warned.rule == self.rule and self.column in (None, warned.column):
                return f"the contract warned: {warned.message}"
        return None
