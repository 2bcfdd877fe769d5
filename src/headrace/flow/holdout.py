"""How good the champion of a system that scores rows is on rows that it has not seen. Stores nothing."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import numpy as np

from headrace import metrics
from headrace.contract import check
from headrace.errors import NotEnoughDataError, NotFoundError
from headrace.home import Home
from headrace.lookup import Lookups
from headrace.row_predictor import RowPredictor
from headrace.sources import open_source
from headrace.sources.base import under_declared_names
from headrace.system import System


def holdout(system: System, home: Home, data: str, now: datetime) -> dict[str, Any]:
    """Score the champion on rows with a target: ``origins rows bad metrics baselines model_version seconds``.

    Args:
        system: The declaration.
        home: Where the champion is.
        data: A file, or any source URI.
        now: The clock's time.

    Raises:
        NotFoundError: There is no champion.
        ContractBroken: Too many of the rows are bad.
        NotEnoughDataError: No row has a target.
    """
    import polars as pl

    began = time.perf_counter()
    champion = home.registry.champion(system.name)
    if champion is None:
        raise NotFoundError("there is no model to evaluate", where=system.name, hint=f"headrace run {system.name}")
    uri = data if data.partition(":")[0] in ("file", "simulated") else f"file:{data}"
    records = open_source(system.source, uri).read(as_of=now, now=now)
    records = under_declared_names(records, system.source, system.contract.names)
    checked = check(system.contract, records.frame, keys=system.keys, time=system.time, as_of=now, now=now)
    checked.raise_if_broken(records.origin)
    rows = checked.good.filter(pl.col(system.target).is_not_null())
    if rows.is_empty():
        raise NotEnoughDataError("no row has a target", where=data)
    model = RowPredictor.load(home.registry.fetch(champion)).model
    rows, _ = Lookups.of(model.features, system, home).join(rows, now)
    actual = (rows[system.target] == model.classes[1]).cast(float).to_numpy()
    found = metrics.of_probabilities(actual, model.probabilities(rows), model.threshold)
    share = float(champion.metrics.get("share") or actual.mean())
    return {
        "system": system.name,
        "origins": 1,
        "rows": rows.height,
        "bad": checked.bad.height,
        "metrics": found,
        "baselines": {"share_of_training": metrics.of_probabilities(actual, np.full(actual.size, share))},
        "model_version": champion.version,
        "seconds": round(time.perf_counter() - began, 3),
    }
