"""Reading: what a rule measured at an evaluation time, over the whole system and in every scope that is not well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Level = Literal["ok", "warning", "alarm", "unknown"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "alarm")
"""From good to bad. ``unknown`` is none of them: too little is known, which neither raises nor closes an alert."""


@dataclass(frozen=True)
class ScopeReading:
    """What a rule measured in one scope.

    Attributes:
        scope: Column to value, such as ``{"area": "DK1"}``; empty: the system.
        level: By the rule's thresholds.
        kept: The level at which an alert that is open stays so: by thresholds that the hysteresis has moved. Where it
            is ``ok``, an open alert is on its way to be closed.
        value: What was measured, in the rule's unit; None where there was nothing to measure.
        threshold: The one that was passed, or the first one that may be; None where there is none.
        support: What it rests on: pairs, rows, days, as the rule counts.
        evidence: What else the rule says of it, JSON-ready.
    """

    scope: Mapping[str, Any]
    level: Level
    kept: Level
    value: float | None = None
    threshold: float | None = None
    support: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The scope as text: equal scopes, equal texts; empty for the system."""
        return scope_key(self.scope)


@dataclass(frozen=True)
class Reading:
    """What a rule measured at an evaluation time.

    Attributes:
        time: The evaluation time, UTC: what was known then was measured.
        rule: The rule's name.
        level: The worst of its scopes; ``unknown`` where none of them is known.
        value, threshold, support: Of the worst scope.
        scopes: Every scope that is not well, or not known while others are.
    """

    time: datetime
    rule: str
    level: Level
    value: float | None = None
    threshold: float | None = None
    support: int = 0
    scopes: tuple[ScopeReading, ...] = ()


def scope_key(scope: Mapping[str, Any]) -> str:
    """A scope as text.

    >>> scope_key({"industry": "111", "area": "DK1"}), scope_key({})
    ('{"area": "DK1", "industry": "111"}', '')
    """
    return json.dumps(dict(scope), sort_keys=True, ensure_ascii=False, default=str) if scope else ""
