"""Rows as they come in and go out: lists of dicts, polars and pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from headrace.client.values import is_missing
from headrace.errors import ServiceError, UsageError

if TYPE_CHECKING:
    import polars as pl

Rows = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any
"""One row, several, or a frame of polars or pandas."""


def is_frame(rows: Any) -> bool:
    """Whether rows are a frame of polars or pandas."""
    return _library(rows) in ("polars", "pandas") and type(rows).__name__ in ("DataFrame", "LazyFrame")


def polars_of(rows: Any) -> pl.DataFrame:
    """Rows as a frame of polars: what is missing, NaN included, is null.

    Raises:
        UsageError: They are none, or a column holds values of several kinds.
    """
    import polars as pl

    if not is_frame(rows):
        return pl.DataFrame(_dicts(rows), infer_schema_length=None)
    if _library(rows) == "pandas":
        names = [str(name) for name in rows.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"there are two columns {twice[0]!r}", where="rows", hint="give each a name of its own")
        return pl.DataFrame([_column(name, rows.iloc[:, place]) for place, name in enumerate(names)])
    frame: pl.DataFrame = rows.lazy().collect()
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def _column(name: str, column: Any) -> pl.Series:
    """A column of pandas."""
    import numpy as np
    import polars as pl

    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufb":
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    values = column.astype(object).where(column.notna(), None).to_list()
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError) as error:
        kinds = {type(value) for value in values if value is not None}
        if all(issubclass(kind, Real) and not issubclass(kind, bool) for kind in kinds):
            return pl.Series(name, [None if value is None else float(value) for value in values])
        known = ", ".join(sorted(kind.__name__ for kind in kinds))
        hint = "make them of one kind, such as by `astype(str)`"
        raise UsageError(
            f"the column {name!r} holds values of several kinds: {known}", where=name, hint=hint
        ) from error


def records_of(rows: Any) -> list[dict[str, Any]]:
    """Rows as dicts.

    Raises:
        UsageError: They are none.
    """
    return polars_of(rows).to_dicts() if is_frame(rows) else list(_dicts(rows))


def row_of(row: Any) -> dict[str, Any]:
    """One row as a dict: of a mapping, or of a series of pandas.

    Raises:
        UsageError: It is none.
    """
    if isinstance(row, Mapping):
        return dict(row)
    if _library(row) == "pandas" and type(row).__name__ == "Series":
        return {str(name): None if is_missing(value) else value for name, value in row.items()}
    hint = "a dict by column; several rows: `predict_rows` or `predict_frame`"
    raise UsageError(f"{type(row).__name__} is no row", where="row", hint=hint)


def _dicts(rows: Any) -> Iterator[dict[str, Any]]:
    if isinstance(rows, Mapping):
        yield dict(rows)
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        yield from map(row_of, rows)
    else:
        raise UsageError(f"{type(rows).__name__} is no rows", where="rows", hint="a dict, dicts, or a frame")


def arrow_of(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow stream."""
    import io

    file = io.BytesIO()
    frame.write_ipc_stream(file)
    return file.getvalue()


def frame_of(stream: bytes) -> pl.DataFrame:
    """The frame of an Arrow stream.

    Raises:
        ServiceError: It is none.
    """
    import io

    import polars as pl

    try:
        return pl.read_ipc_stream(io.BytesIO(stream))
    except pl.exceptions.PolarsError as error:
        raise ServiceError(f"the answer is no Arrow stream: {str(error)[:200]}") from error


def like(parts: Sequence[pl.DataFrame], rows: Any) -> Any:
    """Answers as one frame of the library that the rows came in; one of pandas has the index of the rows."""
    import polars as pl

    frame = pl.concat(parts, how="vertical_relaxed")
    if is_frame(rows) and _library(rows) == "pandas":
        import pandas as pd

        return pd.DataFrame(frame.to_dict(as_series=False), index=rows.index)
    return frame


def batches(rows: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    """Rows in parts, drawn as they are needed.

    Raises:
        UsageError: They are none, or the size is not one.
    """
    batch: list[dict[str, Any]] = []
    for row in (row for part in slices(rows, size) for row in part.to_dicts()) if is_frame(rows) else _dicts(rows):
        batch.append(row)
        if len(batch) == checked_size(size):
            yield batch
            batch = []
    if batch:
        yield batch


def slices(rows: Any, size: int) -> Iterator[pl.DataFrame]:
    """Rows as frames of so many at most; of no rows, one empty frame.

    Raises:
        UsageError: They are none, or the size is not one.
    """
    frame = polars_of(rows)
    for start in range(0, max(frame.height, 1), checked_size(size)):
        yield frame[start : start + size]


def checked_size(size: int) -> int:
    """How many rows a request has.

    Raises:
        UsageError: Less than one.
    """
    if size < 1:
        raise UsageError(f"batch is {size}", where="batch", hint="rows of one request: at least 1")
    return size


def _library(rows: Any) -> str:
    return type(rows).__module__.partition(".")[0]
