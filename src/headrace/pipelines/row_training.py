"""From labelled rows to a model version: choose, fit, register, and let it win its place or not."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from headrace import metrics
from headrace.errors import DeclarationError, NotEnoughDataError
from headrace.home import RAW, Home
from headrace.lineage import digest_of, iso
from headrace.lookup import Lookups
from headrace.models.classifier import GATE_ROWS, Classifier, ClassifierFit, Rows
from headrace.pipelines.verdict import of_classes, with_baselines
from headrace.registry import Trained
from headrace.row_predictor import RowPredictor
from headrace.shaping import comparable, differing
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion

COMPARED = 30
"""Fewer rows than this that neither model was fitted on compare nothing."""


def labelled(system: System, home: Home, *, as_of: datetime, data_version: int) -> pl.DataFrame:
    """The rows with a target that were known, the newest fact of each key, in order of the keys.

    Raises:
        NotEnoughDataError: There is none.
    """
    import polars as pl

    identity = system.identity
    columns = list(dict.fromkeys([*identity, *_types(system), system.target, "known_at"]))
    rows = home.table(system.name, RAW).read(
        identity=identity, columns=columns, version=data_version, as_of=as_of, where=pl.col(system.target).is_not_null()
    )
    if rows.is_empty():
        raise NotEnoughDataError("no row has a target", where=system.target, hint=f"headrace ingest {system.name}")
    return rows


def _types(system: System) -> dict[str, str]:
    """Contract type of every column that the features read."""
    read = system.features.columns()
    if system.time is not None and any(e.uses_time() for e in system.features.expressions):
        read = read | {system.time}
    return {column.name: column.type for column in system.contract.columns if column.name in read}


def fit(system: System, rows: pl.DataFrame, looked_up: Mapping[str, str] | None = None) -> ClassifierFit:
    """Fit the system's model on labelled rows.

    Args:
        system: The declaration.
        rows: What it learns from.
        looked_up: Contract types of the columns that were looked up for them.

    Raises:
        DeclarationError: The model is not one of rows.
        NotEnoughDataError: There are too few rows, or one class only.
    """
    if not isinstance(system.model, Classifier):
        raise DeclarationError("a system without a horizon needs a Classifier", where="model")
    types = _types(system) | dict(looked_up or {})
    return system.model.fit(system.features, Rows(rows, system.target, types, system.time))


def train(system: System, home: Home, *, as_of: datetime, data_version: int, now: datetime) -> Trained:
    """Fit on what was known, register the version, and promote it if it beats the champion.

    Raises:
        NotEnoughDataError: There are too few labelled rows.
        ModelError: The new model's row form disagrees with its table form, or what a request would look up with the
            table: it is not registered.
        RegistryError: The tracking server cannot be reached.
    """
    rows = labelled(system, home, as_of=as_of, data_version=data_version)
    lookups = Lookups.of(system.features, system, home)
    rows, stored = lookups.join(rows, as_of)
    lookups.refuse_disagreement(rows.tail(GATE_ROWS), as_of, now)
    fitted = fit(system, rows, lookups.types)
    pins = {
        "as_of": iso(as_of),
        "data_version": data_version,
        "feature_version": system.features.digest,
        "config_digest": system.config_digest,
        "made_from": system.made_from,
        "rows": rows.height,
        **({"stored": stored} if stored else {}),
    }
    with tempfile.TemporaryDirectory() as folder:
        fitted.model.save(Path(folder))
        version = home.registry.register(
            system.name,
            Path(folder),
            key=digest_of(pins, 24),
            params=system.model.model_dump(mode="json") | {"chosen": fitted.chosen},
            metrics={name: value if value == value else None for name, value in fitted.scores.items()},
            pins=pins,
            as_of=as_of,
            created_at=now,
        )
    return _gate(system, home, version, fitted, rows, now)


def _gate(
    system: System, home: Home, version: ModelVersion, fitted: ClassifierFit, rows: pl.DataFrame, now: datetime
) -> Trained:
    registry, champion = home.registry, home.registry.champion(system.name, version.as_of)
    verdict = of_classes(fitted.scores, rows.height)
    said = verdict.as_dict()
    if champion is not None and champion.version == version.version:
        return Trained(version, True, version.reason or "is the champion", said)
    if champion is None:
        reason, wins = "the first version", True
    else:
        reason, wins = _compare(system, home, champion, fitted, rows, version.as_of)
    reason, wins = with_baselines(system, verdict, reason, wins)
    decide = registry.promote if wins else registry.reject
    decided = decide(system.name, version.version, created_at=now, as_of=version.as_of, reason=reason)
    return Trained(decided, wins, reason, said)


def _compare(
    system: System,
    home: Home,
    champion: ModelVersion,
    fitted: ClassifierFit,
    rows: pl.DataFrame,
    as_of: datetime,
) -> tuple[str, bool]:
    """On the rows that became known after the champion's own; without enough of them, by cross-validation of both."""
    import polars as pl

    parts = differing(system.made_from, champion.pins)
    if not comparable(parts):
        return f"version {champion.version} was made from another declaration ({', '.join(parts)})", True
    new = rows.with_row_index("_at").filter(pl.col("known_at") > pl.lit(champion.as_of, pl.Datetime("us", "UTC")))
    if new.height >= COMPARED:
        actual = (new[system.target] == fitted.model.classes[1]).cast(float).to_numpy()
        ours = metrics.log_loss(actual, fitted.held_out[new["_at"].to_numpy()])
        model = RowPredictor.load(home.registry.fetch(champion)).model
        seen, _ = Lookups.of(model.features, system, home).join(new, as_of)
        theirs = metrics.log_loss(actual, model.probabilities(seen))
        where = f"on {new.height} rows that are new to it"
    else:
        ours, stored = fitted.scores["log_loss"], champion.metrics.get("log_loss")
        theirs = float("inf") if stored is None else stored
        where = "in cross-validation"
    verdict = "beats" if ours < theirs else "does not beat"
    return f"{verdict} version {champion.version}: log loss {metrics.apart(ours, theirs)} {where}", ours < theirs
