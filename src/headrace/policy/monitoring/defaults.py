"""The rules that watch a system that declares none."""

from __future__ import annotations

from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.estimated import EstimatedPerformance
from headrace.policy.monitoring.rules import (
    Coverage,
    Drifted,
    NothingPredicted,
    Quarantined,
    StaleSource,
    WorseThanBaseline,
)


def default_rules() -> tuple[MonitorRule, ...]:
    """What suits most systems: each tells only what is surely wrong.

    >>> ", ".join(rule.called for rule in default_rules())
    'worse than baseline, coverage, estimated performance, drifted, quarantined, stale source, nothing predicted'
    """
    of_predictions = (WorseThanBaseline(), Coverage(), EstimatedPerformance())
    return (*of_predictions, Drifted(), Quarantined(), StaleSource(), NothingPredicted())
