"""How good the champion of a system that scores rows is on rows that it has not seen. Stores nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotFoundError, UsageError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.evaluation import EvaluateRequest, EvaluationData, ScoredRows
from headrace.tasks.rows.fitting import fulfilling
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.model import RowModel
from headrace.tasks.rows.outputs.base import Array, Output
from headrace.tasks.rows.outputs.declared import model_of
from headrace.tasks.rows.predictor import RowPredictor
from headrace.tasks.sections import Block, TerminalTable

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion

_SHOWN = 10
"""Unknown values that are named."""


@dataclass(frozen=True)
class HoldoutScores(ScoredRows):
    """How good the champion is on the rows of a file."""

    def blocks(self) -> Sequence[Block]:
        """Beside what needs no model, by class, and what does not count."""
        import polars as pl

        figures = self.figures
        rows = [{"prediction": figures["system"], **figures["metrics"]}]
        rows += [{"prediction": name, **metrics} for name, metrics in figures["baselines"].items()]
        version, seconds = figures["model_version"], figures["seconds"]
        title = f"{figures['rows']:,} rows, model version {version}, {seconds:,.1f} s"
        frame = pl.DataFrame(rows, infer_schema_length=None)
        blocks: list[Block] = [TerminalTable(frame, title, tuple(rows[0]), kept=("prediction",))]
        if classes := figures.get("classes"):
            by_class = pl.DataFrame([{"class": name, **v} for name, v in classes.items()], infer_schema_length=None)
            blocks.append(TerminalTable(by_class, "by class", kept=("class",)))
        for feature, by_key in figures.get("by", {}).items():
            frame = pl.DataFrame([{feature: name, **v} for name, v in by_key.items()], infer_schema_length=None)
            measure = (name for name in frame.columns if name.removesuffix("_se") in ("rmse", "rmsle"))
            first = (feature, "rows", "coverage", "width", *measure)
            blocks.append(TerminalTable(frame, f"by {feature}", first, kept=(feature,)))
        if kept := figures.get("without_set_apart"):
            frame = pl.DataFrame([{"rows": kept["rows"], **kept["metrics"]}])
            title = f"without {kept['apart']:,} rows that a training sets apart"
            blocks.append(TerminalTable(frame, title, kept=("rows",)))
        trained, bad = figures["trained_on"]["rows"], figures["bad"]
        if trained and trained == figures["rows"]:
            blocks.append("warning  it was trained on all of these rows: that says nothing of others")
        elif trained:
            blocks.append(f"{trained:,} further rows were trained on: they are left out")
        if unknown := figures.get("unknown"):
            names = ", ".join(map(str, unknown["values"]))
            message = f"warning  {unknown['rows']:,} rows have a target that it does not know ({names})"
            blocks.append(f"{message}: they are left out, and it cannot be right about them")
        if bad:
            blocks.append(f"{bad:,} rows break the contract: they are left out")
        return blocks


def holdout(system: System, home: Home, request: EvaluateRequest, data: EvaluationData) -> HoldoutScores:
    """Score the champion on rows with a target.

    Rows with keys that it was trained on are counted apart, as `trained_on`: they decide nothing. Where there are no
    others the metrics are of these, and `trained_on` has as many rows.

    Returns:
        ``origins rows bad metrics baselines trained_on{rows metrics} model_version seconds``, and what the output tells
        beside its metrics. ``unknown{rows values}`` where rows are of classes that the model does not know: they are
        not in the metrics, and it cannot be right about them.

    Raises:
        UsageError: There are no rows to score, or there is a range of times.
        NotFoundError: There is no champion.
        SourceError: The rows cannot be read.
        ContractBroken: Too many of the rows are bad.
        NotEnoughDataError: No row has a target.
    """
    if request.data is None or request.range is not None or request.retrain is not None:
        raise UsageError(f"{system.name} scores rows", where="evaluate", hint="give it rows: data, a FILE")
    import polars as pl

    began = time.perf_counter()
    champion = home.registry.champion(system.name)
    if champion is None:
        raise NotFoundError("there is no model to evaluate", where=system.name, hint=f"headrace run {system.name}")
    held_out = data.held_out(system, request.data, request.now)
    rows = held_out.rows
    model = RowPredictor.load(home.registry.fetch(champion)).model
    trained = _trained_on(system, home, champion, rows)
    rows, _ = Lookups.of(model.features, system, home).join(rows, request.now)
    actual, numbers = model.output.actual(rows[system.target]), model.numbers(rows)
    known = ~np.isnan(actual)
    judged = (~trained if not trained.all() else trained) & known
    scores = model.output.metrics(actual[judged], numbers[judged])
    beside = model.beside(rows.filter(pl.Series(judged))) if judged.any() else {}
    baselines = {name: _told(model.output.metrics(actual[judged], numbers_)) for name, numbers_ in beside.items()}
    figures = {
        "system": system.name,
        "origins": 1,
        "rows": int(judged.sum()),
        "bad": held_out.bad,
        "metrics": _told(scores),
        **model.output.details(actual[judged], numbers[judged]),
        "baselines": baselines,
        **_by_key(model, rows, actual, numbers, judged),
        **_learnable(system, model.output, rows, actual, numbers, judged),
        "trained_on": _apart(model.output, actual, numbers, trained & known),
        **_unknown(rows[system.target].filter(pl.Series(~known))),
        "model_version": champion.version,
        "seconds": round(time.perf_counter() - began, 3),
    }
    return HoldoutScores(figures)


def _learnable(
    system: System, output: Output, rows: pl.DataFrame, actual: Array, numbers: Array, judged: NDArray[np.bool_]
) -> dict[str, Any]:
    """The metrics without rows that a training sets apart, where there are such."""
    kept = fulfilling(model_of(system), rows).to_numpy()
    apart = int((judged & ~kept).sum())
    if not apart:
        return {}
    kept = judged & kept
    metrics = _told(output.metrics(actual[kept], numbers[kept])) if kept.any() else {}
    return {"without_set_apart": {"rows": int(kept.sum()), "apart": apart, "metrics": metrics}}


def _by_key(
    model: RowModel, rows: pl.DataFrame, actual: Array, numbers: Array, judged: NDArray[np.bool_]
) -> dict[str, Any]:
    """The metrics of every value of the feature by which intervals are, the most frequent first."""
    keys = model.keys_of_frame(rows)
    if keys is None:
        return {}
    names = np.array(["" if key is None else key for key in keys])
    values, counts = np.unique(names[judged], return_counts=True)
    by_key = {}
    for place in np.lexsort((values, -counts)):
        some = judged & (names == values[place])
        metrics = _told(model.output.metrics(actual[some], numbers[some]))
        by_key[str(values[place])] = {"rows": int(some.sum()), **metrics}
    return {"by": {str(model.output.keyed): by_key}}


def _trained_on(system: System, home: Home, champion: ModelVersion, rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Which rows the champion was trained on, by their keys: shape (rows,)."""
    import polars as pl

    table = home.raw(system)
    if not table.exists():
        return np.zeros(rows.height, dtype=bool)
    facts = table.scan(version=int(champion.pins["data_version"]), as_of=champion.as_of)
    keys = table.collect(facts.filter(pl.col(system.target).is_not_null()).select(system.identity)).unique()
    keys = keys.with_columns(pl.col(name).cast(rows.schema[name]) for name in system.identity)
    marked = rows.select(system.identity).join(
        keys.with_columns(_trained=True), on=system.identity, how="left", nulls_equal=True, maintain_order="left"
    )
    return marked["_trained"].fill_null(False).to_numpy()


def _apart(output: Output, actual: Array, numbers: Array, trained: NDArray[np.bool_]) -> dict[str, Any]:
    """How many rows it was trained on, and how good it is on these: they say nothing about others."""
    count = int(trained.sum())
    return {"rows": count, "metrics": _told(output.metrics(actual[trained], numbers[trained])) if count else {}}


def _unknown(values: pl.Series) -> dict[str, Any]:
    """How many rows have a target that the model does not know, and some of these."""
    if values.is_empty():
        return {}
    return {"unknown": {"rows": len(values), "values": values.unique().sort().head(_SHOWN).to_list()}}


def _told(metrics: dict[str, float]) -> dict[str, float]:
    """Those that say something."""
    return {name: value for name, value in metrics.items() if value == value}
