"""Monitoring: what of a system is watched, and what an alarm causes."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, SerializeAsAny

from headrace.declaration import MONTH, Declared, Duration
from headrace.drift.declared import DriftLimits
from headrace.errors import DeclarationError
from headrace.lineage import digest_of
from headrace.policy.monitoring.base import MEASURED, MONITOR_RULES, Action, MonitorRule
from headrace.policy.monitoring.defaults import default_rules
from headrace.policy.monitoring.rules import Drifted, StaleSource

if TYPE_CHECKING:
    from headrace.contract import Contract

Watched = Annotated[SerializeAsAny[MonitorRule], BeforeValidator(MONITOR_RULES.from_data)]
"""A rule, or its JSON form."""


LONGEST = timedelta(days=36525)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Channels = Annotated[tuple[str, ...], BeforeValidator(lambda names: (names,) if isinstance(names, str) else names)]
"""Names of channels; one may stand by itself."""


class ActionBudget(Declared):
    """How much alarms may cause.

    Attributes:
        retunings: So many searches at most within `per`.
        retrainings: So many trainings at most within `per`.
        per: The stretch of time that is looked back.
    """

    retunings: int = Field(default=1, ge=0)
    retrainings: int = Field(default=7, ge=0)
    per: Duration = timedelta(days=7)


class Monitoring(Declared):
    """What is watched.

    Attributes:
        baselines: Seasons of the seasonal-naive forecasts that are stored beside every prediction, and the last value.
        window: How far back from `as_of` matured predictions enter the metrics of a run, and the readings of rules.
        every: Rules are evaluated at multiples of this time since 1970, UTC, but never more often than runs are due.
        false_alarms: Anomalies that mean nothing, at most so many a week and series; see `docs/guides/anomalies.md`.
        rules: What is watched; None: what suits most systems, see `headrace.policy.monitoring.defaults`.
        on_alarm: What an alarm about the model causes where its rule says nothing: ``raise`` tells of it, no more. A
            stale source, rows set apart and the like are told only, unless their rule says more.
        at_most: How much alarms may cause.
        retry: An action that failed is tried again after this time.
        drift: What counts as drift; see `DriftLimits`.
        notify: Names of environment variables that hold addresses to tell alerts to, as Apprise writes them.
    """

    baselines: tuple[Duration, ...] = (timedelta(days=1), timedelta(days=7))
    window: Duration = timedelta(days=30)
    every: Duration = timedelta(days=1)
    false_alarms: float = Field(default=0.5, ge=0.02, le=7)
    rules: tuple[Watched, ...] | None = None
    on_alarm: Action = "raise"
    at_most: ActionBudget = Field(default_factory=ActionBudget)
    retry: Duration = timedelta(days=1)
    drift: DriftLimits = Field(default_factory=DriftLimits)
    notify: Channels = ()

    @property
    def compared(self) -> tuple[timedelta, ...]:
        """The seasons of all baselines: no time at all is the last value's, which stands beside every forecast."""
        return (timedelta(), *self.baselines)

    @property
    def watched(self) -> tuple[MonitorRule, ...]:
        """The rules that hold: those declared, or the usual ones."""
        return default_rules() if self.rules is None else self.rules

    @property
    def acts(self) -> bool:
        """Whether an alarm causes more than that it is told."""
        return any(self.action_of(rule) != "raise" for rule in self.watched)

    def check(
        self,
        contract: Contract,
        scopes: Collection[str] | None = None,
        metrics: Collection[str] | None = None,
        drifting: Collection[str] | None = None,
        *,
        has_series: bool = True,
    ) -> None:
        """Refuse rules that cannot watch a system, or cannot be told apart.

        Args:
            contract: Of the system.
            scopes: Columns by which errors of its predictions are kept; None: any of the contract.
            metrics: What is measured of its predictions; None: that is not known before there are some.
            drifting: What drift is measured of; None: that is not known before there is a version.
            has_series: Whether it has series.

        Raises:
            DeclarationError: Names the field.
        """
        self._check_lengths()
        _check_channels(self.notify)
        names = [rule.called for rule in self.watched]
        for place, rule in enumerate(self.watched):
            where = f"monitoring.rules[{place}]"
            if rule.called in names[:place]:
                hint = "give one of them another name="
                raise DeclarationError(f"two rules are called {rule.called!r}", where=where, hint=hint)
            try:
                _check_values(rule)
                rule.check(contract)
                _check_scope(getattr(rule, "by", ()), scopes)
                _check_names(getattr(rule, "by", ()), scopes or (), getattr(rule, "metric", None))
                _check_metric(getattr(rule, "metric", None) if rule.of_scores else None, metrics)
                _check_column(rule, drifting)
                _check_series(rule, has_series=has_series)
            except DeclarationError as error:
                path = ".".join(filter(None, (where, error.where)))
                raise DeclarationError(error.message, where=path, hint=error.hint) from error

    def _check_lengths(self) -> None:
        lengths = {"window": self.window, "every": self.every, "at_most.per": self.at_most.per}
        for name, length in lengths.items():
            _check_length(length, f"monitoring.{name}")
        if self.retry != timedelta():  # at once
            _check_length(self.retry, "monitoring.retry")

    def action_of(self, rule: MonitorRule) -> Action:
        """What an alarm of a rule causes: what it says itself, or what is said for all that are about the model."""
        return rule.on_alarm or (self.on_alarm if rule.about_model else "raise")

    @property
    def policy(self) -> str:
        """Digest of what shapes readings: rules, times and what counts as drift, not what alarms cause."""
        rules = {rule.called: rule.shaped() for rule in self.watched}
        times = {"window": self.window.total_seconds(), "every": self.every.total_seconds()}
        return digest_of({"rules": rules, **times, "drift": self.drift.model_dump(mode="json")})


