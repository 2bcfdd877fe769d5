"""Frames handed to the table's writer one after another, so that what is written is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from arro3.core import RecordBatch, RecordBatchReader


class FrameStream:
    """Frames of one schema, made when the writer asks for them.

    Args:
        first: The first one, which tells the schema.
        rest: The others.

    Attributes:
        schema: A frame without rows.
    """

    def __init__(self, first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> None:
        self._first: pl.DataFrame | None = first
        self._rest = rest
        self.schema = first.clear()
        self._error: BaseException | None = None

    def reader(self) -> RecordBatchReader:
        """For `write_deltalake`. It can be read once."""
        from arro3.core import RecordBatchReader, Table

        return RecordBatchReader.from_batches(Table.from_arrow(self.schema).schema, self._batches())

    @contextmanager
    def told(self) -> Iterator[None]:
        """Around the write: what was raised when a frame was made is raised itself; the writer tells its text alone."""
        try:
            yield
        except Exception as error:
            if self._error is not None:
                raise self._error from error
            raise

    def _batches(self) -> Iterator[RecordBatch]:
        from arro3.core import Table

        try:
            first, self._first = self._first, None
            if first is not None:
                yield from Table.from_arrow(first).to_batches()
            del first
            for frame in self._rest:
                yield from Table.from_arrow(frame).to_batches()
        except BaseException as error:
            self._error = error
            raise
