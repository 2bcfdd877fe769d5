"""Parses a column as it came to its declared type, strictly: what does not parse whole is a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.faults import RAW, Fault, said, shown
from headrace.contract.times import parse_times

if TYPE_CHECKING:
    import polars as pl

_EXACT = 2.0**53
"""Up to here every whole number is a float of its own."""


@dataclass(frozen=True)
class Parsed:
    """The typed values of a column, null where missing or bad, and the faults found on the way."""

    values: pl.Series
    faults: tuple[Fault, ...]


def parse_column(column: Column, raw: pl.Series) -> Parsed:
    """Typed values of one column, and what did not parse.

    Reasons refer to the working frame, in which ``raw`` is called ``RAW + column.name``.
    """
    raw = raw.alias(column.name)
    raw, blank = _without_blanks(column, raw)
    if column.type == "time":
        values, wrong = parse_times(column, raw)
    else:
        values, wrong = _PARSERS[column.type](column, raw)
    given = shown(RAW + column.name, raw.dtype)
    faults = [
        Fault(f"{column.name}: {what}", mask, said(column.name, given, what)) for what, mask in wrong if mask.any()
    ]
    if not column.nullable and blank.any():
        faults.append(_missing(column, blank))
    return Parsed(values.alias(column.name), tuple(faults))


def _missing(column: Column, blank: pl.Series) -> Fault:
    import polars as pl

    text = f"{column.name}: is missing"
    return Fault(text, blank, pl.lit(text))


def _without_blanks(column: Column, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Blank text is a missing value, except where text itself is declared."""
    import polars as pl

    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    if raw.dtype == pl.String and column.type != "text":
        stripped = raw.str.strip_chars()
        blank = raw.is_null() | (stripped == "").fill_null(False)
        kept = raw if column.type == "category" else stripped
        if blank.any():
            kept = pl.select(pl.when(~blank).then(kept)).to_series().alias(column.name)
        return kept, blank
    return raw, raw.is_null()


Wrong = list[tuple[str, "pl.Series"]]
_Parser = Callable[[Column, "pl.Series"], "tuple[pl.Series, Wrong]"]


def _unusable(raw: pl.Series, dtype: pl.DataType | type[pl.DataType], what: str) -> tuple[pl.Series, Wrong]:
    import polars as pl

    return pl.Series(raw.name, [None], dtype=dtype).new_from_index(0, raw.len()), [(what, raw.is_not_null())]


def _float(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype == pl.String:
        text = _with_point(raw) if column.decimal == "," else raw
        values = text.cast(pl.Float64, strict=False)
    elif raw.dtype.is_numeric() or raw.dtype == pl.Null:
        values = raw.cast(pl.Float64, strict=False)
    else:
        return _unusable(raw, pl.Float64, "is not a number")
    wrong = [("is not a number", values.is_null() & raw.is_not_null())]
    finite = values.is_finite().fill_null(True)
    if not finite.all():
        wrong.append(("is not a finite number", ~finite))
        values = pl.select(pl.when(finite).then(values)).to_series()
    return values, wrong


def _with_point(raw: pl.Series) -> pl.Series:
    # A point beside a decimal comma groups thousands or is a mistake; 1.234 must not be read as 1.234.
    return raw.str.replace_all(".", "?", literal=True).str.replace(",", ".", literal=True)


def _integer(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype.is_integer() or raw.dtype == pl.Null:
        values = raw.cast(pl.Int64, strict=False)
    elif raw.dtype == pl.String or raw.dtype.is_numeric():
        values = _whole(raw)
    else:
        return _unusable(raw, pl.Int64, "is not a whole number")
    return values, [("is not a whole number", values.is_null() & raw.is_not_null())]


def _whole(raw: pl.Series) -> pl.Series:
    """Integers from text or floats: ``3.0`` is one; ``3.5`` and what a float cannot hold exactly are none."""
    import polars as pl

    number = raw.cast(pl.Float64, strict=False)
    exact = (number.floor() == number) & (number.abs() < _EXACT)
    whole = pl.when(exact).then(number).cast(pl.Int64, strict=False)
    if raw.dtype == pl.String:
        whole = pl.coalesce(raw.cast(pl.Int64, strict=False), whole)
    return pl.select(whole).to_series()


def _boolean(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype in (pl.Boolean, pl.Null):
        return raw.cast(pl.Boolean), []
    if raw.dtype == pl.String:
        text = raw.str.to_lowercase()
    elif raw.dtype.is_integer():
        text = raw.cast(pl.String)
    else:
        return _unusable(raw, pl.Boolean, "is not true or false")
    yes, no = text.is_in(["true", "1"]), text.is_in(["false", "0"])
    values = pl.select(pl.when(yes).then(True).when(no).then(False)).to_series()
    return values, [("is not true or false", values.is_null() & raw.is_not_null())]


def _text(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype == pl.String:
        return raw, []
    if raw.dtype.is_integer() or raw.dtype == pl.Null:
        return raw.cast(pl.String), []
    return _unusable(raw, pl.String, "is not text")


_PARSERS: dict[str, _Parser] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "category": _text,
}
