"""Evaluate: how good a system would have been, or is on rows that it has not seen, without storing anything.

What is asked and how it is answered is the task's; here is where its facts come from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from headrace.contract import check
from headrace.errors import NotEnoughDataError
from headrace.home import Home
from headrace.pipelines import ingest
from headrace.pipelines.messages import file_opener
from headrace.settings import Settings
from headrace.sources import SOURCES, SourceContext, open_source
from headrace.sources.base import under_declared_names
from headrace.system import System
from headrace.tasks import shape, task_of
from headrace.tasks.evaluation import EvaluateRequest, Evaluation, HeldOut

__all__ = ["EvaluateRequest", "evaluate"]


def evaluate(system: System, home: Home, request: EvaluateRequest) -> Evaluation:
    """Evaluate a system: from rolling origins, or on held-out rows, as its task does it.

    Raises:
        UsageError: The request is one of another kind of task.
        NotEnoughDataError: Too little was known at the first time, or no row has a target.
        NotFoundError: There is no champion to score rows.
        SourceError, ContractBroken, StoreError: The facts could not be had.
    """
    return task_of(system).evaluate(home, request, SourceData())


class SourceData:
    """See `headrace.tasks.evaluation.EvaluationData`: from sources, or what is stored."""

    @contextmanager
    def history(self, system: System, home: Home, request: EvaluateRequest) -> Iterator[Home]:
        """This home where it has facts and no source is named, or one that is thrown away afterwards."""
        if request.source is None:
            shape.check(system, home)
        if request.source is None and home.raw(system).exists():
            yield home
            return
        times = [request.now] if request.range is None else request.range.times()
        request.on_progress("ingest", 0, len(times))
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            place = Home(Settings(home=Path(folder), threads=home.settings.threads))
            until = max(request.now, times[-1])
            records = ingest.read(system, place, source=request.source, as_of=until, now=request.now, first=times[0])
            ingest.validate(system, place, records, as_of=until, now=request.now)
            yield place

    def held_out(self, system: System, data: str, now: datetime) -> HeldOut:
        """Checked as rows of an ingest are."""
        import polars as pl

        uri = data if data.partition(":")[0] in SOURCES.names() else f"file:{data}"
        records = open_source(system.source, uri, SourceContext(opener=file_opener(system))).read(as_of=now, now=now)
        records = under_declared_names(records, system.source, system.contract.names)
        checked = check(system.contract, records.frame, keys=system.keys, time=system.time, as_of=now, now=now)
        checked.raise_if_broken(records.origin)
        rows = checked.good.filter(pl.col(system.target).is_not_null())
        if rows.is_empty():
            raise NotEnoughDataError("no row has a target", where=data)
        return HeldOut(rows, checked.bad.height)
