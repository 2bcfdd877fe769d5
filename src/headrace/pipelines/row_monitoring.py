"""Predictions of rows beside the truth that came later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace import metrics
from headrace.home import PREDICTIONS, RAW, Home
from headrace.row_predictor import PROBABILITY
from headrace.system import System

_PREDICTED = "_predicted"


@dataclass(frozen=True)
class Monitored:
    """What monitoring found.

    Attributes:
        overall: ``accuracy log_loss brier auc`` of the predictions whose truth is known.
        matured: How many those are.
        completeness: How many of all predictions that is, in words.
    """

    overall: dict[str, Any]
    matured: int
    completeness: dict[str, Any]


def monitor(system: System, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
    """Compare the newest prediction of every row with its target, where that became known after the prediction.

    A target that was known before may have been trained on: to predict it proves nothing.

    Each figure is computed from the stored facts as of a time, so repeating it changes nothing and any time of the
    past can be asked about.
    """
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        return Monitored({}, 0, {"predictions": 0, "matured": 0})
    columns = ["id", *system.keys, system.target, PROBABILITY, "created_at", "as_of"]
    made = table.read(identity=["id"], columns=columns, as_of=as_of, order=["created_at", "id"])
    made = made.rename({system.target: _PREDICTED}).unique(list(system.keys), keep="last", maintain_order=True)
    truth = home.table(system.name, RAW).read(
        identity=system.identity,
        columns=[*system.keys, system.target, "known_at"],
        version=data_version,
        as_of=as_of,
        where=pl.col(system.target).is_not_null(),
    )
    pairs = made.join(truth, on=list(system.keys), how="inner", nulls_equal=True)
    pairs = pairs.filter(pl.col("known_at") > pl.col("as_of"))
    completeness = {"predictions": made.height, "matured": pairs.height}
    if pairs.is_empty():
        return Monitored({}, 0, completeness)
    second = max([*truth[system.target].unique().to_list(), *made[_PREDICTED].unique().to_list()])
    actual = (pairs[system.target] == second).cast(float).to_numpy()
    overall = metrics.of_probabilities(actual, pairs[PROBABILITY].to_numpy())
    overall["accuracy"] = float(int((pairs[system.target] == pairs[_PREDICTED]).sum()) / pairs.height)
    return Monitored({n: v if v == v else None for n, v in overall.items()}, pairs.height, completeness)
