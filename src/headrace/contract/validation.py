"""The outcome of a check, with its reports for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.outcome import CheckOutcome

if TYPE_CHECKING:
    from rich.table import Table


class Validation(CheckOutcome):
    """The outcome of a check: `CheckOutcome` lists what it holds."""

    def as_table(self, title: str = "Validation") -> Table:
        """The report as a table for the terminal."""
        from headrace.contract.report import terminal_table

        return terminal_table(self, title)

    def as_html(self, title: str = "Validation") -> str:
        """The report as one HTML page that needs nothing from outside."""
        from headrace.contract.report import html_page

        return html_page(self, title)
