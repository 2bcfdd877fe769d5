"""The declaration of a system that forecasts the series of a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from headrace.declaration import format_duration, parse_duration
from headrace.errors import UsageError
from headrace.scaffold.times import step_of
from headrace.scaffold.wording import column_lines, names, quoted, within
from headrace.scaffold.zones import zone_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract.column import Column
    from headrace.scaffold.outline import Outline

_PLANS = (
    # Up to this step: horizon and seasons.
    (timedelta(minutes=5), "2h", ("24h", "168h")),
    (timedelta(hours=12), "24h", ("24h", "168h")),
    (timedelta(days=3), "14d", ("7d",)),
    (timedelta(days=14), "8w", ("52w",)),
    (timedelta(days=32), "6mo", ("12mo",)),
    (timedelta(days=100), "1y", ("1y",)),
)
_FEW = 0.001
"""A smaller share of gaps is said with more digits."""
_STEPS = 24
"""Of a horizon where no day is a whole number of steps."""
_TEXT = '''"""{name}: `{target}` from {file}, as a look at it has it: read it, and mend it."""

{imports}
SEASONS = {seasons}

{prepare}system = System(
    name="{name}",
    source=Source(uri={uri}{parts}),
    contract=Contract(
        columns=(
{columns}
        ),
        max_invalid_fraction=0.05,
    ),
    keys={keys},
    time={time},
    step="{step}",
    target={quoted},
    features=seasonal_features({quoted}, step="{step}", seasons=SEASONS),
    model=Forecaster(seasons=SEASONS),
    horizon="{horizon}",
    schedule=Schedule(predict="{step}", train="7d"),
    monitoring=Monitoring(baselines=SEASONS),
)
'''
_IMPORTS = """from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features
"""


def series_text(name: str, outline: Outline) -> str:
    """The text of a `system.py`; what was seen is added to the table's observations.

    Raises:
        UsageError: The target is no number, or no series has two times.
    """
    if outline.column(outline.target).type not in ("integer", "float"):
        raise UsageError(f"{outline.target!r} holds no numbers", where="--target", hint="forecasts are of numbers")
    frame = _frame(outline)
    step, events = step_of(frame)
    length = parse_duration(step)
    horizon, seasons = next(((h, s) for most, h, s in _PLANS if length <= most), ("3y", ("5y",)))
    horizon, seasons = ("10b", ("5b",)) if step == "1b" else (horizon, seasons)
    if step[-1] in "smh" and parse_duration(horizon) % length:  # such as 37 minutes
        horizon = format_duration(_STEPS * length)
        seasons = (horizon,)
    if not events and length <= timedelta(hours=1):
        _in_zone(outline)
    times = outline.values[outline.time]
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    known = tuple(season for season in seasons if last - first >= 3 * parse_duration(season)) or seasons[:1]
    outline.say("from", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}", outline.notes.get(outline.time, ""))
    reason = "rows of one time are added up" if events else "the usual time between two rows of a series"
    outline.say("step", step, reason)
    if not events and (gaps := _gaps(frame, length)):
        outline.say(
            "gaps",
            f"{gaps:.{1 if gaps >= _FEW else 3}%} of the steps",
            "they stay missing; `empty` of a Column fills them",
        )
    columns = list(_declared(outline, events=events))
    if left_out := [column.name for column in outline.columns if column.name not in {each.name for each in columns}]:
        why = "add a Column and features of it, such as lag(...); known_future=True where it is known in advance"
        outline.say("left out", ", ".join(left_out), why)
    outline.say("horizon", horizon, f"seasons of {' and '.join(known)}: as the step and the length of the file have it")
    parts = f", columns={{{quoted(outline.time)}: {names(outline.parts)}}}" if outline.parts else ""
    parts += ", prepare=long" if outline.prepare else ""
    return _TEXT.format(
        name=name,
        target=within(outline.target),
        file=within(outline.path.name),
        imports=("import polars as pl\n" if outline.prepare else "") + _IMPORTS,
        seasons=names(known),
        prepare=outline.prepare and f"{outline.prepare}\n",
        uri=quoted(f"file:{outline.path.absolute()}"),
        parts=parts,
        columns=column_lines(columns, outline.notes),
        keys=names(outline.keys),
        time=quoted(outline.time),
        step=step,
        quoted=quoted(outline.target),
        horizon=horizon,
    )


def _frame(outline: Outline) -> pl.DataFrame:
    """Keys, and the times as the last column."""
    import polars as pl

    keys = [outline.values[key].alias(key) for key in outline.keys]
    return pl.DataFrame([*keys, outline.values[outline.time].alias(outline.time)])


def _gaps(frame: pl.DataFrame, step: timedelta) -> float:
    """The share of steps between the first and the last row of a series that have no row."""
    import polars as pl

    *keys, time = frame.columns
    span = ((pl.col(time).max() - pl.col(time).min()) / step).round() + 1
    counts = frame.drop_nulls().unique()
    steps = counts.group_by(keys).agg(span) if keys else counts.select(span)
    there, wanted = counts.height, float(steps[time].sum())
    return max(1 - there / wanted, 0.0) if wanted and there < wanted else 0.0


def _in_zone(outline: Outline) -> None:
    """Declares the zone whose changes of the clocks the times show."""
    place = next(n for n, column in enumerate(outline.columns) if column.name == outline.time)
    local = zone_of(outline.values[outline.time]) if outline.columns[place].zone is not None else None
    if local is None:
        return
    more = {"zone": local.zone, "label": local.label, "ambiguous": local.ambiguous}
    outline.columns[place] = outline.columns[place].model_copy(update=more)
    others = f" or {local.others}" if local.others else ""
    ends = ", and hours are named by their ends" if local.label == "end" else ""
    outline.notes[outline.time] += f"; in this file the clocks change as in {local.zone}{others}{ends}"


def _declared(outline: Outline, *, events: bool) -> Iterator[Column]:
    """Keys, time and target; where rows are events also what tells one from another."""
    for column in outline.columns:
        if column.name == outline.target:
            more = {"aggregate": "sum", "empty": "zero"} if events else {}
            yield column.model_copy(update={"type": "float", **more})
        elif column.name in (*outline.keys, outline.time) or (events and column.type != "time"):
            yield column
