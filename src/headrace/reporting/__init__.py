"""Pages about what is stored: one file of HTML each, without scripts."""

from headrace.reporting.monitoring import Report, write_report

__all__ = ["Report", "write_report"]
