"""A declaration from a look at a file: types, step and seasons as its rows have them, to be read and mended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contract.column import Column, ColumnType
from headrace.declaration import parse_duration
from headrace.errors import UsageError
from headrace.sources import Source, open_source

if TYPE_CHECKING:
    import polars as pl

_LOOKED_AT = 200_000
"""Rows."""
_DAY = timedelta(days=1)
_PLANS = (
    # Up to this step: horizon and seasons.
    (timedelta(hours=12), "24h", ("24h", "168h")),
    (timedelta(days=3), "14d", ("7d",)),
    (timedelta(days=14), "8w", ("52w",)),
    (timedelta(days=400), "6mo", ("12mo",)),
)
_MONTHS = ((28, 31, "1mo"), (90, 92, "1q"), (365, 366, "1y"))


@dataclass(frozen=True)
class Look:
    """What to make a declaration from.

    Attributes:
        path: The file.
        target: The column to predict.
        time: The column of the event time; without one the system scores rows.
        keys: Columns that tell one series, or one row, from another.
    """

    path: Path
    target: str
    time: str | None = None
    keys: tuple[str, ...] = ()


@dataclass
class _Found:
    columns: list[Column] = field(default_factory=list)
    values: dict[str, pl.Series] = field(default_factory=dict)


def declaration_of(name: str, look: Look) -> str:
    """The text of a `system.py` for the rows of a file.

    Raises:
        UsageError: A column is not in the file, the times are none, or the target is nothing that can be predicted.
        SourceError: The file cannot be read.
    """
    now = datetime.now(UTC)
    frame = open_source(Source(), f"file:{look.path}").read(as_of=now, now=now).frame.head(_LOOKED_AT)
    for option, column in (("--target", look.target), ("--time", look.time), *(("--keys", key) for key in look.keys)):
        if column is not None and column not in frame.columns:
            hint = f"the file has {', '.join(frame.columns)}"
            raise UsageError(f"there is no column {column!r}", where=option, hint=hint)
    if not frame.height:
        raise UsageError("the file has no rows to look at", where=str(look.path))
    found = _Found()
    for column in frame.columns:
        kind, values = _kind(frame[column], look, column)
        nullable = values.null_count() > 0 and column not in (*look.keys, look.time)
        zone = "UTC" if column == look.time and not _has_zone(frame[column]) else None
        found.columns.append(Column(column, kind, nullable=nullable, zone=zone))
        found.values[column] = values
    return _series(name, look, found) if look.time is not None else _rows(name, look, found)


def _kind(raw: pl.Series, look: Look, name: str) -> tuple[ColumnType, pl.Series]:
    """The narrowest type that all values have."""
    from headrace.contract.parse import parse_column

    if name == look.time:
        tried: tuple[ColumnType, ...] = ("time",)
    elif name in look.keys:
        tried = ("integer", "category") if raw.dtype.is_integer() else ("category",)
    else:
        tried = ("integer", "float", "boolean", "time", "category")
    for kind in tried:
        parsed = parse_column(Column(name, kind, nullable=True, zone="UTC" if kind == "time" else None), raw)
        if not any(fault.mask.any() for fault in parsed.faults):
            few = kind != "category" or name in look.keys or parsed.values.n_unique() <= max(50, raw.len() // 100)
            return (kind if few else "text"), parsed.values
    if name == look.time:
        hint = "times in ISO 8601 are read as they are; others need Column(..., format=...)"
        raise UsageError(f"not all values of {name!r} are times", where="--time", hint=hint)
    return "text", raw


def _has_zone(raw: pl.Series) -> bool:
    import polars as pl

    if raw.dtype == pl.String:
        return bool(raw.drop_nulls().str.contains(r"(?:[Zz]|[+-]\d{2}:?\d{2})$").all())
    return isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None


def _series(name: str, look: Look, found: _Found) -> str:
    """A system that forecasts."""
    assert look.time is not None
    numeric = next(column for column in found.columns if column.name == look.target).type in ("integer", "float")
    if not numeric:
        raise UsageError(f"{look.target!r} holds no numbers", where="--target", hint="forecasts are of numbers")
    step = _step(look, found)
    length = parse_duration(step)
    horizon, seasons = next(((h, s) for most, h, s in _PLANS if length <= most), ("3y", ("1y",)))
    columns = [c for c in found.columns if c.name in (*look.keys, look.time, look.target)]
    columns = [
        Column(c.name, "float", nullable=c.nullable) if c.name == look.target and c.type == "integer" else c
        for c in columns
    ]
    times = found.values[look.time]
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    known = tuple(each for each in seasons if last - first >= 3 * parse_duration(each)) or seasons[:1]
    seasonal = f'seasonal_features({_quoted(look.target)}, step="{step}", seasons=SEASONS)'
    return f'''"""{name}: `{look.target}` from {look.path.name}, as a look at it has it: read it, and mend it."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features

