"""Parses a column as it came to its declared type, strictly: what does not parse whole is a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.faults import RAW, RuleFault, said, shown
from headrace.contract.table import BLANKS, EXACT, INT64, MISSING, NOT_FINITE, NOT_INT64, missing_of, refusal
from headrace.contract.times import parse_times

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Parsed:
    """The typed values of a column, null where missing or bad, and the faults found on the way.

    Of times that name the end of a step `values` are its begins, and `ends` what they name; otherwise it is None.
    """

    values: pl.Series
    faults: tuple[RuleFault, ...]
    ends: pl.Series | None = None


def parse_columns(columns: Sequence[Column], frame: pl.DataFrame, keys: Sequence[str] = ()) -> list[Parsed]:
    """Typed values of the columns of a frame, and what did not parse.

    Args:
        columns: In any order.
        frame: Has all of them; its rows stand in the order of their source.
        keys: Those of the columns that tell one series from another.
    """
    import polars as pl

    ordered = [column for column in columns if column.ambiguous == "in_order"]
    parsed = {c.name: parse_column(c, frame[c.name]) for c in columns if c not in ordered}
    one = pl.Series("", [0]).new_from_index(0, frame.height)  # without keys all rows are of one series
    series = pl.DataFrame([one, *(parsed[name].values for name in keys if name in parsed)])
    parsed |= {c.name: parse_column(c, frame[c.name], series) for c in ordered}
    return [parsed[column.name] for column in columns]


def parse_column(column: Column, raw: pl.Series, series: pl.DataFrame | None = None) -> Parsed:
    """Typed values of one column, and what did not parse.

    Reasons refer to the working frame, in which ``raw`` is called ``RAW + column.name``.

    Args:
        column: What the values must be.
        raw: The values as they came.
        series: The keys of the rows, for local times that the order of the rows makes out.
    """
    raw = raw.alias(column.name)
    plain, is_missing = _without_missing(column, raw)
    ends = None
    if column.type == "time":
        values, wrong, ends = parse_times(column, plain, series)
    else:
        values, wrong = _PARSERS[column.type](column, plain)
    shown_value = shown(RAW + column.name, raw.dtype)
    faults = [
        RuleFault(f"{column.name}: {reason}", mask, said(column.name, shown_value, reason))
        for reason, mask in wrong
        if mask.any()
    ]
    if not column.nullable and is_missing.any():
        faults.append(_missing(column, is_missing))
    return Parsed(values.alias(column.name), tuple(faults), ends)


def _missing(column: Column, is_missing: pl.Series) -> RuleFault:
    import polars as pl

    text = f"{column.name}: {MISSING}"
    return RuleFault(text, is_missing, pl.lit(text))


def _without_missing(column: Column, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The column with null for missing values, and which these are; blanks around text that is to be read are gone."""
    import polars as pl

    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    missing = missing_of(column)
    if raw.dtype == pl.String:
        # The regular expression stops at the first sign of a long text.
        stripped = raw if column.textual else raw.str.strip_chars(BLANKS)
        is_missing = raw.str.contains(_BLANK) if column.textual else stripped == ""
        if missing.texts:
            bare = raw.str.strip_chars(BLANKS) if column.textual else stripped
            is_missing = is_missing | bare.is_in(list(missing.texts))
        if missing.numeric and missing.numbers:  # one number may be written in several ways: 9999, 9999.0, 9.999e3
            number = (_with_point(stripped) if column.decimal == "," else stripped).cast(pl.Float64, strict=False)
            is_missing = is_missing | _among(number, missing.numbers).fill_null(False)
    elif raw.dtype.is_numeric() and column.missing:
        stripped, is_missing = raw, raw.is_null() | _among(raw, missing.numbers).fill_null(False)
        if missing.nan and raw.dtype.is_float():
            is_missing = is_missing | raw.is_nan()
    else:
        return raw, raw.is_null()
    is_missing = is_missing.fill_null(True)
    return (stripped.set(is_missing, None) if is_missing.any() else stripped), is_missing


