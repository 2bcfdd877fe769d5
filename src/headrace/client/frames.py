"""Rows as they come in and go out: lists of dicts, polars and pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any
"""One row, several, or a frame of polars or pandas."""


def is_frame(rows: Any) -> bool:
    """Whether rows are a frame of polars or pandas."""
    return hasattr(rows, "columns") and hasattr(rows, "shape")


def polars_of(rows: Any) -> pl.DataFrame:
    """Rows as a frame of polars.

    Raises:
        UsageError: They are none.
    """
    import polars as pl

    if isinstance(rows, pl.DataFrame):
        return rows
    if is_frame(rows):
        return pl.DataFrame({str(name): rows[name].to_list() for name in rows.columns}, strict=False)
    if isinstance(rows, Mapping):
        return pl.DataFrame([dict(rows)], infer_schema_length=None)
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        return pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
    raise UsageError(f"{type(rows).__name__} is no rows", where="rows", hint="a dict, dicts, or a frame")


def records_of(rows: Any) -> list[dict[str, Any]]:
    """Rows as dicts, which can be JSON: what is missing is None."""
    if isinstance(rows, Mapping):
        return [dict(rows)]
    return polars_of(rows).to_dicts() if is_frame(rows) else [dict(row) for row in rows]


def arrow_of(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow stream."""
    import io

    file = io.BytesIO()
    frame.write_ipc_stream(file)
    return file.getvalue()


def frame_of(stream: bytes) -> pl.DataFrame:
    """The frame of an Arrow stream."""
    import io

    import polars as pl

    return pl.read_ipc_stream(io.BytesIO(stream))


def like(frame: pl.DataFrame, rows: Any) -> Any:
    """A frame of the library that the rows came in: of pandas for a pandas frame."""
    if is_frame(rows) and type(rows).__module__.partition(".")[0] == "pandas":
        import pandas as pd

        return pd.DataFrame(frame.to_dict(as_series=False))
    return frame


def batches(rows: Any, size: int) -> Iterable[list[dict[str, Any]]]:
    """Rows in parts, drawn as they are needed."""
    if is_frame(rows):
        frame = polars_of(rows)
        for start in range(0, frame.height, size):
            yield frame[start : start + size].to_dicts()
        return
    batch: list[dict[str, Any]] = []
    for row in [rows] if isinstance(rows, Mapping) else rows:
        batch.append(dict(row))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
