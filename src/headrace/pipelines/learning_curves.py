"""Learning curves of registered versions: made from a version's pins when somebody asks, and kept beside its card.

A training makes none: a curve costs about two trainings more. The same pins give the same curve, so it is made once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import ArtefactError, UsageError
from headrace.home import LEARNING_CURVES, Home
from headrace.shaping import differing
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.card import OF_THE_HOME
from headrace.tasks.learning_curve import LearningCurve, learning_curve

if TYPE_CHECKING:
    from headrace.registry import ModelVersion

_IDENTITY = ("model_version", "model")


def stored_curve(home: Home, version: ModelVersion) -> LearningCurve | None:
    """The learning curve of a version; None where nobody asked for one yet.

    Raises:
        StoreError: The table cannot be read.
        ArtefactError: The curve differs from its digest.
    """
    import polars as pl

    table = home.table(version.system, LEARNING_CURVES)
    if not table.exists():
        return None
    where = (pl.col("model_version") == version.version) & (pl.col("model") == version.digest)
    rows = table.collect(table.scan(where=where)).sort("_version").to_dicts()
    return _read(rows[-1], version) if rows else None


def _read(row: dict[str, Any], version: ModelVersion) -> LearningCurve:
    document = str(row["document"])
    if hashlib.sha256(document.encode()).hexdigest() != row["digest"]:
        where, hint = f"{version.system}/{LEARNING_CURVES}", "headrace verify --deep says which file is damaged"
        raise ArtefactError(f"the curve of version {version.version} differs from its digest", where=where, hint=hint)
    return LearningCurve.from_dict(json.loads(document))


def curve_of(
    system: System,
    home: Home,
    version: ModelVersion,
    now: datetime,
    on_progress: Callable[[str, int, int], None],
) -> LearningCurve:
    """The learning curve of a version: the stored one, or one that is made from the version's pins and stored.

    Args:
        system: The declaration, with the configuration that the version was trained with.
        home: Where facts, models and curves are.
        version: Of the system.
        now: The clock's time; it is only written down.
        on_progress: Told what is fitted, how many fits are done, and of how many.

    Raises:
        UsageError: The declaration is another one by now, or the task does not say how good a configuration is.
        NotEnoughDataError: There is too little data to part.
        StoreError: A table cannot be read or written.
    """
    if (stored := stored_curve(home, version)) is not None:
        return stored
    if changed := differing(system.made_from, version.pins):
        message = f"version {version.version} was made from another declaration ({', '.join(changed)})"
        hint = "declare it as it was, or train, and ask for the curve of the new version"
        raise UsageError(message, where=system.name, hint=hint)
    data_version = int(version.pins[OF_THE_HOME])
    objective = task_of(system).objective(home, as_of=version.as_of, data_version=data_version)
    curve = learning_curve(system, objective, on_progress)
    _keep(home, version, curve, now)
    return curve


def _keep(home: Home, version: ModelVersion, curve: LearningCurve, now: datetime) -> None:
    import polars as pl

    document, utc = json.dumps(curve.as_dict(), sort_keys=True), pl.Datetime("us", "UTC")
    row = {
        "model_version": version.version,
        "model": version.digest,
        "known_at": version.as_of,
        "created_at": now,
        "digest": hashlib.sha256(document.encode()).hexdigest(),
        "document": document,
    }
    schema: dict[str, Any] = {"model_version": pl.Int64, "known_at": utc, "created_at": utc}
    frame = pl.DataFrame([row], schema_overrides=schema)
    home.table(version.system, LEARNING_CURVES).append(
        frame, identity=_IDENTITY, compare=("document",), window="known_at"
    )
