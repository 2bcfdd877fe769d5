"""A declaration from a look at a file: types, step and seasons as its rows have them, to be read and mended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.contract.column import EPOCH_FORMATS
from headrace.scaffold.outline import Look, Observation, Outline, check_names, read
from headrace.scaffold.proposal import proposed, with_proposal
from headrace.scaffold.rows import rows_text
from headrace.scaffold.series import series_text
from headrace.scaffold.times import written
from headrace.scaffold.types import typed
from headrace.scaffold.wide import WideFile, wide_of
from headrace.scaffold.wording import quoted
from headrace.sources import Source

if TYPE_CHECKING:
    import polars as pl

_NAMES = ("time", "event_time", "headrace_time")
"""What a time that several columns make together is called: the first that is free."""


@dataclass(frozen=True)
class Declaration:
    """What a look at a file gave.

    Attributes:
        text: Of a `system.py`.
        observations: What was seen, and why it is declared so.
    """

    text: str
    observations: tuple[Observation, ...]


def declaration_of(system: str, look: Look) -> Declaration:
    """The declaration of a system for the rows of a file.

    Raises:
        UsageError: A column is not in the file, the times are none, or nothing in it can be predicted.
        SourceError: The file cannot be read.
    """
    raw = read(look.path)
    check_names(look, raw)
    observations = [Observation("rows", f"{raw.height:,} of {raw.width} columns")]
    wide = wide_of(look.path, raw) if look.target is None and not look.time else None
    if wide is not None:
        observations += _shape_of(wide, raw)
        raw = wide.long(raw)
        look = replace(look, target="value", time=("time",), keys=(wide.key,))
    proposal = proposed(look, raw)
    look = with_proposal(look, proposal)
    outline = _outline(look, raw)
    outline.observations = [*observations, *proposal.observations]
    outline.prepare = wide.prepare if wide is not None else ""
    text = rows_text(system, outline) if look.rows else series_text(system, outline)
    return Declaration(text, tuple(outline.observations))


def _shape_of(wide: WideFile, raw: pl.DataFrame) -> list[Observation]:
    shape = f"{raw.height:,} series in rows, {wide.count:,} times in columns"
    return [
        Observation("shape", shape, "a function `long` makes a row of each value"),
        Observation("times", "none", wide.why),
    ]


def _outline(look: Look, raw: pl.DataFrame) -> Outline:
    """The file's columns, typed by what each is for."""
    outline = Outline(look.path, look.target or "", look.keys, look.time[0] if look.time else "", dates=look.dates)
    if len(look.time) > 1:
        outline.time = next(name for name in _NAMES if name not in raw.columns)
        outline.parts = look.time
        raw = read(look.path, Source(columns={outline.time: look.time}))
    for name in raw.columns:
        if name == outline.time:
            column, values, rest = written(name, raw[name])
            column = column.model_copy(update={"nullable": False})
            counted = "counts since 1970; the zone says where their days begin"
            outline.notes[name] = counted if column.format in EPOCH_FORMATS else "the zone that the times are meant in"
            outline.notes[name] *= column.zone is not None
            outline.notes[name] += f", or the format is {' or '.join(map(quoted, rest))}" if rest else ""
        else:
            column, values = typed(raw[name], key=name in look.keys)
        outline.columns.append(column)
        outline.values[name] = values
    return outline
