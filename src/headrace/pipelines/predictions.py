"""Stored predictions: read them, find one by its id, trace what it was made from, compute it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, UsageError
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.lineage import ANSWERED, CANARY, PINNED, ROLE, SHADOW, SHADOW_OF, as_of_in
from headrace.pipelines import runs
from headrace.store.failures import intact
from headrace.system import System
from headrace.tasks import task_of, task_of_prediction
from headrace.tracing import from_text

if TYPE_CHECKING:
    import polars as pl

    from headrace.ledger import Entry


def newest(system: System, frame: pl.DataFrame, limit: int) -> pl.DataFrame:
    """So many of the newest predictions, in the order in which they stand."""
    if limit < 1:
        raise UsageError(f"{limit} predictions are none", where="limit")
    numbered = frame.with_row_index(":place")
    latest = numbered.sort(task_of(system).newest_by, descending=True, maintain_order=True).head(limit)
    return latest.sort(":place").drop(":place")


def with_truth(system: System, home: Home, frame: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
    """Predictions with a column ``actual``, the truth as it is known by a time (None: by now); null where it is not.

    Raises:
        UsageError: A column of predictions has this name.
        StoreError: The facts cannot be read.
    """
    if "actual" in frame.columns:
        raise UsageError("the predictions have a column of this name", where="actual")
    task = task_of(system)
    truth = task.actuals(home, frame, as_of)
    return frame.join(truth, on=task.identity, how="left", nulls_equal=True, maintain_order="left")


def find(home: Home, prediction_id: str) -> tuple[str, dict[str, Any]]:
    """The system and the stored row of a prediction.

    Raises:
        NotFoundError: There is no such prediction.
    """
    import polars as pl

    moment = pl.lit(as_of_in(prediction_id), pl.Datetime("us", "UTC"))
    slot = pl.col("as_of").is_between(moment, moment + timedelta(milliseconds=1))
    for name, more in ((PREDICTIONS, {}), (SHADOWS, {ROLE: SHADOW})):
        for system in home.store.systems():
            table = home.table(system, name)
            if table.exists():
                rows = table.collect(table.scan(where=slot & (pl.col("id") == prediction_id)))
                if rows.height:
                    return system, rows.drop("_version").row(0, named=True) | more
    found = home.ledger.get(prediction_id) if home.has_ledger else None
    if found is not None:
        return found[0].system, _of_entry(*found)
    beside = home.ledger.shadows.get(prediction_id) if home.has_ledger else None
    if beside is not None:
        shadow, answered, pins = beside
        inputs = answered.inputs if shadow.inputs is None else shadow.inputs
        entry = answered._replace(id=shadow.id, inputs=inputs, answer=shadow.answer)
        return entry.system, _of_entry(entry, pins) | {SHADOW_OF: answered.id}
    hint = (
        "ids are listed by `headrace predictions SYSTEM`; answers on a stream are known after `headrace archive SYSTEM`"
    )
    raise NotFoundError(f"no prediction {prediction_id}", hint=hint)


def _of_entry(entry: Entry, pins: Mapping[str, Any]) -> dict[str, Any]:
    """A logged prediction in the shape of a stored one. Of an event it was made as of the event's known time."""
    answer = json.loads(entry.answer)
    as_of = datetime.fromisoformat(answer["as_of"]) if "as_of" in answer else entry.created_at
    return {
        "id": entry.id,
        "key": entry.key,
        **{name: value for name, value in answer.items() if name not in ("id", "key", "model_version", "pins")},
        "inputs": entry.inputs.decode(),
        **dict.fromkeys(("as_of", "known_at"), as_of),
        "created_at": entry.created_at,
        "run_id": None,
        "door": "http",
        **{name: pins[name] for name in PINNED},
        ROLE: pins.get(ROLE, ANSWERED),
    }


def trace(home: Home, prediction_id: str) -> dict[str, Any]:
    """The chain behind a prediction: the row, its pins, the model's own pins, and the run that made it.

    Raises:
        NotFoundError: There is no such prediction.
    """
    system, row = find(home, prediction_id)
    version, role = home.registry.get(system, row["model_version"]), row.pop(ROLE, None) or ANSWERED
    pins = {"as_of": row["as_of"], **{name: row[name] for name in PINNED}}
    shown = {name: value for name, value in row.items() if name not in pins and name != "known_at"}
    if "inputs" in shown:
        with intact(f"{system}/{PREDICTIONS}", "headrace verify --deep says which file is damaged"):
            shown["inputs"] = json.loads(shown["inputs"])
    trace_id = home.ledger.trace_of(prediction_id) if home.has_ledger else None
    if trace_id is not None:
        place = from_text(trace_id)
        shown |= {"trace_id": place.trace, "span_id": place.span}
        shown |= {"tracestate": place.state} if place.state else {}
    return {
        "id": prediction_id,
        "system": system,
        ROLE: role,
        "prediction": shown,
        "pins": pins,
        "model": {
            "version": version.version,
            "digest": version.digest,
            "state": version.state,
            "because": version.because,
            "decided_by": version.decided_by,
            "decision": version.decision,
            "trained": dict(version.pins),
            "configuration": _configuration(home, system, version.pins),
            "metrics": dict(version.metrics),
        },
        "run": runs.record(home, system, row["run_id"]) if row["run_id"] is not None else None,
    }


def _configuration(home: Home, system: str, pins: Mapping[str, Any]) -> dict[str, Any] | None:
    """What tuning found that a model was trained with; None where its values are those that were declared.

    Of one that is not in the home's tables any more its version and digest are told, which the model itself keeps.
    """
    if "configuration" not in pins:
        return None
    replaced = pins.get("config_replaced", [])
    told = {"version": pins["config_version"], "digest": pins["configuration"], "replaced": replaced}
    found = next((c for c in home.configurations(system).all() if c.digest == told["digest"]), None)
    if found is None:
        return {**told, "overrides": None, "study": None}
    overrides = {path: value for path, value in found.overrides.items() if path not in replaced}
    return {**told, "overrides": overrides, "study": found.record.get("study")}


def replay(home: Home, prediction_id: str, *, threads: int = 1) -> dict[str, Any]:
    """Compute a prediction again from its pins alone: ``id stored replayed identical``.

    Raises:
        NotFoundError: There is no such prediction.
        ReplayError: The series is not in the pinned data.
        NotExportedError: It answers a posted event that was not exported.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    system, row = find(home, prediction_id)
    return task_of_prediction(row).replay(home, system, prediction_id, row, threads=threads)


def read(
    system: System,
    home: Home,
    *,
    as_of: datetime | None = None,
    where: Mapping[str, str] | None = None,
    role: str | None = None,
) -> pl.DataFrame:
    """Stored predictions, in the order in which they were made.

    Args:
        system: The declaration.
        home: Where they are.
        as_of: As they stood at this time, UTC: of forecasts what the newest run up to then said, of rows those that
            were made up to then.
        where: Column to text: only rows that have the value that it names; an empty text is a missing value too.
        role: ``answered``, ``canary`` or ``shadow``: what the version was to them; None: all that were answered.

    Raises:
        NotFoundError: There is none yet, no such column, or none with these keys.
        UsageError: There is no such role, or a text is no value of its column.
    """
    if role not in (None, ANSWERED, CANARY, SHADOW):
        raise UsageError(f"no role {role!r}", where="role", hint=f"{ANSWERED}, {CANARY} or {SHADOW}")
    return task_of(system).read(home, as_of=as_of, where=where, role=role)
