"""What people see: tables and progress on stderr or stdout, JSON for programs."""

from headrace.console.frames import format_of, print_frame
from headrace.console.output import failed, print_json, print_tree
from headrace.console.progress import progress
from headrace.console.reports import (
    backfill_report,
    evaluation_report,
    print_decision,
    print_findings,
    print_made,
    print_models,
    print_next,
    print_runs,
    print_started,
    print_verified,
    run_report,
)

__all__ = [
    "backfill_report",
    "evaluation_report",
    "failed",
    "format_of",
    "print_decision",
    "print_findings",
    "print_frame",
    "print_json",
    "print_made",
    "print_models",
    "print_next",
    "print_runs",
    "print_started",
    "print_tree",
    "print_verified",
    "progress",
    "run_report",
]