SEASONS = {_tuple(known)}

system = System(
    name="{name}",
    source=Source(uri={_quoted(f"file:{look.path.absolute()}")}),
    contract=Contract(
        columns=(
{_written(columns)}
        ),
        max_bad_share=0.05,
    ),
    keys={_tuple(look.keys)},
    time={_quoted(look.time)},
    step="{step}",
    target={_quoted(look.target)},
    features={seasonal},
    model=Forecaster(seasons=SEASONS),
    horizon="{horizon}",
    schedule=Schedule(predict="{step}", train="7d"),
    monitoring=Monitoring(baselines=SEASONS),
)
'''


def _rows(name: str, look: Look, found: _Found) -> str:
    """A system that scores rows."""
    if not look.keys:
        hint = "name the column that tells one row from another; a file with --time may be one series"
        raise UsageError("rows need a key", where="--keys", hint=hint)
    target = next(column for column in found.columns if column.name == look.target)
    classes = found.values[look.target].drop_nulls().n_unique()
    if classes != 2:
        hint = "with --time it is a series to forecast"
        raise UsageError(f"{look.target!r} has {classes} different values, a Classifier tells two apart", hint=hint)
    columns = [c for c in found.columns if c.type not in ("text", "time") or c.name in (*look.keys, look.target)]
    columns = [Column(c.name, c.type, nullable=True) if c.name == target.name else c for c in columns]
    features = [c.name for c in columns if c.name not in (*look.keys, look.target)]
    if not features:
        raise UsageError("no column is left to learn from", where=str(look.path))
    told = "\n".join(f"        {_quoted(each)}: col({_quoted(each)})," for each in features)
    return f'''"""{name}: `{look.target}` from {look.path.name}, as a look at it has it: read it, and mend it."""

from headrace import Classifier, Column, Contract, Schedule, Source, System
from headrace.features import col

system = System(
    name="{name}",
    source=Source(uri={_quoted(f"file:{look.path.absolute()}")}),
    contract=Contract(
        columns=(
{_written(columns)}
        ),
        max_bad_share=0.05,
    ),
    keys={_tuple(look.keys)},
    target={_quoted(look.target)},
    features={{
{told}
    }},
    model=Classifier(),
    schedule=Schedule(predict="never", train="never"),
)
'''


def _step(look: Look, found: _Found) -> str:
    """The time between two rows of a series that is there most often."""
    import polars as pl

    assert look.time is not None
    frame = pl.DataFrame([found.values[name].alias(name) for name in (*look.keys, look.time)]).drop_nulls().unique()
    gaps = frame.sort(*look.keys, look.time).select(pl.col(look.time).diff().alias("gap"), *look.keys)
    if look.keys:
        same = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in look.keys)
        gaps = gaps.filter(same)
    counts = gaps["gap"].drop_nulls().value_counts(sort=True)
    if not counts.height:
        raise UsageError("no series has two times", where="--time", hint="is --keys right?")
    gap: timedelta = counts["gap"][0]
    for least, most, text in _MONTHS:
        if least * _DAY <= gap <= most * _DAY:
            return text
    return _text(gap)


def _text(gap: timedelta) -> str:
    if not gap % (7 * _DAY):
        return f"{gap // (7 * _DAY)}w"
    for unit, size in (("d", _DAY), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        if not gap % size:
            return f"{gap // size}{unit}"
    return f"{gap.total_seconds():g}s"


def _written(columns: Sequence[Column]) -> str:
    lines = []
    for column in columns:
        more = f', zone="{column.zone}"' if column.zone else ""
        more += ", nullable=True" if column.nullable else ""
        said = "  # the zone that the times are meant in" if column.zone else ""
        lines.append(f'            Column({_quoted(column.name)}, "{column.type}"{more}),{said}')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tuple(texts: Sequence[str]) -> str:
    inner = ", ".join(map(_quoted, texts))
    return f"({inner},)" if len(texts) == 1 else f"({inner})"
