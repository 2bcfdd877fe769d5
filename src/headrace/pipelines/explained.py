"""Why predictions have their values: a stored one by its id, the newest ones, or rows that are not stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.contract import check
from headrace.contract.row import RowDecoder
from headrace.errors import NotFoundError, UsageError
from headrace.home import Home
from headrace.pipelines.messages import file_opener
from headrace.pipelines.predictions import find, newest, read
from headrace.sources import SOURCES, SourceContext, open_source
from headrace.sources.base import under_declared_names
from headrace.system import System
from headrace.tasks import task_of, task_of_prediction
from headrace.tasks.explanation import Explanation

if TYPE_CHECKING:
    import polars as pl

MOST = 1_000
"""Predictions that are explained at once."""


def explain_prediction(
    home: Home, prediction_id: str, *, label: Any = None, words: bool = False, threads: int = 1
) -> Explanation:
    """Why a stored prediction has its value, from what it was made from.

    Args:
        home: Where it is.
        prediction_id: Its id.
        label: The class to explain; None: of two the second, of several the one that was predicted.
        words: Tell the words of free texts by themselves.
        threads: No number depends on it.

    Raises:
        NotFoundError: There is no such prediction.
        ReplayError: What it was made from is not there any more.
        ExplainError: Its model cannot tell.
        ArtefactError: The model's files are gone or differ from their digest.
    """
    system, row = find(home, prediction_id)
    return task_of_prediction(row).explain_stored(home, system, [row], label=label, words=words, threads=threads)[0]


def explain_newest(
    system: System,
    home: Home,
    *,
    where: Mapping[str, str] | None = None,
    as_of: datetime | None = None,
    limit: int | None = None,
    label: Any = None,
    words: bool = False,
) -> list[Explanation]:
    """Why the newest stored predictions have their values, oldest first.

    Args:
        system: The declaration.
        home: Where they are.
        where: Column to text: only those that have the value that it names.
        as_of: As they stood then.
        limit: So many of the newest. None: of rows one; of forecasts all steps of the newest.
        label: The class to explain.
        words: Tell the words of free texts by themselves.

    Raises:
        NotFoundError: There is none.
        UsageError: They are too many.
        HeadraceError: See `explain_prediction`.
    """
    import polars as pl

    task = task_of(system)
    frame = read(system, home, as_of=as_of, where=where)
    if limit is not None or not task.has_series:
        frame = newest(system, frame, limit or 1)
    else:
        frame = frame.filter(pl.col("as_of") == pl.col("as_of").max())
    _refuse_many(frame.height, f"name some by {', '.join(system.keys)}, or say limit")
    rows = frame.to_dicts()
    explanations = task.explain_stored(home, system.name, rows, label=label, words=words, threads=home.workers)
    keys = [*system.keys, *([system.event_time, "ahead"] if task.has_series else [])]
    return [
        replace(item, keys={name: row[name] for name in keys}) for item, row in zip(explanations, rows, strict=True)
    ]


def explain_rows(
    system: System,
    home: Home,
    data: str | Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    label: Any = None,
    words: bool = False,
) -> list[Explanation]:
    """Why the champion says what it says of rows. Stores nothing.

    Args:
        system: The declaration.
        home: Where the champion is.
        data: A file, any source URI, or rows as a request has them.
        now: The clock's time.
        label: The class to explain.
        words: Tell the words of free texts by themselves.

    Raises:
        NotFoundError: There is no champion.
        UsageError: A row breaks the contract, there are too many, or the system forecasts series.
        ExplainError: The model cannot tell.
    """
    champion = home.registry.champion(system.name)
    if champion is None:
        raise NotFoundError("there is no model to explain", where=system.name, hint=f"headrace run {system.name}")
    rows = _read(system, data, now) if isinstance(data, str) else typed_rows(system, data)
    return task_of(system).explain(home, champion, rows, as_of=now, label=label, words=words)


def typed_rows(system: System, data: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a request has them, as columns of the contract's types.

    Raises:
        UsageError: One breaks the contract, or there are too many.
    """
    import polars as pl

    from headrace.features.compiled import dtype_of

    _refuse_many(len(data), "explain fewer at a time")
    decode = RowDecoder(system.contract, optional=task_of(system).optional)
    rows = []
    for place, item in enumerate(data):
        row, faults = decode(dict(item))
        if faults:
            fault = faults[0]
            raise UsageError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", where=f"data[{place}]")
        rows.append(row)
    return pl.DataFrame(rows, schema={column.name: dtype_of(column.type) for column in system.contract.columns})


def _read(system: System, data: str, now: datetime) -> pl.DataFrame:
    """The rows of a file or source, all of them good."""
    import polars as pl

    uri = data if data.partition(":")[0] in SOURCES.names() else f"file:{data}"
    records = open_source(system.source, uri, SourceContext(opener=file_opener(system))).read(as_of=now, now=now)
    frame = under_declared_names(records, system.source, system.contract.names).frame
    _refuse_many(frame.height, "explain fewer at a time")
    missing = [name for name in task_of(system).optional if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None).alias(name) for name in missing)
    outcome = check(system.contract, frame, keys=system.keys, time=system.time, as_of=now, now=now)
    if outcome.bad.height:
        reasons = "; ".join(f"{label} ({count:,})" for label, count in outcome.reasons.items())
        raise UsageError(f"{outcome.bad.height:,} of {outcome.rows:,} rows break the contract: {reasons}", where=data)
    return outcome.good


def _refuse_many(count: int, hint: str) -> None:
    if count > MOST:
        raise UsageError(f"{count:,} predictions are more than the {MOST:,} that are explained at once", hint=hint)
