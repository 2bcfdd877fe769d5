"""What a task shows, as data: sections of a report, and what a terminal prints. Who shows it gives the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ReportTable:
    """A table of a report: `shares` are the columns that are shown in per cent."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    shares: Sequence[str] = ()


@dataclass(frozen=True)
class ReportCurve:
    """A chart of a report: named lines over one `x`; the kind of each is its style (``ours``, ``truth``).

    Attributes:
        title: Also what a screen reader says.
        x: Times (UTC) or numbers, ascending.
        lines: Name, a value for every x, and style.
        share: Whether values are shares, shown in per cent.
        zero: Whether the axis begins at zero.
        band: Lower and upper edge of an area, by x.
    """

    title: str
    x: Sequence[Any]
    lines: Sequence[tuple[str, Sequence[float | None], str]]
    share: bool = False
    zero: bool = False
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None


@dataclass(frozen=True)
class ReportHeading:
    """A heading of a report."""

    text: str


@dataclass(frozen=True)
class ReportSentence:
    """A paragraph of a report; a `note` stands in the background."""

    text: str
    note: bool = False


Section = ReportTable | ReportCurve | ReportHeading | ReportSentence


@dataclass(frozen=True)
class TaskReport:
    """A report.

    Attributes:
        sections: In the order of the page.
        figures: The main figures, JSON-ready.
    """

    sections: Sequence[Section]
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TerminalTable:
    """A table on a terminal.

    Attributes:
        frame: Its rows.
        title: Stands above it.
        first: Columns that come first, as far as there is room.
        kept: Columns that are there in any case.
    """

    frame: pl.DataFrame
    title: str
    first: Sequence[str] = ()
    kept: Sequence[str] = ()


Block = str | TerminalTable
"""A line on a terminal, or a table."""


@dataclass(frozen=True)
class PredictionSummary:
    """What a terminal shows of the predictions of one run.

    Attributes:
        blocks: Lines and tables, in their order.
        commands: What can be done with them next: a word, and the command.
    """

    blocks: Sequence[Block] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
