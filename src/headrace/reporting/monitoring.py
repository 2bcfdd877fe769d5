"""The monitoring report: how good the predictions were, on what that rests, and what is forecast now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from headrace.errors import NotFoundError
from headrace.files import write_whole
from headrace.home import PREDICTIONS, Home
from headrace.lineage import iso
from headrace.pages.page import Page
from headrace.pipelines import runs
from headrace.pipelines.beside import newest_beside
from headrace.reporting.beside import beside
from headrace.store import Table
from headrace.system import System
from headrace.tasks import shape, task_of
from headrace.tasks.base import ReportRequest
from headrace.tasks.shown import show


@dataclass(frozen=True)
class Report:
    """Where a report was written, and its main figures."""

    path: Path
    summary: dict[str, Any]


def write_report(system: System, home: Home, *, as_of: datetime | None, now: datetime, out: Path | None) -> Report:
    """Write the page, from stored facts alone; the same facts and times give the same bytes.

    Args:
        system: The declaration.
        home: Where the facts are.
        as_of: What was known then; None is everything.
        now: Printed as the time of writing.
        out: The file; None is ``reports/SYSTEM/monitoring.html`` in the home.

    Raises:
        NotFoundError: There is no prediction yet.
        DeclarationError: The facts in this home are of another shape.
    """
    shape.check(system, home)
    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        raise NotFoundError("no predictions yet", where=system.name, hint=task_of(system).first_steps(home))
    newest = _newest(table, as_of)
    page = Page(
        f"{system.name}: monitoring", f"as of {iso(as_of or newest)}; written {iso(now.replace(microsecond=0))}"
    )
    last = next(iter(runs.newest(home, system.name, 1)), None)
    record = None if last is None else runs.record(home, system.name, last["run_id"])
    report = task_of(system).report(home, ReportRequest(as_of, newest, last, record or {}))
    for section in report.sections:
        show(page, section)
    beside(page, newest_beside(system.name, home, as_of))
    path = out or home.reports(system.name) / "monitoring.html"
    write_whole(path, page.html().encode())
    return Report(path, dict(report.figures))


def _newest(predictions: Table, as_of: datetime | None) -> datetime:
    import polars as pl

    newest = predictions.collect(predictions.scan(as_of=as_of).select(pl.col("as_of").max())).item()
    if not isinstance(newest, datetime):
        raise NotFoundError("no predictions were known then", where=predictions.uri, hint="choose a later --as-of")
    return newest
