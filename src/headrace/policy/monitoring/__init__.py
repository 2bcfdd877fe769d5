"""What is watched of a system: rules that are declared, pure, vectorised over evaluation times, and found by kind."""

from headrace.policy.monitoring.base import ACTIONS, LEVELS, MONITORING, Action, Level, MonitorRule
from headrace.policy.monitoring.defaults import default_rules
from headrace.policy.monitoring.estimated import EstimatedPerformance
from headrace.policy.monitoring.facts import MonitoringFacts
from headrace.policy.monitoring.latency import Latency
from headrace.policy.monitoring.reading import Reading, ScopeReading
from headrace.policy.monitoring.rules import (
    Anomalous,
    ContractWarnings,
    Coverage,
    Drifted,
    NothingPredicted,
    Quarantined,
    StaleSource,
    Threshold,
    Volume,
    WorseThanBaseline,
    WorseThanHeldOut,
)

__all__ = [
    "ACTIONS",
    "LEVELS",
    "MONITORING",
    "Action",
    "Anomalous",
    "ContractWarnings",
    "Coverage",
    "Drifted",
    "EstimatedPerformance",
    "Latency",
    "Level",
    "MonitorRule",
    "MonitoringFacts",
    "NothingPredicted",
    "Quarantined",
    "Reading",
    "ScopeReading",
    "StaleSource",
    "Threshold",
    "Volume",
    "WorseThanBaseline",
    "WorseThanHeldOut",
    "default_rules",
]
