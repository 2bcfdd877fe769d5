"""What was found: every variable with its distances, every segment that drifted, and whether it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace.drift.compared import Distance
from headrace.lineage import iso


@dataclass(frozen=True)
class VariableDrift:
    """One variable now, beside the reference.

    Attributes:
        name: The feature, or the column.
        role: ``feature``, ``target`` or ``prediction``.
        kind: ``numeric``, ``categorical`` or ``text``.
        distances: All that was measured; the first stands for the variable.
        importance: The feature's share of the model's importance; None where nothing says it.
        matters: Whether it may alarm: a feature of little importance does not.
        reference: Its ``rows``, the share that is ``missing``, and the ``mean`` of numbers, in the training; with a
            ``unit`` where that is not their own.
        current: The same now; of categories and texts also ``new``: the values that were not known, with their rows.
    """

    name: str
    role: str
    kind: str
    distances: Sequence[Distance]
    importance: float | None = None
    matters: bool = True
    reference: Mapping[str, Any] = field(default_factory=dict)
    current: Mapping[str, Any] = field(default_factory=dict)

    @property
    def foremost(self) -> Distance:
        """The distance that stands for it."""
        return self.distances[0]

    @property
    def drifted(self) -> bool:
        """Whether it did."""
        return self.foremost.drifted

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``name role kind statistic value threshold p_value drifted importance reference current``."""
        first = self.foremost
        return {
            "name": self.name,
            "role": self.role,
            "kind": self.kind,
            "statistic": first.statistic,
            "value": first.value,
            "threshold": first.threshold,
            "p_value": first.p_value,
            "drifted": first.drifted,
            "importance": self.importance,
            "reference": dict(self.reference),
            "current": dict(self.current),
            "distances": [vars(item) for item in self.distances],
        }


@dataclass(frozen=True)
class DriftedSegment:
    """Rows that have one value in a column, beside the reference's rows that have it.

    Attributes:
        column: The column.
        value: Its value, as a text.
        rows: How many there are now.
        variables: Those that drifted there.
    """

    column: str
    value: str
    rows: int
    variables: Sequence[VariableDrift]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``column value rows features[]``."""
        features = [item.as_dict() for item in self.variables]
        return {"column": self.column, "value": self.value, "rows": self.rows, "features": features}


@dataclass(frozen=True)
class EstimatedMetric:
    """A metric of what was predicted, by the probabilities of the predictions.

    Attributes:
        name: Such as ``accuracy``.
        estimated: What is to be expected; None where that says nothing.
        held_out: What it was on held-out rows when the version was trained.
        deviation: By how much a metric of as many rows differs from that by chance: one standard error.
        realised: What it was, of predictions whose truth is known; None while there are none.
    """

    name: str
    estimated: float | None
    held_out: float
    deviation: float
    realised: float | None


@dataclass(frozen=True)
class Performance:
    """How good predictions of a window were, as far as that can be told now.

    Attributes:
        rows: Predictions that say how sure they are.
        matured: Those of them whose truth is known.
        metrics: What is expected, and what is known.
        reason: Why nothing can be estimated; None where it can.
    """

    rows: int
    matured: int
    metrics: Sequence[EstimatedMetric] = ()
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``rows matured metrics[{name estimated held_out deviation realised}] reason``."""
        metrics = [vars(item) for item in self.metrics]
        return {"rows": self.rows, "matured": self.matured, "metrics": metrics, "reason": self.reason}


@dataclass(frozen=True)
class Drift:
    """Distributions of a window, beside those of what the version learnt from that predicted then.

    Attributes:
        system: The system's name.
        as_of: What was known then was looked at, UTC.
        version: Who predicted.
        trained_as_of: What was known then went into it, UTC.
        since: The window's begin, UTC.
        reference_rows: Rows that it learnt from, as far as they were looked at.
        rows: Rows of the window.
        variables: Those that drifted first, the most important first.
        segments: Those in which anything drifted.
        share: The share of the importance that features have which drifted; of their number where nothing says it.
        reason: Why there is no verdict; None where there is one.
        performance: How good predictions of classes were; None of others.
    """

    system: str
    as_of: datetime
    version: int
    trained_as_of: datetime
    since: datetime
    reference_rows: int
    rows: int
    variables: Sequence[VariableDrift]
    segments: Sequence[DriftedSegment] = ()
    share: float = 0.0
    reason: str | None = None
    performance: Performance | None = None

    @property
    def drifted(self) -> bool:
        """Whether anything did that matters: the target, predictions, or a feature that the model looks at."""
        mattering = [item for segment in self.segments for item in segment.variables]
        return any(item.drifted and item.matters for item in [*self.variables, *mattering])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready.

        ``system as_of reference{} since rows features[] segments[] share drifted judged reason performance{}``.
        """
        return {
            "system": self.system,
            "as_of": iso(self.as_of),
            "reference": {
                "model_version": self.version,
                "as_of": iso(self.trained_as_of),
                "rows": self.reference_rows,
            },
            "since": iso(self.since),
            "rows": self.rows,
            "features": [item.as_dict() for item in self.variables],
            "segments": [item.as_dict() for item in self.segments],
            "share": self.share,
            "drifted": self.drifted,
            "judged": self.reason is None,
            "reason": self.reason,
            "performance": None if self.performance is None else self.performance.as_dict(),
        }
