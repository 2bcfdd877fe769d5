"""Drift: what a version learnt from and what came since, counted, kept by day, and compared."""

from headrace.loop.drift.measure import IDENTITY, KeptDrift, drift_at, keep_drift, limits_of, recent_of
from headrace.loop.drift.result import Drift, DriftedSegment, EstimatedMetric, Performance, VariableDrift

__all__ = [
    "IDENTITY",
    "Drift",
    "DriftedSegment",
    "EstimatedMetric",
    "KeptDrift",
    "Performance",
    "VariableDrift",
    "drift_at",
    "keep_drift",
    "limits_of",
    "recent_of",
]
