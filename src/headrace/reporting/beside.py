"""The part of a report about versions that scored beside the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.pages.page import Page


def beside(page: Page, comparisons: Sequence[Mapping[str, Any]]) -> None:
    """A table for each comparison that monitoring made: both versions on their common pairs; nothing where none is."""
    if comparisons:
        page.heading("Beside the champion")
    for comparison in comparisons:
        page.sentence(f"{comparison['line']}.")
        known = {version: metrics for version, metrics in comparison["metrics"].items() if metrics}
        if not known:
            continue
        names = [name for name in next(iter(known.values())) if name != "n"]
        rows = [
            [f"version {version}", comparison["rows"], *map(metrics.get, names)] for version, metrics in known.items()
        ]
        differences = comparison["differences"]
        for label, part in (("difference", "value"), ("standard error", "error")):
            rows.append([label, None, *((differences.get(name) or {}).get(part) for name in names)])
        page.table("", ["", "pairs", *names], rows, shares=())
