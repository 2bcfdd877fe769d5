"""What people see: tables and progress on stderr or stdout, JSON for programs."""

from headrace.console.alerts import print_alerts, print_chain, print_untold, print_unwatched
from headrace.console.card import print_card, print_importance
from headrace.console.comparison import print_comparison, print_evidence
from headrace.console.drift import print_drift
from headrace.console.explanations import print_explanations
from headrace.console.frames import format_of, print_frame
from headrace.console.output import failed, nobody_reads, print_json, print_tree
from headrace.console.progress import progress
from headrace.console.reports import (
    backfill_report,
    evaluation_report,
    print_decision,
    print_findings,
    print_made,
    print_models,
    print_next,
    print_report,
    print_runs,
    print_started,
    print_verified,
    run_report,
)
from headrace.console.simulations import print_simulations
from headrace.console.skew import print_skew
from headrace.console.tuning import print_configurations, print_search
from headrace.console.validation import print_validation

__all__ = [
    "backfill_report",
    "evaluation_report",
    "failed",
    "format_of",
    "nobody_reads",
    "print_alerts",
    "print_card",
    "print_chain",
    "print_comparison",
    "print_configurations",
    "print_decision",
    "print_drift",
    "print_evidence",
    "print_explanations",
    "print_findings",
    "print_frame",
    "print_importance",
    "print_json",
    "print_made",
    "print_models",
    "print_next",
    "print_report",
    "print_runs",
    "print_search",
    "print_simulations",
    "print_skew",
    "print_started",
    "print_tree",
    "print_untold",
    "print_unwatched",
    "print_validation",
    "print_verified",
    "progress",
    "run_report",
]
