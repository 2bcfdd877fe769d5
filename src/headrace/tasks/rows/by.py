"""How good predictions of rows were by day, by model version, or by what sums are kept within."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headrace.errors import NotFoundError, UsageError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.rows.monitoring import read_scores
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.score_table import ScoreTable, metrics_of

_OWN = {"": (), "time": ("time",), "version": ("model_version",)}


def scores_by(
    system: System, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
) -> ScoreTable | None:
    """The scores of the monitoring window by one thing; see `headrace.tasks.base.Task.scores_by`."""
    import polars as pl

    if by not in _OWN:
        raise NotFoundError(f"errors of {system.name} are not kept by {by!r}", where="by", hint="by time, version")
    if where:
        raise UsageError(f"scores of {system.name} are kept over all rows", where="by", hint="leave the columns out")
    scores = read_scores(system, home, as_of)
    if scores is None:
        return None
    output, columns = output_of(system, home), list(_OWN[by])
    frame = output.measures(scores, columns)
    rivals = [output.baselines(row) if row["n"] else {} for row in frame.iter_rows(named=True)]
    names = tuple(dict.fromkeys(name for row in rivals for name in row))
    metrics = metrics_of(output.metrics_of_sums, frame.columns)
    more = [
        pl.Series(f"{name}_{metric}", [row.get(name, {}).get(metric) for row in rivals], dtype=pl.Float64)
        for name in names
        for metric in metrics
        if any(metric in row.get(name, {}) for row in rivals)
    ]
    measure = next((name for name in (output.measure, *output.compared) if name in metrics), metrics[0])
    nominal = None
    champion = home.registry.champion(system.name)
    if champion is not None and "coverage" in metrics:
        nominal = champion.params.get("coverage")
    better = measure in output.better
    return ScoreTable(by, tuple(columns), frame.with_columns(more), measure, better, metrics, names, nominal)
