"""Frames in the place of rows: read from CSV and Arrow, typed as files are, and written as the JSON of the hot route.

Numbers and truths in text are read as they are in a file; texts and times are handed on as they came. What the values
must be, the hot route looks at.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column
from headrace.contract.table import EPOCHS, refusal
from headrace.errors import SourceError
from headrace.serving.http.problem import SHOWN, Problem
from headrace.serving.http.protocols import ipc
from headrace.serving.http.served import ServedSystem

if TYPE_CHECKING:
    import polars as pl

Faults = list[tuple[int, str, str]]
"""Row, column, and what is wrong."""


def of_csv(body: bytes, most: int) -> pl.DataFrame:
    """The fields of a CSV body, all of them text.

    Raises:
        Problem: 400: it is not CSV. 413: it has too many rows. 422: rows have too few or too many fields.
    """
    from headrace.contract.malformed import MALFORMED
    from headrace.sources.delimited import read_delimited

    if not body.strip():
        raise Problem(400, "the body is empty", reason="not_csv")
    try:
        frame = read_delimited(body, Path("body.csv"))
    except SourceError as error:
        raise Problem(400, f"the body is not CSV: {error.message}", reason="not_csv") from error
    refuse_more(frame.height, most)
    if MALFORMED in frame.columns:
        wrong = frame[MALFORMED]
        errors = [{"loc": ["body", row], "msg": wrong[row]["why"]} for row in wrong.is_not_null().arg_true()[:SHOWN]]
        raise Problem(422, errors[0]["msg"], errors=errors, reason="bad_row")
    return frame


def of_arrow(body: bytes, most: int) -> pl.DataFrame:
    """The columns of an Arrow IPC stream.

    Raises:
        Problem: 400: it is none. 413: it has too many rows. 415: its columns are compressed.
    """
    import polars as pl

    ipc.refuse_hostile(body, most)
    try:
        frame = pl.read_ipc_stream(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise ipc.not_arrow(error) from error
    refuse_more(frame.height, most)
    return frame


def refuse_more(rows: int, most: int) -> None:
    """Refuse too many rows.

    Raises:
        Problem: 413.
    """
    if rows > most:
        raise Problem(413, f"{rows:,} rows are more than {most:,}")


def rows_of_frame(served: ServedSystem, frame: pl.DataFrame, largest: int) -> bytes:
    """The rows or events of a frame as JSON.

    Args:
        served: The system that is asked.
        frame: Its columns as they came.
        largest: Bytes of text that it may have. A stream of a few bytes may name one text many times.

    Raises:
        Problem: 413: there is more. 422: a column is not the contract's, or a value not of its type.
    """
    import polars as pl

    columns = {column.called: column for column in served.system.contract.columns}
    unknown = [name for name in frame.columns if name not in columns]
    if unknown and served.task.strict:
        errors = [{"loc": ["body", name[:80]], "msg": "is not a column of the contract"} for name in unknown[:SHOWN]]
        raise Problem(422, f"{unknown[0][:80]!r} is not a column of the contract", errors=errors, reason="bad_row")
    columns_kept, faults = [], Faults()
    for name in frame.columns:
        if name in columns:
            values, wrong = _values(columns[name], frame[name])
            columns_kept.append(values.alias(name))
            faults += wrong
    text = sum(int(values.str.len_bytes().sum()) for values in columns_kept if values.dtype == pl.String)
    if text > largest:
        raise Problem(413, f"{text:,} bytes of text are more than {largest:,}")
    typed = pl.DataFrame(columns_kept)
    if faults:
        raise _bad(served, typed, faults)
    return typed.write_json().encode() if columns_kept else b"[%b]" % b",".join([b"{}"] * frame.height)


def _values(column: Column, raw: pl.Series) -> tuple[pl.Series, Faults]:
    """The values of a column as JSON has them, and those that are none of its type."""
    import polars as pl

    from headrace.contract.parse import parse_column

    if column.type == "time":
        return _times(column, raw), []
    if raw.dtype == pl.Binary:
        return raw.cast(pl.String, strict=False), [] if raw.is_empty() else [(0, column.called, refusal(column))]
    parsed = parse_column(column.model_copy(update={"nullable": True}), raw)
    faults = Faults()
    for fault in parsed.faults:
        message = fault.label.removeprefix(f"{column.name}: ")
        faults += [(row, column.called, message) for row in fault.mask.arg_true().head(SHOWN).to_list()]
    return parsed.values, faults


def _times(column: Column, raw: pl.Series) -> pl.Series:
    """Times as the contract's JSON has them: text as it came, and moments in its words."""
    import polars as pl

    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        return raw.cast(pl.String)
    if raw.dtype == pl.Date:
        raw = raw.cast(pl.Datetime("us"))
    if not isinstance(raw.dtype, pl.Datetime):
        return (
            raw if raw.dtype in (pl.String, pl.Null) or raw.dtype.is_integer() or raw.dtype.is_float() else _other(raw)
        )
    if column.format in EPOCHS:
        counted, unit = raw.dt.epoch("ns"), round(1_000 * EPOCHS[column.format][1])
        value: pl.Series = counted / unit if (counted % unit != 0).any() else counted // unit
        return value
    if column.format is not None:
        return raw.dt.strftime(column.format)
    if raw.dtype.time_zone is not None:
        return raw.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return raw.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")


def _other(raw: pl.Series) -> pl.Series:
    import polars as pl

    return pl.Series(raw.name, [f"a value of type {raw.dtype}"], dtype=pl.String).new_from_index(0, raw.len())


def _bad(served: ServedSystem, typed: pl.DataFrame, faults: Faults) -> Problem:
    """The refusal of rows with values of other types, which says what else is wrong with them too."""
    if not served.task.stateful:
        faulty = {(row, name) for row, name, _ in faults}
        for place, row in enumerate(typed.head(SHOWN).iter_rows(named=True)):
            _, row_faults = served.decoder(row)
            faults += [
                (place, str(fault["loc"][0]), fault["msg"])
                for fault in row_faults
                if (place, fault["loc"][0]) not in faulty
            ]
    errors: list[dict[str, Any]] = [
        {"loc": ["body", row, name], "msg": message} for row, name, message in sorted(faults)
    ]
    return Problem(422, f"{errors[0]['loc'][-1]}: {errors[0]['msg']}", errors=errors[:SHOWN], reason="bad_row")
