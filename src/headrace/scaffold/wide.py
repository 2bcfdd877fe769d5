"""Files with a row for each series and a column for each time: made long by a function in the declaration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.scaffold.wording import quoted

if TYPE_CHECKING:
    import polars as pl

_LEAST = 12
"""Columns of numbers that only differ by a number in their names."""
_STEPS = {"hour": "h", "dai": "d", "day": "d", "week": "w", "month": "mo", "quarter": "q", "year": "y"}
"""Words in names of files, and the step that they mean."""
_LAST = "2024-01-01"
"""The time of the last value of every series, where the file has none."""
_PREPARE = '''
def long(frame: pl.DataFrame) -> pl.DataFrame:
    """A row for each value: the file has one for each series, whose last value is taken as of {last}."""
    values = [name for name in frame.columns if name != {key}]
    rows = frame.unpivot(values, index={key}, variable_name="place", value_name="value").drop_nulls("value")
    rows = rows.filter(pl.col("value") != "") if rows["value"].dtype == pl.String else rows
    back = pl.int_range(pl.len()).reverse().over({key})
    ends = pl.lit("{last}").str.to_datetime(time_zone="UTC")
    return rows.select({key}, "value", time=ends.dt.offset_by(pl.format("-{{}}{step}", back)))

'''


@dataclass(frozen=True)
class WideFile:
    """How a file is made long.

    Attributes:
        key: The column that names the series.
        step: The letters of the time between two columns, as polars writes it.
        why: Where the step is from.
        count: Columns with values.
    """

    key: str
    step: str
    why: str
    count: int

    @property
    def prepare(self) -> str:
        """The text of a function ``long`` that does what `long` does here."""
        return _PREPARE.format(key=quoted(self.key), last=_LAST, step=self.step)

    def long(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A row for each value."""
        import polars as pl

        values = [name for name in frame.columns if name != self.key]
        rows = frame.unpivot(values, index=self.key, variable_name="place", value_name="value").drop_nulls("value")
        rows = rows.filter(pl.col("value") != "") if rows["value"].dtype == pl.String else rows
        back = pl.int_range(pl.len()).reverse().over(self.key)
        ends = pl.lit(_LAST).str.to_datetime(time_zone="UTC")
        return rows.select(self.key, "value", time=ends.dt.offset_by(pl.format(f"-{{}}{self.step}", back)))


def wide_of(path: Path, frame: pl.DataFrame) -> WideFile | None:
    """How a file is made long; None where it is no wide one.

    It is where the first column names each row, and all others hold numbers and are called alike but for a number.
    """
    import polars as pl

    key, *others = frame.columns
    stems = {re.sub(r"\d+$", "", name) for name in others}
    numbered = len(stems) == 1 and all(re.search(r"\d+$", name) for name in others)
    if len(others) < _LEAST or not numbered or frame[key].n_unique() < frame.height:
        return None
    some = frame.head(100).select(pl.col(others).cast(pl.String).str.strip_chars().replace("", None))
    numbers = some.select(pl.all().cast(pl.Float64, strict=False))
    if numbers.null_count().sum_horizontal().item() > some.null_count().sum_horizontal().item():
        return None
    word = next((word for word in _STEPS if word in path.name.lower()), None)
    why = f"the file's name says {word}" if word else "nothing says how far they lie apart: change it in `long`"
    return WideFile(key, _STEPS.get(word or "", "d"), why, len(others))