def _check_length(length: timedelta, where: str) -> None:
    if length <= timedelta():
        raise DeclarationError("is no time at all", where=where)
    if length > LONGEST:
        raise DeclarationError("is longer than a hundred years", where=where)


def _check_values(rule: MonitorRule) -> None:
    """Thresholds are numbers: nothing is beyond one that is none. Times are times: none but a window may be nothing."""
    for name in type(rule).model_fields:
        value = getattr(rule, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise DeclarationError(f"{value} is no number to compare with", where=name, hint="leave it out")
        if isinstance(value, timedelta) and (value or name == "window"):
            _check_length(value, name)


def _check_channels(names: tuple[str, ...]) -> None:
    """Channels are names of variables. What else stands there may be an address, and is not repeated."""
    for place, name in enumerate(names):
        if not _VARIABLE.fullmatch(name):
            where = f"monitoring.notify[{place}]"
            hint = "name the variable of the environment that holds the address, such as OPS_WEBHOOK"
            raise DeclarationError("is no name of a variable", where=where, hint=hint)


def _check_scope(by: tuple[str, ...], scopes: Collection[str] | None) -> None:
    """Errors of forecasts are kept by series and step ahead, and by no other column."""
    if scopes is None or by == ("horizon",):
        return
    unknown = [name for name in by if name not in (*scopes, "series")]
    if unknown:
        hint = f"series, horizon alone, or keys: {', '.join(scopes)}" if scopes else "series, or horizon alone"
        raise DeclarationError(f"errors of forecasts are not kept by {unknown[0]!r}", where="by", hint=hint)


def _check_names(by: tuple[str, ...], scopes: Collection[str], metric: str | None) -> None:
    """What rules measure stands beside the scope, so no column of a scope may be called like it."""
    names = [name for part in by for name in (scopes if part == "series" else (part,))]
    for name in names:
        if name in (*MEASURED, metric):
            hint = (
                f"give the column another name in the contract; {', '.join(MEASURED)} are names of what rules measure"
            )
            raise DeclarationError(f"errors cannot be told apart by a column {name!r}", where="by", hint=hint)


def _check_metric(metric: str | None, metrics: Collection[str] | None) -> None:
    """A rule that names a metric of scores names one that is measured."""
    if metric is not None and metrics is not None and metric not in metrics:
        hint = f"there are {', '.join(metrics)}"
        raise DeclarationError(f"there is no metric {metric!r}", where="metric", hint=hint)


def _check_column(rule: MonitorRule, drifting: Collection[str] | None) -> None:
    """A rule about the drift of one column names one of which drift is measured."""
    column = rule.column if isinstance(rule, Drifted) else None
    if column is not None and drifting is not None and column not in drifting:
        hint = f"one of {', '.join(drifting)}"
        raise DeclarationError(f"drift of {column!r} is not measured", where="column", hint=hint)


def _check_series(rule: MonitorRule, *, has_series: bool) -> None:
    """Only a system of series can have a silent one."""
    if isinstance(rule, StaleSource) and rule.by and not has_series:
        hint = "leave out by: then it watches the source as a whole; Volume(), or a rule of your own, counts rows"
        raise DeclarationError("a system of rows has no series", where="by", hint=hint)


def watched(monitoring: object, step: timedelta) -> dict[str, Monitoring]:
    """What is watched, where that is not declared, on steps that a day is no multiple of.

    Last week's or last year's value, or the last one; and a year, or a dozen steps.
    """
    monitoring_used = Monitoring() if monitoring is None else monitoring
    usual = Monitoring()
    if not isinstance(monitoring_used, Monitoring) or step <= timedelta() or not usual.baselines[0] % step:
        return {}
    seasons = tuple(season for season in (*usual.baselines, 12 * MONTH) if not season % step) or (step,)
    observed: dict[str, object] = {"baselines": seasons, "window": max(usual.window, 12 * step)}
    left = {name: value for name, value in observed.items() if name not in monitoring_used.model_fields_set}
    return {"monitoring": monitoring_used.model_copy(update=left)}
