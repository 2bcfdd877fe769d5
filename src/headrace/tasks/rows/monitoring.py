"""How good predictions of rows were, beside the truth that came later, as scores in the store.

A score is known from the time on at which its last prediction or truth was, so it does not depend on when or how often
it was computed; a correction of the truth makes a new fact beside the old one.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.system import System
from headrace.tasks.base import Monitored
from headrace.tasks.rows.outputs.base import GROUP, LABEL, TRUTH, Output
from headrace.tasks.rows.outputs.declared import output_of

if TYPE_CHECKING:
    import polars as pl


def monitor(system: System, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
    """Score every prediction whose truth has become known after it, and sum up the monitoring window.

    A target that was known before may have been trained on: to predict it proves nothing. Stateless: the same facts
    give the same scores, and repeating it stores nothing new.

    Args:
        system: The declaration.
        home: Where everything is.
        as_of: What is known at this time counts, UTC.
        data_version: Logical version of the raw table.
    """
    rows, before = score(system, home, as_of=as_of, data_version=data_version)
    window = read_scores(system, home, as_of)
    if window is None:
        return Monitored({}, {"predictions": 0, "matured": 0}, rows)
    completeness = completeness_of(window) | ({"known_before": before} if before else {})
    overall = output_of(system, home).measures(window, []).drop("expected", "n").row(0, named=True)
    return Monitored(overall if completeness["matured"] else {}, completeness, rows)


def completeness_of(window: pl.DataFrame) -> dict[str, Any]:
    """How many `predictions` there are, how many of them have `matured`, and the days `since` and `until` (UTC)."""
    return {
        "predictions": int(window["expected"].sum()),
        "matured": int(window["n"].sum()),
        "since": window["time"].min(),
        "until": window["time"].max(),
    }


def measured(system: System, home: Home, scores: pl.DataFrame | None) -> dict[str, Any]:
    """Metrics of scores: ``metrics`` over all, ``over_time`` and ``by_version``, JSON-ready; empty without scores."""
    if scores is None:
        return {"metrics": {}, "over_time": [], "by_version": []}
    output = output_of(system, home)
    return {
        "metrics": output.measures(scores, []).row(0, named=True),
        "over_time": output.measures(scores, ["time"]).to_dicts(),
        "by_version": output.measures(scores, ["model_version"]).to_dicts(),
    }


def read_scores(system: System, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
    """The scores of the monitoring window as they were known at a time; None while there is none.

    The window ends with the last day whose predictions have matured, or with the last day while none have; later days
    are in it too. One row a day (`time`), model version and what the output keeps sums within.
    """
    import polars as pl

    table = home.table(system.name, METRICS)
    if not table.exists():
        return None
    output = output_of(system, home)
    group = [*GROUP, *output.within]
    frame = table.read(identity=group, columns=[*group, *output.sums], as_of=as_of, order=group)
    if frame.is_empty():
        return None
    matured = frame.filter(pl.col("n") > 0)["time"].max()
    last = frame["time"].max() if matured is None else matured
    return frame.filter(pl.col("time") > last - pl.lit(system.monitoring.window))


def score(system: System, home: Home, *, as_of: datetime, data_version: int) -> tuple[int, int]:
    """Score all predictions as they stand. Returns the number of new facts, and of how many predictions the truth was
    known before they were made."""
    import polars as pl

    predictions = home.table(system.name, PREDICTIONS)
    if not predictions.exists():
        return 0, 0
    version, output = predictions.version(), output_of(system, home)
    columns = ["id", *system.keys, system.target, *output.beside, "model_version", "as_of"]
    rows = predictions.read(identity=["id"], columns=columns, version=version, as_of=as_of, order=["id"])
    if rows.is_empty():
        return 0, 0
    truth = truth_of(system, home, rows, as_of, data_version)
    early = rows.join(truth, on=list(system.keys), nulls_equal=True).filter(pl.col("learnt") <= pl.col("as_of"))
    pairs = pairs_of(system, output, rows, truth)
    versions = {"data_version": data_version, "predictions_version": version}
    facts = output.scores(pairs).with_columns(**{name: pl.lit(n, pl.Int64) for name, n in versions.items()})
    group = [*GROUP, *output.within]
    metrics = home.table(system.name, METRICS)
    return metrics.append(facts, identity=group, compare=output.sums, window="time").added, early.height


def truth_of(
    system: System, home: Home, predictions: pl.DataFrame, as_of: datetime | None, data_version: int
) -> pl.DataFrame:
    """Per key of predictions the target as it is known (`actual`), since when (`stamp`), and since when there is any
    (`learnt`).

    Args:
        system: The declaration.
        home: Where the facts are.
        predictions: Has the keys.
        as_of: What is known at this time counts, UTC; None: all.
        data_version: Logical version of the raw table.
    """
    import polars as pl

    raw, keys = home.table(system.name, RAW), list(system.keys)
    lazy = raw.scan(version=data_version, as_of=as_of).select(*keys, system.target, "known_at", "_version")
    facts = raw.collect(lazy.filter(pl.col(system.target).is_not_null()))
    facts = facts.join(predictions.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    target, known_at = pl.col(system.target), pl.col("known_at")
    return (
        facts.sort(*keys, "known_at", "_version", maintain_order=True)
        .group_by(keys, maintain_order=True)
        # Facts that repeat the target are about other columns: they do not make it known anew.
        .agg(
            target.last().alias("actual"),
            known_at.filter(target.ne_missing(target.shift(1))).last().alias("stamp"),
            known_at.first().alias("learnt"),
        )
    )


def pairs_of(
    system: System,
    output: Output,
    predictions: pl.DataFrame,
    truth: pl.DataFrame,
    *,
    group: pl.Expr | None = None,
) -> pl.DataFrame:
    """Every prediction beside its truth, where that counts, as `Output.scores` takes them.

    Args:
        system: The declaration.
        output: Of its champion.
        predictions: As they are stored.
        truth: As `truth_of` gives it.
        group: What sums are kept by. None: the day of the prediction.
    """
    import polars as pl

    pairs = predictions.join(truth, on=list(system.keys), how="left", nulls_equal=True, maintain_order="left")
    counts = pl.col("learnt") > pl.col("as_of")
    return pairs.select(
        (pl.col("as_of").dt.truncate("1d") if group is None else group).alias("time"),
        "model_version",
        pl.col(system.target).alias(LABEL),
        *output.beside,
        pl.when(counts).then(pl.col("actual")).alias(TRUTH),
        pl.when(counts).then(pl.max_horizontal("as_of", "stamp")).otherwise("as_of").alias("known_at"),
    )
