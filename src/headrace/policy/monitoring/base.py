"""What a rule of monitoring is: it measures something at evaluation times, and has thresholds.

A rule is pure: facts in, a frame of values out. It reads no clock, no file and no table. So a backfill measures what
live runs would have measured, and a rule is tried with facts that are made up.

A rule of your own is a subclass with a field ``kind: Literal["mine"] = "mine"``:

>>> from typing import Literal
>>> import polars as pl
>>> class FewRows(MonitorRule):
...     '''Fewer rows came than are of any use.'''
...     kind: Literal["few_rows"] = "few_rows"
...     warn: float | None = 10
...     worse: Literal["higher", "lower"] = "lower"
...     def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
...         return facts.validation(facts.every).select("time", value="rows")

It is named in ``Monitoring(rules=(FewRows(warn=5),))``, or in configuration by its kind:
``rules: [{kind: few_rows, warn: 5}]``. One of an installed package is found by an entry point of
``headrace.monitoring``.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from headrace.declaration import Declared, Duration
from headrace.kinds import Kinds
from headrace.plugins import Group
from headrace.policy.monitoring.facts import MonitoringFacts
from headrace.policy.monitoring.reading import LEVELS, Level

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract

__all__ = ["ACTIONS", "LEVELS", "MONITORING", "MONITOR_RULES", "Action", "Level", "MonitorRule"]

Action = Literal["raise", "retrain", "retune", "rollback", "fallback"]
ACTIONS: tuple[Action, ...] = ("raise", "retrain", "retune", "rollback", "fallback")
MONITORING = Group(
    "headrace.monitoring",
    {
        kind: f"headrace.policy.monitoring.rules:{name}"
        for kind, name in {
            "threshold": "Threshold",
            "worse_than_baseline": "WorseThanBaseline",
            "worse_than_held_out": "WorseThanHeldOut",
            "coverage": "Coverage",
            "quarantined": "Quarantined",
            "contract_warnings": "ContractWarnings",
            "stale_source": "StaleSource",
            "nothing_predicted": "NothingPredicted",
            "volume": "Volume",
            "drifted": "Drifted",
            "anomalous": "Anomalous",
        }.items()
    }
    | {
        "estimated_performance": "headrace.policy.monitoring.estimated:EstimatedPerformance",
        "latency": "headrace.policy.monitoring.latency:Latency",
    },
)
"""Kinds of rules. Other packages bring theirs by an entry point of this group."""
RESERVED = ("time", "value", "support", "warn", "alarm", "evidence")
"""Columns of what a rule measures that are no scope."""
MEASURED = (*RESERVED, "rank", "kept", "n", "blocks", "deviation", "loss", "baseline", "baseline_loss", "degree")
"""What stands beside the columns of a scope, on the way from errors to a level."""


class MonitorRule(Declared):
    """Base of the rules that say what is watched.

    Attributes:
        kind: Its name in configuration: a field with one value, ``kind: Literal["mine"] = "mine"``.
        name: What its readings and alerts are called by. Default: its kind and what it measures.
        warn: Beyond this value there is a warning; None: never.
        alarm: Beyond this value there is an alarm; None: never.
        worse: Whether ``higher`` or ``lower`` values are worse.
        min_support: With less support than this nothing is known, which neither raises nor closes an alert.
        consecutive: An alert is raised after so many readings in a row at its level, and closed after so many below.
        hysteresis: An alert that is open stays so until the value is this share better than the threshold.
        grace: So long after a promotion nothing is known.
        on_alarm: What an alarm causes; None: what `Monitoring.on_alarm` says, of a rule about the model.
        of_scores: Whether the ``metric`` that it may have is one that predictions are scored by.
        about_model: Whether it is about the model that predicts: then what it measured of one says nothing of the next.
    """

    about_model: ClassVar[bool] = False
    of_scores: ClassVar[bool] = True
    kind: str
    name: str | None = None
    warn: float | None = None
    alarm: float | None = None
    worse: Literal["higher", "lower"] = "higher"
    min_support: int = Field(default=1, ge=1)
    consecutive: int = Field(default=1, ge=1)
    hysteresis: float = Field(default=0.1, ge=0, lt=1)
    grace: Duration = timedelta()
    on_alarm: Action | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        MONITOR_RULES.add(cls)

    @property
    def called(self) -> str:
        """Its name, or what it is called by where it has none."""
        return self.name or self.title

    @property
    def title(self) -> str:
        """What it is called by where it has no name: its kind, and what a subclass adds."""
        return self.kind.replace("_", " ")

    def check(self, contract: Contract) -> None:
        """Refuse a system that the rule cannot watch. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """

    @abstractmethod
    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """What there is to measure at each evaluation time.

        Called with any number of evaluation times; the values at one may not depend on which others there are. An
        exception ends the run.

        Returns:
            A row for each time (UTC) and scope: ``time value``, and where they are not plain ``support`` (1),
            ``warn`` and ``alarm`` (the rule's own), ``evidence`` (JSON as text). Further columns are the scope.
        """
        raise NotImplementedError(type(self).__qualname__)

    def shaped(self) -> dict[str, Any]:
        """What shapes its readings, JSON-ready: all but what follows from them."""
        return self.model_dump(mode="json", exclude={"on_alarm", "consecutive", "grace"})


MONITOR_RULES = Kinds[MonitorRule](MONITORING)
"""Their classes by kind."""
