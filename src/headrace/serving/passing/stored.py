"""The predictions in the tables, of all doors, as a source to pass on: in the order in which they were stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import SinkError
from headrace.home import PREDICTIONS, Home
from headrace.serving.passing.base import PassedBatch
from headrace.serving.passing.documents import Documents
from headrace.sinks.base import Position, Prediction
from headrace.store.between import Between
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.form import SHORT

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table

MOST = 500
"""Predictions that are passed on at once."""
_PAGE = 10_000
"""Rows that are read at once, if no run has stored more."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class _PassedUpTo(NamedTuple):
    """Everything from before this version and `as_of` (microseconds) was passed on, and the first `done` of those."""

    version: int = 0
    as_of: int = 0
    done: int = 0


class StoredPredictions:
    """What is stored, with what the HTTP door has logged and nobody has exported yet.

    Args:
        system: The declaration.
        home: Where the tables are.
        documents: Makes predictions of rows.
        since: None is from earlier than this.
    """

    def __init__(self, system: System, home: Home, documents: Documents, since: datetime | None) -> None:
        self._system, self._home, self._documents = system, home, documents
        self._since = 0 if since is None else (since - _EPOCH) // _MICROSECOND
        self._task = task_of(system)
        self._form = self._task.form
        self._cause = (*system.keys, *SHORT.values(), "run_id")
        self._exported = 0
        self._over: tuple[str, int, Position | None] | None = None

    def read(self, position: Position | None) -> Iterator[PassedBatch]:
        """All from a position on to what is stored now.

        Raises:
            SinkError: The table has less than was passed on: it is an earlier state of it.
            StoreError: A table cannot be read or written.
            LedgerError: The ledger cannot be read.
        """
        self._export()
        table = self._home.table(self._system.name, PREDICTIONS)
        if not table.exists():
            return
        name, newest = table.id(), table.version()
        if self._over == (name, newest, position):  # nothing came since all of it was read
            return
        place = _PassedUpTo()
        if position is not None and position["table"] == name:
            place = _PassedUpTo(position["version"], position["as_of"], position["done"])
            if place.version > newest:
                raise SinkError(
                    f"version {place.version} of it was passed on, and it has {newest}: it is an earlier state",
                    where=table.uri,
                    hint="put it back as it was; or pass everything on again: --again",
                )
        for page in self._pages(table, place):
            for part in self._parts(self._rows(table, page), place, name):
                position = part.after
                yield part
        self._over = name, newest, position

    def _export(self) -> None:
        """Bring what was logged into the table, where all doors have one order."""
        if not self._home.has_ledger:
            return
        last = self._home.ledger.last(self._system.name)
        if last != self._exported:
            self._task.export(self._home)
            self._exported = last

    def _pages(self, table: Table, place: _PassedUpTo) -> Iterator[pl.DataFrame]:
        """Which versions and times are read at once: ``_version as_of``, in order, of about so many rows."""
        import polars as pl

        as_of = pl.col("as_of").to_physical()
        after = (pl.col("_version") > place.version) | ((pl.col("_version") == place.version) & (as_of >= place.as_of))
        lazy = table.scan(where=(pl.col("_version") >= place.version) & after & (as_of >= self._since))
        groups = table.collect(lazy.group_by("_version", "as_of").len()).sort("_version", "as_of")
        if groups.is_empty():
            return
        page = ((groups["len"].cum_sum() - groups["len"]) // _PAGE).alias("page")
        for page_rows in groups.with_columns(page).partition_by("page", maintain_order=True):
            yield page_rows.select("_version", "as_of")

    def _rows(self, table: Table, page: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        versions = pl.col("_version").is_between(page["_version"].min(), page["_version"].max())
        lazy = table.scan(where=versions, between=Between("as_of", page["as_of"].min(), page["as_of"].max()))
        frame = table.collect(lazy).join(page, on=["_version", "as_of"], how="semi")
        return frame.sort("_version", "as_of", *self._cause, *self._form.order, "id", nulls_last=True)

    def _parts(self, frame: pl.DataFrame, place: _PassedUpTo, table: str) -> Iterator[PassedBatch]:
        predictions: list[Prediction] = []
        position = place
        for (version, as_of), rows in groupby(frame.iter_rows(named=True), lambda row: (row["_version"], row["as_of"])):
            micros = (as_of - _EPOCH) // _MICROSECOND
            skipped = place.done if (version, micros) == place[:2] else 0
            for number, document in enumerate(self._form.documents(rows), 1):
                position = _PassedUpTo(version, micros, number)
                if number <= skipped:
                    continue
                predictions.append(self._documents.of(document))
                if len(predictions) == MOST:
                    yield PassedBatch(predictions, {"table": table, **position._asdict()})
                    predictions = []
        if predictions:
            yield PassedBatch(predictions, {"table": table, **position._asdict()})
