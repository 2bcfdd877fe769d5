"""How good predictions of rows were by day, by model version, or by a column of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.errors import UsageError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.rows.monitoring import read_scores
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.rows.segments import segment_scores
from headrace.tasks.score_table import ScoreTable, metrics_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.tasks.rows.outputs.base import Output

_OWN = {"": (), "time": ("time",), "version": ("model_version",)}


def scores_by(
    system: System, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
) -> ScoreTable | None:
    """The scores of the monitoring window by one thing; see `headrace.tasks.base.Task.scores_by`."""
    import polars as pl

    if where:
        raise UsageError(f"scores of {system.name} are kept over all rows", where="by", hint="leave the columns out")
    output, columns = output_of(system, home), list(_OWN.get(by, (by,)))
    frame = _measures(system, home, output, by, as_of)
    if frame is None:
        return None
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


def _measures(system: System, home: Home, output: Output, by: str, as_of: datetime | None) -> pl.DataFrame | None:
    """Metrics by one thing; None where nothing was scored yet."""
    if by in _OWN:
        scores = read_scores(system, home, as_of)
        return None if scores is None else output.measures(scores, list(_OWN[by]))
    import polars as pl

    segments = segment_scores(system, home, by, as_of)
    if segments is None:
        return None
    scores, labels = segments
    frame = output.measures(scores, ["time"])
    names = [labels[number] for number in frame["time"].to_list()]
    return frame.with_columns(pl.Series("time", names)).rename({"time": by})
