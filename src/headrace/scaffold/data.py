"""A declaration from a look at a file: types, step and seasons as its rows have them, to be read and mended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contract.column import Column, ColumnType
from headrace.declaration import parse_duration
from headrace.errors import UsageError
from headrace.scaffold.times import step_of, written
from headrace.sources import Source, open_source

if TYPE_CHECKING:
    import polars as pl

_LOOKED_AT = 200_000
"""Rows."""
_EACH = 4
"""Texts of which a value has so many rows on average are categories."""
_DAY = timedelta(days=1)
_PLANS = (
    # Up to this step: horizon and seasons.
    (timedelta(minutes=5), "2h", ("24h", "168h")),
    (timedelta(hours=12), "24h", ("24h", "168h")),
    (timedelta(days=3), "14d", ("7d",)),
    (timedelta(days=14), "8w", ("52w",)),
    (timedelta(days=400), "6mo", ("12mo",)),
)


@dataclass(frozen=True)
class Look:
    """What to make a declaration from.

    Attributes:
        path: The file.
        target: The column to predict.
        time: The column of the event time, or those that make it together; without one the system scores rows.
        keys: Columns that tell one series, or one row, from another.
    """

    path: Path
    target: str
    time: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass
class _Found:
    time: str
    columns: list[Column] = field(default_factory=list)
    values: dict[str, pl.Series] = field(default_factory=dict)
    formats: tuple[str, ...] = ()
    """Others that would read the times, too."""


def declaration_of(system: str, look: Look) -> str:
    """The text of a `system.py` for the rows of a file.

    Raises:
        UsageError: A column is not in the file, the times are none, or the target is nothing that can be predicted.
        SourceError: The file cannot be read.
    """
    frame = _read(look, Source())
    found = _Found(look.time[0] if look.time else "")
    if len(look.time) > 1:
        found.time = next(name for name in ("time", "event_time", "headrace_time") if name not in frame.columns)
        frame = _read(look, Source(columns={found.time: look.time}))
    for name in frame.columns:
        if name == found.time:
            column, values, found.formats = written(name, frame[name])
            column = column.model_copy(update={"nullable": False})
        else:
            column, values = _typed(frame[name], look, name)
        found.columns.append(column)
        found.values[name] = values
    return _series(system, look, found) if look.time else _rows(system, look, found)


def _read(look: Look, source: Source) -> pl.DataFrame:
    now = datetime.now(UTC)
    frame = open_source(source, f"file:{look.path}").read(as_of=now, now=now).frame.head(_LOOKED_AT)
    if source.columns:
        return frame
    named = [("--target", look.target), *(("--time", part) for part in look.time), *(("--keys", k) for k in look.keys)]
    for option, column in named:
        if column not in frame.columns:
            hint = f"the file has {', '.join(frame.columns)}"
            raise UsageError(f"there is no column {column!r}", where=option, hint=hint)
    if not frame.height:
        raise UsageError("the file has no rows to look at", where=str(look.path))
    return frame


def _typed(raw: pl.Series, look: Look, name: str) -> tuple[Column, pl.Series]:
    """The column of the narrowest type that all values have, and the values."""
    from headrace.contract.parse import parse_column

    category, comma = Column(name, "category", nullable=True), Column(name, "float", nullable=True, decimal=",")
    tried: tuple[Column, ...]
    if name in look.keys:
        tried = (Column(name, "integer", nullable=True), category) if _numbers(raw) else (category,)
    else:
        kinds: tuple[ColumnType, ...] = ("integer", "float", "boolean")
        tried = (*(Column(name, kind, nullable=True) for kind in kinds), comma)
        tried = (*tried, Column(name, "time", nullable=True, zone="UTC"), category)
    for column in tried:
        parsed = parse_column(column, raw)
        if not any(fault.mask.any() for fault in parsed.faults):
            nullable = parsed.values.null_count() > 0 and name not in look.keys
            few = column != category or name in look.keys or parsed.values.n_unique() <= max(50, raw.len() // _EACH)
            kept = column if few else Column(name, "text")
            return kept.model_copy(update={"nullable": nullable}), parsed.values
    return Column(name, "text", nullable=raw.null_count() > 0), raw


def _numbers(raw: pl.Series) -> bool:
    """Whether keys are whole numbers, which no other text is written as: 007 is none."""
    import polars as pl

    if raw.dtype == pl.String:
        return bool(raw.str.contains(r"^(0|[1-9]\d{0,17})$").all())
    return raw.dtype.is_integer()


def _series(name: str, look: Look, found: _Found) -> str:
    """A system that forecasts."""
    import polars as pl

    numeric = next(column for column in found.columns if column.name == look.target).type in ("integer", "float")
    if not numeric:
        raise UsageError(f"{look.target!r} holds no numbers", where="--target", hint="forecasts are of numbers")
    times = found.values[found.time]
    step, events = step_of(
        pl.DataFrame([*(found.values[key].alias(key) for key in look.keys), times.alias(found.time)])
    )
    length = parse_duration(step)
    horizon, seasons = next(((h, s) for most, h, s in _PLANS if length <= most), ("3y", ("1y",)))
    columns = list(_declared(look, found, events=events))
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    known = tuple(each for each in seasons if last - first >= 3 * parse_duration(each)) or seasons[:1]
    parts = f", columns={{{_quoted(found.time)}: {_tuple(look.time)}}}" if len(look.time) > 1 else ""
    seasonal = f'seasonal_features({_quoted(look.target)}, step="{step}", seasons=SEASONS)'
    return f'''"""{name}: `{look.target}` from {look.path.name}, as a look at it has it: read it, and mend it."""

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features

SEASONS = {_tuple(known)}

system = System(
    name="{name}",
    source=Source(uri={_quoted(f"file:{look.path.absolute()}")}{parts}),
    contract=Contract(
        columns=(
{_written(columns, found.formats)}
        ),
        max_bad_share=0.05,
    ),
    keys={_tuple(look.keys)},
    time={_quoted(found.time)},
    step="{step}",
    target={_quoted(look.target)},
    features={seasonal},
    model=Forecaster(seasons=SEASONS),
    horizon="{horizon}",
    schedule=Schedule(predict="{step}", train="7d"),
    monitoring=Monitoring(baselines=SEASONS),
)
'''


def _declared(look: Look, found: _Found, *, events: bool) -> Iterator[Column]:
    """Keys, time and target; where rows are events also what tells one from another."""
    for column in found.columns:
        if column.name == look.target:
            more = {"aggregate": "sum", "empty": "zero"} if events else {}
            yield column.model_copy(update={"type": "float", **more})
        elif column.name in (*look.keys, found.time) or (events and column.type != "time"):
            yield column


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


def _written(columns: Sequence[Column], formats: Sequence[str] = ()) -> str:
    lines = []
    for column in columns:
        more = f', zone="{column.zone}"' if column.zone else ""
        more += f', format="{column.format}"' if column.format else ""
        more += f', decimal="{column.decimal}"' if column.decimal != "." else ""
        more += f', aggregate="{column.aggregate}", empty="{column.empty}"' if column.aggregate else ""
        more += ", nullable=True" if column.nullable else ""
        said = "  # the zone that the times are meant in" if column.zone else ""
        said += f", or the format is {' or '.join(map(_quoted, formats))}" if column.type == "time" and formats else ""
        said = "  # many rows in a step: their sum; none: 0" if column.aggregate else said
        lines.append(f'            Column({_quoted(column.name)}, "{column.type}"{more}),{said}')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tuple(texts: Sequence[str]) -> str:
    inner = ", ".join(map(_quoted, texts))
    return f"({inner},)" if len(texts) == 1 else f"({inner})"
