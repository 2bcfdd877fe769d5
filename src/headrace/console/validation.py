"""What the contract said of an ingest, and of those before it, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.console.table import TableStyle, print_table

if TYPE_CHECKING:
    import polars as pl


def print_validation(system: str, report: Mapping[str, Any], past: pl.DataFrame) -> None:
    """The counts of an ingest, the rules that failed with an example each, how many hold, and the history."""
    import polars as pl

    verdict = "is broken" if report["broken"] else "holds"
    sys.stdout.write(f"{system}: the contract {verdict} as of {report['as_of']}\n")
    sys.stdout.write(f"source   {report['source']}\n")
    counts = " + ".join(f"{report[name]:,} {name}" for name in ("good", "bad", "pending"))
    sys.stdout.write(f"{report['rows']:,} rows read = {counts}\n")
    failed = [rule for rule in report["rules"] if not rule["passed"]]
    held = len(report["rules"]) - len(failed)
    if failed:
        lines = [
            {
                "rule": rule["rule"] if rule["column"] is None else f"{rule['column']}: {rule['rule']}",
                "severity": rule["severity"],
                "rows": rule["failed"],
                "share": None if rule["share"] is None else f"{rule['share']:.2%}",
                "finding": rule["message"],
                "example": rule["examples"][0]["row"] if rule["examples"] else None,
            }
            for rule in failed
        ]
        first = ("rule", "rows", "share", "finding", "severity", "example")
        frame = pl.DataFrame(lines, infer_schema_length=None)
        folding = ("finding", "example", "rule")
        print_table(frame, TableStyle("Rules that failed", first, folding, kept=("finding",), rows=len(lines)))
    sys.stdout.write(f"{held:,} {'rule holds' if held == 1 else 'rules hold'}\n")
    if past.height > 1:
        shown = past.select("as_of", "rows", "good", "bad", "pending", "broken", "warnings", "source")
        print_table(shown, TableStyle("Ingests, newest first", shown.columns, ("source",), rows=past.height))
