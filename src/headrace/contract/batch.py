"""What a rule over a batch is: what it may look at, and how what it saw of the parts of a batch adds up."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from headrace.contract.finding import Finding
from headrace.declaration import Declared

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Grid

Reads = Literal["any", "number", "text"]


@dataclass(frozen=True)
class CheckedRows:
    """What a rule may look at: typed rows, and how they are ordered."""

    rows: pl.DataFrame
    keys: tuple[str, ...]
    time: str | None
    grid: Grid | None
    as_of: datetime


class BatchRule(Declared):
    """A rule over all good rows of a batch, which it sees as a whole."""

    def judge(self, batch: CheckedRows) -> Finding:
        """Whether the rule holds, with numbers."""
        raise NotImplementedError(type(self).__qualname__)

    def _finding(self, passed: bool, message: str, **numbers: float | int | str | None) -> Finding:
        name, severity = str(self.rule), str(self.severity)  # type: ignore[attr-defined]
        column = getattr(self, "column", None)
        return Finding(name, severity, passed, message, numbers, column)


class OfColumn(BatchRule):
    """A rule over one column.

    Attributes:
        reads: What the column must hold.
        column: The column that is looked at.
    """

    reads: ClassVar[Reads] = "any"

    column: str

    @property
    def needs(self) -> Reads:
        """What the column must hold for the rule as it is declared."""
        return self.reads

    def mistakes(self) -> list[tuple[str, str]]:
        """What is wrong with its fields: the field, and what to say."""
        return []


class BatchSum(Protocol):
    """What a rule saw of some rows: that of two parts is the sum, in any order."""

    def __add__(self, other: Self, /) -> Self:
        """That of both."""


class Tallied(OfColumn):
    """A rule that needs sums only: a batch in parts is never looked at as a whole for it."""

    @abstractmethod
    def tally(self, rows: pl.DataFrame) -> Any:
        """The `BatchSum` of some rows."""

    @abstractmethod
    def found(self, tally: Any) -> Finding:
        """What the sum of all tallies says."""

    def judge(self, batch: CheckedRows) -> Finding:
        """What all rows say."""
        return self.found(self.tally(batch.rows))