def _among(values: pl.Series, numbers: Iterable[float]) -> pl.Series:
    """Which of the values are one of the numbers, as these are in the values' type; null where there is none."""
    import polars as pl

    if values.dtype.is_integer():
        integers = [int(number) for number in numbers if number.is_integer() and abs(number) < INT64]
        return values.cast(pl.Int64, strict=False).is_in(pl.Series(integers, dtype=pl.Int64).to_list())
    values = values if values.dtype.is_float() else values.cast(pl.Float64)
    return values.is_in(pl.Series(list(numbers), dtype=pl.Float64).cast(values.dtype).to_list())


Wrong = list[tuple[str, "pl.Series"]]
_Parser = Callable[[Column, "pl.Series"], "tuple[pl.Series, Wrong]"]
_BLANK = r"^[\s\x1c-\x1f]*$"
"""A text of nothing but `BLANKS`."""


def _unusable(column: Column, raw: pl.Series, dtype: pl.DataType | type[pl.DataType]) -> tuple[pl.Series, Wrong]:
    import polars as pl

    empty = pl.Series(raw.name, [None], dtype=dtype).new_from_index(0, raw.len())
    return empty, [(refusal(column), raw.is_not_null())]


def _float(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype == pl.String:
        text = _with_point(raw) if column.decimal == "," else raw
        values = text.cast(pl.Float64, strict=False)
    elif raw.dtype.is_numeric() or raw.dtype == pl.Null:
        values = raw.cast(pl.Float64, strict=False)
    else:
        return _unusable(column, raw, pl.Float64)
    wrong = [(refusal(column), values.is_null() & raw.is_not_null())]
    finite = values.is_finite().fill_null(True)
    if not finite.all():
        wrong.append((NOT_FINITE, ~finite))
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
        return _unusable(column, raw, pl.Int64)
    lost = values.is_null() & raw.is_not_null()
    if not lost.any():
        return values, []
    number = raw.cast(pl.Float64, strict=False)
    large = (lost & number.is_finite() & (number.abs() >= INT64)).fill_null(False)
    return values, [(refusal(column), lost & ~large), (NOT_INT64, large)]


def _whole(raw: pl.Series) -> pl.Series:
    """Integers from text or numbers: ``3.0`` is one; ``3.5`` and what a float cannot hold exactly are none."""
    import polars as pl

    if isinstance(raw.dtype, pl.Decimal):  # which is exact, as the text of a whole number is
        raw = raw.cast(pl.String).str.replace(r"\.0*$", "")
    number = raw.cast(pl.Float64, strict=False)
    exact = (number.floor() == number) & (number.abs() < EXACT)
    integer = pl.when(exact).then(number).cast(pl.Int64, strict=False)
    if raw.dtype == pl.String:
        integer = pl.coalesce(raw.cast(pl.Int64, strict=False), integer)
    return pl.select(integer).to_series()


def _boolean(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype in (pl.Boolean, pl.Null):
        return raw.cast(pl.Boolean), []
    if raw.dtype == pl.String:
        text = raw.str.to_lowercase()
    elif raw.dtype.is_integer():
        text = raw.cast(pl.String)
    else:
        return _unusable(column, raw, pl.Boolean)
    yes, no = text.is_in(["true", "1"]), text.is_in(["false", "0"])
    values = pl.select(pl.when(yes).then(True).when(no).then(False)).to_series()
    return values, [(refusal(column), values.is_null() & raw.is_not_null())]


def _text(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    import polars as pl

    if raw.dtype == pl.String:
        return raw, []
    if raw.dtype.is_integer() or raw.dtype == pl.Null:
        return raw.cast(pl.String), []
    return _unusable(column, raw, pl.String)


_PARSERS: dict[str, _Parser] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "category": _text,
}
