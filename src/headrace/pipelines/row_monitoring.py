"""How good predictions of rows were, beside the truth that came later, as scores in the store.

A score is known from the time on at which its last prediction or truth was, so it does not depend on when or how often
it was computed; a correction of the truth makes a new fact beside the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.pipelines.row_scores import GROUP, SUMS, measures, scores
from headrace.row_predictor import PROBABILITY
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Monitored:
    """What monitoring found.

    Attributes:
        overall: The metrics of `row_scores.measures` over the window; empty while nothing has matured.
        completeness: What they rest on; see `completeness_of`.
        rows: New score facts.
    """

    overall: dict[str, Any]
    completeness: dict[str, Any]
    rows: int

    @property
    def matured(self) -> int:
        """Predictions of the window whose truth is known."""
        return int(self.completeness["matured"])


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
    rows = score(system, home, as_of=as_of, data_version=data_version)
    window = read_scores(system, home, as_of)
    if window is None:
        return Monitored({}, {"predictions": 0, "matured": 0}, rows)
    found = completeness_of(window)
    overall = measures(window, []).drop("expected", "n").row(0, named=True)
    return Monitored(overall if found["matured"] else {}, found, rows)


def completeness_of(window: pl.DataFrame) -> dict[str, Any]:
    """How many `predictions` there are, how many of them have `matured`, and the days `since` and `until` (UTC)."""
    return {
        "predictions": int(window["expected"].sum()),
        "matured": int(window["n"].sum()),
        "since": window["time"].min(),
        "until": window["time"].max(),
    }


def read_scores(system: System, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
    """The scores of the monitoring window as they were known at a time; None while there is none.

    The window ends with the last day whose predictions have matured, or with the last day while none have; later days
    are in it too. One row a day (`time`), model version and bin of the probability.
    """
    import polars as pl

    table = home.table(system.name, METRICS)
    if not table.exists():
        return None
    frame = table.read(identity=GROUP, columns=[*GROUP, *SUMS], as_of=as_of, order=GROUP)
    if frame.is_empty():
        return None
    matured = frame.filter(pl.col("n") > 0)["time"].max()
    last = frame["time"].max() if matured is None else matured
    return frame.filter(pl.col("time") > last - pl.lit(system.monitoring.window))


def score(system: System, home: Home, *, as_of: datetime, data_version: int) -> int:
    """Score all predictions as they stand. Returns the number of new facts."""
    import polars as pl

    predictions = home.table(system.name, PREDICTIONS)
    if not predictions.exists():
        return 0
    version = predictions.version()
    columns = ["id", *system.keys, system.target, PROBABILITY, "model_version", "as_of"]
    made = predictions.read(identity=["id"], columns=columns, version=version, as_of=as_of, order=["id"])
    if made.is_empty():
        return 0
    pairs = _pairs(system, made, _truth(system, home, made, as_of, data_version))
    versions = {"data_version": data_version, "predictions_version": version}
    facts = scores(pairs).with_columns(**{name: pl.lit(n, pl.Int64) for name, n in versions.items()})
    return home.table(system.name, METRICS).append(facts, identity=GROUP, compare=SUMS, window="time").added


def _truth(system: System, home: Home, made: pl.DataFrame, as_of: datetime, data_version: int) -> pl.DataFrame:
    """Per key the target as it is known (`actual`), since when (`stamp`), and since when there is any (`learnt`)."""
    import polars as pl

    raw, keys = home.table(system.name, RAW), list(system.keys)
    lazy = raw.scan(version=data_version, as_of=as_of).select(*keys, system.target, "known_at", "_version")
    facts = raw.collect(lazy.filter(pl.col(system.target).is_not_null()))
    facts = facts.join(made.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    said, known_at = pl.col(system.target), pl.col("known_at")
    return (
        facts.sort(*keys, "known_at", "_version", maintain_order=True)
        .group_by(keys, maintain_order=True)
        # Facts that repeat the target are about other columns: they do not make it known anew.
        .agg(
            said.last().alias("actual"),
            known_at.filter(said.ne_missing(said.shift(1))).last().alias("stamp"),
            known_at.first().alias("learnt"),
        )
    )


def _pairs(system: System, made: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Every prediction beside its truth, where that counts, as `scores` takes them."""
    import polars as pl

    both = made.join(truth, on=list(system.keys), how="left", nulls_equal=True, maintain_order="left")
    counts = pl.col("learnt") > pl.col("as_of")
    actual = pl.when(counts).then(pl.col("actual"))
    return both.select(
        pl.col("as_of").dt.truncate("1d").alias("time"),
        "model_version",
        pl.col(PROBABILITY).alias("probability"),
        (actual == pl.lit(_second(system, made, truth))).alias("actual"),
        (actual == pl.col(system.target)).alias("right"),
        pl.when(counts).then(pl.max_horizontal("as_of", "stamp")).otherwise("as_of").alias("known_at"),
    )


def _second(system: System, made: pl.DataFrame, truth: pl.DataFrame) -> Any:
    """The second of the two classes, whose probability is predicted."""
    column = system.contract.column(system.target)
    if column.type == "boolean":
        return True
    return max(column.values or [*made[system.target].unique(), *truth["actual"].unique()])
