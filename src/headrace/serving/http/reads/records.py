"""What happened: runs with their steps and failures, alerts, decisions, rows that were set apart, writes of people."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace import errors
from headrace.errors import NotFoundError, UsageError
from headrace.lineage import iso
from headrace.loop import alerts as alerts_of
from headrace.loop import why as why_of
from headrace.loop.drift import drift_at
from headrace.pipelines import runs as runs_of
from headrace.pipelines.apart import ApartChoice, set_apart
from headrace.pipelines.predictions import trace as trace_of
from headrace.pipelines.validations import history, validation_of
from headrace.serving.http.problem import outward
from headrace.serving.http.reads.paging import cursor_of, key_of, page
from headrace.serving.http.reads.reader import ReadHome

MOST_RUNS = 100_000
"""Runs that are looked through for a page."""
_NAMES = ("ingested", "quarantined", "trained", "metrics", "warnings", "pins", "findings", "served", "resources")


def runs(place: ReadHome, name: str, *, limit: int, cursor: str | None, failed: bool) -> dict[str, Any]:
    """Runs that ended, newest first."""
    count = limit + 1 if cursor is None else MOST_RUNS
    rows = runs_of.newest(place.home, name, count, failed=failed)
    part, following = page(rows, limit, cursor, lambda row: row["run_id"])
    return {"runs": part, "next": following}


def run(place: ReadHome, name: str, run_id: str) -> dict[str, Any]:
    """One run: its steps with their durations, and why it failed, with what to do about it."""
    rows = runs_of.newest(place.home, name, MOST_RUNS)
    row = next((row for row in rows if row["run_id"] == run_id), None)
    if row is None:
        raise NotFoundError(f"no run {run_id[:80]!r} of {name} ended", where="run_id")
    record = runs_of.record(place.home, name, run_id) or {}
    seconds = None
    if row["ended_at"] is not None and row["created_at"] is not None:
        seconds = round((row["ended_at"] - row["created_at"]).total_seconds(), 3)
    fields = {key: record[key] for key in _NAMES if key in record}
    failure = None if row["status"] != runs_of.FAILED else _failure(record.get("error"), row["error"])
    return {
        "system": name,
        **row,
        "seconds": seconds,
        "steps": record.get("steps", []),
        "failure": failure,
        **fields,
    }


def _failure(error: Any, line: str | None) -> dict[str, Any]:
    """Why a run failed, with what the reference says of errors of its kind."""
    fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {"error": (line or "").partition(":")[0]}
    kind = str(fields.get("error"))
    return {
        "error": kind,
        "message": outward(str(fields.get("message") or line or "")),
        "where": None if fields.get("where") is None else outward(str(fields["where"])),
        "hint": fields.get("hint"),
        **documented(kind),
    }


def documented(name: str) -> dict[str, str | None]:
    """What the reference says of a type of error: ``raised_when what_to_do docs``; nothing of one that is not ours."""
    cls = getattr(errors, name, None)
    if not (inspect.isclass(cls) and issubclass(cls, errors.HeadraceError)):
        return {"raised_when": None, "what_to_do": None, "docs": None}
    text = inspect.getdoc(cls) or ""
    return {
        "raised_when": _section(text, "Raised when"),
        "what_to_do": _section(text, "What to do"),
        "docs": "reference/errors.html",
    }


def _section(text: str, title: str) -> str | None:
    listed = re.search(rf"^{title}:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return " ".join(listed[1].split()) if listed else None


def alerts(
    place: ReadHome, name: str, *, only_open: bool, as_of: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Warnings and alarms, newest first, with what each caused."""
    moment = None if as_of is None else datetime.fromisoformat(as_of)
    listed = alerts_of.alerts(place.system(name), place.home, as_of=moment, only_open=only_open)
    rows = [alert.as_dict() for alert in reversed(listed)]
    part, following = page(rows, limit, cursor, lambda row: row["id"])
    return {"alerts": part, "next": following}


def why(
    place: ReadHome, name: str, *, alert: str | None, as_of: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """What was raised and closed, trained and decided, in words, newest first."""
    moment = None if as_of is None else datetime.fromisoformat(as_of)
    links = why_of.chain(place.system(name), place.home, as_of=moment)
    rows = [link.as_dict() | {"place": number} for number, link in enumerate(links)]
    rows = [row for row in reversed(rows) if alert is None or row["alert"] == alert]
    part, following = page(rows, limit, cursor, lambda row: row["place"])
    return {"links": [{key: value for key, value in row.items() if key != "place"} for row in part], "next": following}


def drift(place: ReadHome, name: str, *, as_of: str | None) -> dict[str, Any]:
    """Distributions now, or as they stood then, beside those of what the champion learnt from."""
    moment = None if as_of is None else datetime.fromisoformat(as_of)
    return drift_at(place.system(name), place.home, as_of=moment).as_dict()


def validation(place: ReadHome, name: str, *, run: str | None, limit: int) -> dict[str, Any]:
    """What the contract said of the last ingest or of a run's, and the ingests before it."""
    return {**validation_of(place.home, name, run), "history": history(place.home, name, limit).to_dicts()}


def quarantine(
    place: ReadHome, name: str, *, chosen: Mapping[str, Any], released: bool, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Rows that broke the contract, counted by reason and column, newest first."""
    system = place.system(name)
    try:
        listed = set_apart(place.home, name, system.contract, choice_of(chosen), released=released).as_dict()
    except UsageError as error:
        raise NotFoundError(error.message, where=error.where, hint=error.hint) from error
    part, following = page(listed["rows"], limit, cursor, lambda row: row["id"])
    return listed | {"rows": part, "next": following}


def choice_of(chosen: Mapping[str, Any]) -> ApartChoice:
    """Which rows of the quarantine, of what a query or a body says."""

    def texts(value: Any) -> Sequence[str]:
        return () if value is None else (value,) if isinstance(value, str) else tuple(value)

    return ApartChoice(
        texts(chosen.get("reason")), texts(chosen.get("column")), texts(chosen.get("ids")), chosen.get("source")
    )


def trace(place: ReadHome, prediction_id: str) -> dict[str, Any]:
    """The trace of one prediction."""
    return trace_of(place.home, prediction_id)


def audit(place: ReadHome, names: Sequence[str], *, limit: int, cursor: str | None) -> dict[str, Any]:
    """What people changed over HTTP, newest first."""
    if not place.home.has_ledger:
        return {"entries": [], "next": None}
    before = None if cursor is None else _number(key_of(cursor))
    rows = place.home.ledger.audit.newest(names, before=before, limit=limit + 1)
    entries = [
        {
            "id": number,
            "at": iso(entry.time),
            "by": entry.by,
            "action": entry.action,
            "system": entry.system,
            "target": entry.target or None,
            "details": entry.details,
            "outcome": entry.outcome,
            "request_id": entry.request,
        }
        for number, entry in rows[:limit]
    ]
    return {"entries": entries, "next": cursor_of(rows[limit - 1][0]) if len(rows) > limit else None}


def _number(key: Any) -> int:
    if not isinstance(key, int) or isinstance(key, bool) or not 0 < key < 2**63:
        raise errors.NotFoundError("is no cursor", where="cursor", hint="take it from `next` of the page before")
    return key
