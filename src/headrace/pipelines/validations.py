"""What the contract said of each ingest, kept in the store: rule by rule, with counts, shares, bands and examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError
from headrace.home import RUNS, VALIDATIONS, Home
from headrace.lineage import iso
from headrace.store.failures import intact

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Contract, Validation

_COUNTS = ("rows", "good", "bad", "pending")
SHOWN = 30
"""Ingests of the history, where nothing else is said."""


def keep_validation(
    home: Home, system: str, contract: Contract, validation: Validation, origin: str, now: datetime
) -> dict[str, Any]:
    """Keep a validation, and return it JSON-ready. Written again at the same clock's time, nothing is added.

    Raises:
        StoreError: The table cannot be written.
    """
    import polars as pl

    from headrace.contract.judged import judged_rules

    report = {**validation.as_dict(), "source": origin, "rules": judged_rules(contract, validation)}
    warned = sum(not finding.passed and finding.severity == "warn" for finding in validation.findings)
    utc = pl.Datetime("us", "UTC")
    row = {
        "created_at": now.astimezone(UTC),
        "known_at": validation.as_of.astimezone(UTC),
        "source": origin,
        **{name: report[name] for name in _COUNTS},
        "broken": validation.broken,
        "warnings": warned,
        "report": json.dumps(report, default=str),
    }
    types: dict[str, Any] = {"created_at": utc, "known_at": utc, **dict.fromkeys((*_COUNTS, "warnings"), pl.Int64)}
    frame = pl.DataFrame([row], schema_overrides=types)
    identity = ["created_at", "source", "known_at"]
    home.table(system, VALIDATIONS).append(frame, identity=identity, compare=["report"], window="created_at")
    return report


def history(home: Home, system: str, limit: int = SHOWN) -> pl.DataFrame:
    """The last validations, newest first: ``created_at as_of source rows good bad pending broken warnings``.

    `created_at` is the clock's time of the run, `as_of` what was known then was looked at (both UTC); `warnings` counts
    rules that failed and stop nothing.

    Args:
        home: Where they are.
        system: Name of the system.
        limit: How many at most.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    table, moment = home.table(system, VALIDATIONS), pl.Datetime("us", "UTC")
    names = ("created_at", "as_of", "source", *_COUNTS, "broken", "warnings")
    if not table.exists():
        types = {"created_at": moment, "as_of": moment, "source": pl.String(), "broken": pl.Boolean()}
        return pl.DataFrame(schema={name: types.get(name, pl.Int64()) for name in names})
    rows = table.scan().sort("created_at", "known_at", "_version").tail(limit)
    return table.collect(rows.select(pl.col("known_at").alias("as_of"), pl.all()).select(names)).reverse()


def validation_of(home: Home, system: str, run_id: str | None = None) -> dict[str, Any]:
    """The last validation, or that of a run: ``as_of created_at source rows good bad pending broken rules[]`` and more.

    Args:
        home: Where it is.
        system: Name of the system.
        run_id: The run; a run of a backfill has that of the whole backfill. None: the last one.

    Raises:
        NotFoundError: Nothing was validated yet, there is no such run, or it validated nothing.
        StoreError: The table cannot be read.
    """
    import polars as pl

    table = home.table(system, VALIDATIONS)
    began = None if run_id is None else _began(home, system, run_id)
    where = None if began is None else pl.col("created_at") == pl.lit(began, pl.Datetime("us", "UTC"))
    rows = table.scan(where=where).sort("created_at", "known_at", "_version").tail(1) if table.exists() else None
    frame = None if rows is None else table.collect(rows.select("created_at", "report"))
    if frame is None or frame.is_empty():
        said = "nothing was validated yet" if run_id is None else f"run {run_id} validated nothing"
        raise NotFoundError(said, where=system, hint=f"headrace ingest {system}")
    with intact(table.uri, "headrace verify --deep says which file is damaged"):
        report: Mapping[str, Any] = json.loads(frame["report"][0])
    times = {"created_at": iso(frame["created_at"][0]), "as_of": iso(datetime.fromisoformat(report["as_of"]))}
    return {"system": system, **report, **times}


def _began(home: Home, system: str, run_id: str) -> datetime:
    import polars as pl

    runs = home.table(system, RUNS)
    if runs.exists():
        rows = runs.collect(runs.scan(where=pl.col("run_id") == run_id).select("created_at"))
        if rows.height:
            began: datetime = rows["created_at"][0]
            return began
    raise NotFoundError(f"there is no run {run_id}", where=system, hint=f"headrace runs {system}")
