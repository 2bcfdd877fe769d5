"""Rows that are none: lines of a file with too few or too many fields, set apart beside the rows that broke a rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.contract.faults import RAW, RuleFault

if TYPE_CHECKING:
    import polars as pl

MALFORMED = ":malformed"
"""A column of a frame as read that only frames with such lines have: null in rows that are rows."""


@dataclass
class Malformed:
    """Collects lines while a file is read.

    Attributes:
        places: The row of the frame that each takes.
        lines: What was wrong, and the text as it stood, as JSON.
    """

    places: list[int] = field(default_factory=list)
    lines: list[dict[str, str]] = field(default_factory=list)

    def add(self, place: int, label: str, why: str, text: str) -> None:
        """A line in place of the row `place`; `label` says what is wrong for counts, `why` with all particulars."""
        self.places.append(place)
        self.lines.append({"label": label, "why": why, "text": json.dumps({"line": text}, ensure_ascii=False)})

    def beside(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the column that tells of them; unchanged where there are none."""
        import polars as pl

        if not self.places:
            return frame
        rows = pl.DataFrame({"row": self.places, "found": self.lines}, schema_overrides={"row": pl.UInt32})
        joined = frame.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row")).join(rows, "row", how="left")
        return frame.with_columns(joined["found"].alias(MALFORMED))


def malformed_faults(frame: pl.DataFrame) -> list[RuleFault]:
    """The faults of lines that are no rows; their reasons stand in the working frame as ``RAW + MALFORMED``."""
    import polars as pl

    if MALFORMED not in frame.columns:
        return []
    labels = frame[MALFORMED].struct.field("label")
    reason = pl.col(RAW + MALFORMED).struct.field("why")
    return [
        RuleFault(label, (labels == label).fill_null(False), reason) for label in labels.unique().drop_nulls().sort()
    ]


def alone(malformed: list[RuleFault], others: list[RuleFault]) -> list[RuleFault]:
    """All faults; of a line that is no row nothing else is said."""
    for fault in malformed:
        others = [RuleFault(other.label, other.mask & ~fault.mask, other.reason) for other in others]
    return [*malformed, *(fault for fault in others if fault.mask.any())]


def without_malformed(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
    """The frame without the column, and the texts of the lines that are no rows: null in rows that are."""
    if MALFORMED not in frame.columns:
        return frame, None
    return frame.drop(MALFORMED), frame[MALFORMED].struct.field("text")


def declared_names(names: Sequence[str]) -> list[str]:
    """The names of a frame that a source gave it, for people."""
    return [name for name in names if name != MALFORMED]
