"""What a rule is that says when to train again, and the facts that it may ask for.

A rule is pure: facts in, a reason or none out. It reads no clock, no file and no table. So a backfill decides as the
runs would have decided live, and a rule is tried with facts that are made up.

A rule of your own is a subclass with a field ``kind: Literal["mine"] = "mine"``:

>>> from typing import Literal
>>> class ManyRows(RetrainRule):
...     '''So many rows came since the last training.'''
...     kind: Literal["many_rows"] = "many_rows"
...     rows: int = 1000
...     def reason(self, facts: StandingFacts) -> str | None:
...         count = facts.rows()
...         return f"{count:,} rows came since version {facts.version}" if count >= self.rows else None

It is named in ``Schedule(retrain=(ManyRows(rows=500),))``, or in configuration by its kind:
``retrain: [{kind: many_rows, rows: 500}]``. One of an installed package is found by an entry point of
``headrace.retraining``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from headrace.declaration import Declared
from headrace.kinds import Kinds
from headrace.plugins import Group

if TYPE_CHECKING:
    from headrace.contract import Contract

RETRAINING = Group(
    "headrace.retraining",
    {
        "new_values": "headrace.policy.rules:NewValues",
        "contract_warning": "headrace.policy.rules:ContractWarning",
        "error_above": "headrace.policy.retraining:ErrorAbove",
        "cusum": "headrace.policy.retraining:Cusum",
        "cost_aware": "headrace.policy.retraining:CostAware",
    },
)
"""Kinds of rules. Other packages bring theirs by an entry point of this group."""


@dataclass(frozen=True)
class RecentRows:
    """Rows that came since the last training, by what they hold in one column.

    Attributes:
        rows: How many rows with a target came.
        new: How many of them hold a value that no row with a target held when the last version was trained.
        values: These values, each with its number of rows, most first.
    """

    rows: int
    new: int
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned:
    """A rule of the contract that failed with severity ``warn``, in a batch that was stored.

    Attributes:
        rule: The kind of the contract's rule, such as ``share``.
        column: The column that it looks at; None where it looks at none.
        message: What it said.
        as_of: When that became known.
    """

    rule: str
    column: str | None
    message: str
    as_of: datetime


@dataclass(frozen=True)
class ServedError:
    """How wrong the predictions of the runs of one day were that one version made, once all their truth was known.

    Attributes:
        begin: When that day began, UTC; days are as long as ``monitoring.every`` says.
        version: The version that predicted.
        value: Its error, by the measure that was asked for.
        baseline: That of the best baseline on the same pairs; NaN where there is none.
        pairs: How many predictions it is of.
    """

    begin: datetime
    version: int
    value: float
    baseline: float
    pairs: int


class StandingFacts(Protocol):
    """What a rule may ask for: what was known at `as_of`, since the last training, and nothing later."""

    @property
    def as_of(self) -> datetime:
        """The run's time, UTC."""

    @property
    def version(self) -> int:
        """The version that was trained last by then, whatever the gate made of it."""

    @property
    def trained_as_of(self) -> datetime:
        """What was known at this time went into it, UTC."""

    def rows(self) -> int:
        """How many rows with a target came since."""

    def new_values(self, column: str) -> RecentRows:
        """The same by what they hold in a column of the contract; a missing value is none."""

    def warnings(self) -> Sequence[Warned]:
        """What the contract warned of since, oldest first; of a batch that was refused nothing."""

    def errors(self, measure: str) -> Sequence[ServedError]:
        """How wrong what was answered was, day by day, oldest first: of all versions, those before the last included.

        Of days whose truth was known when the day of `as_of` began, so that every run of a day gets the same.

        Args:
            measure: ``wape``, ``mase``, ``rmsse`` or ``rmse``.

        Raises:
            UsageError: The system's task scores nothing that a champion answered.
        """

    @property
    def day(self) -> timedelta:
        """How long a day of `errors` is."""


class RetrainRule(Declared):
    """Base of the rules that say when to train again.

    Attributes:
        kind: Its name in configuration: a field with one value, ``kind: Literal["mine"] = "mine"``.
        reads_scores: Whether it asks for `StandingFacts.errors`: then what has matured is scored before it is asked.
    """

    reads_scores: ClassVar[bool] = False

    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        RETRAIN_RULES.add(cls)

    def check(self, contract: Contract) -> None:
        """Refuse a system that the rule cannot judge. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """

    @abstractmethod
    def reason(self, facts: StandingFacts) -> str | None:
        """Why a run must train, in words for people that follow "trained because"; None where it need not.

        Called once a run that no other reason makes train, after what the run ingested is stored. The same facts give
        the same answer. An exception ends the run.
        """
        raise NotImplementedError(type(self).__qualname__)


RETRAIN_RULES = Kinds[RetrainRule](RETRAINING)
"""Their classes by kind."""
