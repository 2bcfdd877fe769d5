"""How good predictions were by one thing, beside baselines: the table that the reading routes tell of every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_ALIKE = 0.01
"""Errors that differ by less than this share are called alike."""


@dataclass(frozen=True)
class ScoreTable:
    """Metrics by one thing.

    Attributes:
        by: What it is by: ``time``, ``run``, ``step``, ``series``, ``version`` or a column; empty for all as one.
        columns: The columns of `frame` that tell a row from others.
        frame: Ordered by `columns`: they, ``expected``, ``n``, the metrics, those of a baseline as ``NAME_METRIC``, and
            where a baseline lacks pairs, the model's own on its pairs as ``NAME_model_METRIC``.
        measure: The metric that decides.
        more_is_better: Of `measure`.
        measures: All metrics.
        baselines: Names of what needs no model.
        nominal: The share that intervals are to hold; None where nothing says so.
    """

    by: str
    columns: tuple[str, ...]
    frame: pl.DataFrame
    measure: str
    more_is_better: bool
    measures: tuple[str, ...]
    baselines: tuple[str, ...]
    nominal: float | None = None

    def against(self, row: Mapping[str, Any], measure: str | None = None) -> dict[str, Any]:
        """A row beside its best baseline, on the pairs that both have.

        Args:
            row: Of `frame`.
            measure: The metric. Default: the one that decides.

        Returns:
            ``value baseline baseline_value skill``: a skill of 0.12 is an error 12 % smaller than the baseline's; None
            where there is nothing to compare.
        """
        name = measure or self.measure
        figures = {"value": row.get(name), "baseline": None, "baseline_value": None, "skill": None}
        rivals = {rival: row.get(f"{rival}_{name}") for rival in self.baselines}
        known = {rival: value for rival, value in rivals.items() if value is not None}
        if not known:
            return figures
        best = max(known, key=lambda rival: known[rival]) if self.more_is_better else min(known, key=lambda e: known[e])
        model_value, rival_value = row.get(f"{best}_model_{name}", row.get(name)), known[best]
        skill = None
        if model_value is not None and rival_value:
            skill = model_value / rival_value - 1 if self.more_is_better else 1 - model_value / rival_value
        return {**figures, "baseline": best, "baseline_value": rival_value, "skill": skill}

    def line(self, row: Mapping[str, Any]) -> str:
        """What a row says beside its best baseline, in a sentence."""
        measure, against = self.measure.replace("_", " ").upper(), self.against(row)
        value, rival, skill = (against[name] for name in ("value", "baseline_value", "skill"))
        if value is None:
            return "no truth is known yet of what was predicted"
        if skill is None:
            return f"{measure} {value:.4g} on {row['n']:,} pairs"
        model_value = row.get(f"{against['baseline']}_model_{self.measure}", value)
        figures = f"{measure} {model_value:.4g} against {rival:.4g}"
        called = called_baseline(against["baseline"])
        if abs(skill) < _ALIKE:
            return f"about as good as {called} ({figures})"
        return f"{abs(skill):.0%} {'better' if skill > 0 else 'worse'} than {called} ({figures})"


def called_baseline(name: str) -> str:
    """A baseline in words.

    >>> called_baseline("naive_7d"), called_baseline("naive_last")
    ('the value 7d before', 'the last value')
    """
    if name == "naive_last":
        return "the last value"
    season = name.removeprefix("naive_")
    return f"the value {season} before" if season != name else name.replace("_", " ")


def metrics_of(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Of some columns those that are metrics of the model: no counts, no baselines."""
    return tuple(name for name in names if name in columns and name not in ("n", "expected"))
