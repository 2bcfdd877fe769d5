"""Sections of a report in the form of a page, or of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.pages.chart import Chart, Line
from headrace.pages.page import Page
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable, Section


def show(page: Page, section: Section) -> None:
    """Add what a task shows to a page."""
    if isinstance(section, ReportHeading):
        page.heading(section.text)
    elif isinstance(section, ReportSentence):
        (page.note if section.note else page.sentence)(section.text)
    elif isinstance(section, ReportTable):
        page.table(section.title, section.header, section.rows, shares=section.shares)
    else:
        lines = [Line(*line) for line in section.lines]
        page.chart(Chart(section.title, section.x, lines, section.band, section.share, section.zero))


def as_markdown(section: Section) -> str:
    """A section as Markdown: a curve is the table of its points.

    >>> print(as_markdown(ReportTable("", ("n", "error"), ((3, 0.25),))))
    | n | error |
    | --- | --- |
    | 3 | 0.25 |
    """
    if isinstance(section, ReportHeading):
        return f"## {_plain(section.text)}"
    if isinstance(section, ReportSentence):
        return _plain(section.text)
    if isinstance(section, ReportCurve):
        header = ("", *(name for name, _, _ in section.lines))
        rows = list(zip(section.x, *(values for _, values, _ in section.lines), strict=True))
        shares = header[1:] if section.share else ()
        return f"{_plain(section.title)}\n\n{_table(header, rows, shares)}"
    table = _table(section.header, section.rows, section.shares)
    return f"## {_plain(section.title)}\n\n{table}" if section.title else table


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]], shares: Sequence[str]) -> str:
    lines = [header, ["---"] * len(header)]
    lines += [[_cell(value, share=name in shares) for name, value in zip(header, row, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(_plain(str(cell)) for cell in line)} |" for line in lines)


def _cell(value: Any, *, share: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1%}" if share else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(text: str) -> str:
    """A text that Markdown leaves as it is, in one line: what came from data cannot become a link or a tag."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}") if sign in text and sign not in "_#" else text
    return " ".join(text.split())
