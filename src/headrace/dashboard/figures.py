"""What a chart shows: named columns of numbers over times or numbers, with a unit; as JSON, CSV and a table."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.dashboard.words import moment

_FORMULA = "=+-@\u2212"
"""With what a formula begins, of any width; the last one is the minus of mathematics."""


@dataclass(frozen=True)
class FigureLine:
    """One column of numbers.

    Attributes:
        name: Of the column in answers and CSV.
        label: For the legend.
        role: ``ours``, ``other`` beside it, ``truth``, ``naive``; ``lower`` and ``upper`` are the edges of an area;
            ``hidden`` is in the table alone.
    """

    name: str
    label: str
    role: str


@dataclass(frozen=True)
class Figure:
    """One chart with its table.

    Attributes:
        title: What it shows.
        unit: Of its numbers, as people write it.
        x: Name of the column of times or numbers.
        lines: The columns.
        rows: One mapping a point, ascending in `x`.
        over: ``time``, ``number``, or ``name`` where x are texts.
        share: Whether the numbers are shares, shown in per cent.
        zero: Whether the axis begins at zero.
        nominal: A line to compare with: its value, and what it is called.
        span: Ends of the axis of x; None: those of the data.
        marks: Events: ``{"x", "text", "kind"}``.
        note: A sentence for readers.
    """

    title: str
    unit: str
    x: str
    lines: Sequence[FigureLine]
    rows: Sequence[Mapping[str, Any]]
    over: str = "time"
    share: bool = False
    zero: bool = False
    nominal: tuple[float, str] | None = None
    span: tuple[float, float] | None = None
    marks: Sequence[Mapping[str, Any]] = field(default_factory=list)
    note: str = ""

    def document(self) -> dict[str, Any]:
        """What the script of charts draws: columns, times as seconds since 1970."""
        xs: list[Any] = [row.get(self.x) for row in self.rows]
        if self.over == "time":
            xs = [_seconds(x) for x in xs]
        columns = [[_number(row.get(line.name)) for row in self.rows] for line in self.lines]
        return {
            "title": self.title,
            "unit": self.unit,
            "over": self.over,
            "name": self.x.replace("_", " "),
            "span": self.span,
            "share": self.share,
            "zero": self.zero,
            "x": xs,
            "lines": [
                {"label": line.label, "role": line.role, "y": ys}
                for line, ys in zip(self.lines, columns, strict=True)
                if line.role != "hidden"
            ],
            "nominal": None if self.nominal is None else {"value": self.nominal[0], "label": self.nominal[1]},
            "marks": [{**mark, "x": _seconds(mark["x"])} for mark in self.marks],
        }

    def csv(self) -> str:
        """All rows, as spreadsheets read them; no text of the data can become a formula."""
        file = io.StringIO()
        writer = csv.writer(file)  # its ends of lines have it quote a text that holds one of their characters
        writer.writerow([plain(name) for name in (self.x, *(line.name for line in self.lines))])
        for row in self.rows:
            writer.writerow([plain(row.get(name)) for name in (self.x, *(line.name for line in self.lines))])
        return file.getvalue()

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows for people, but for the ids of predictions."""
        lines = [line for line in self.lines if line.name != "id"]
        header = [self.x.replace("_", " "), *(line.label for line in lines)]
        return header, [[row.get(self.x), *(row.get(line.name) for line in lines)] for row in self.rows]

    def ids(self) -> list[str | None]:
        """The prediction of each row; empty where rows are none."""
        return [row.get("id") for row in self.rows] if any(line.name == "id" for line in self.lines) else []


def plain(value: object) -> object:
    """A cell of CSV; a text that a spreadsheet would compute is marked as a text.

    >>> plain('=HYPERLINK("http://x")'), plain(-1.5)
    ('\\'=HYPERLINK("http://x")', -1.5)
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if _computed(value) else value
    return value


def _computed(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula: also one behind blanks, or what nobody sees."""
    for character in text:
        if character in "\t\r\n" or unicodedata.normalize("NFKC", character)[0] in _FORMULA:
            return True
        if not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf"):
            return False
    return False


def _seconds(value: object) -> float | None:
    found = moment(value)
    return None if found is None else found.timestamp()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value and abs(value) != float("inf") else None
