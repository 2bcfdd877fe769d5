"""Features as they were served beside those that training computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.console.output import print_json
from headrace.console.reports import print_next
from headrace.console.table import TableStyle, cell, print_table, terminal

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.tasks.rows.skew import Skew

SHOWN = 20


def print_skew(home: Home, done: Skew, *, as_json: bool) -> None:
    """How many predictions differ, by feature."""
    if as_json:
        print_json(done.as_dict())
        return
    console = terminal()
    differing = [feature for feature in done.features if feature.differing]
    count = f"{done.differing:,} of {done.rows:,} predictions"
    text = f"{count} differ" if differing else f"{done.rows:,} predictions, {len(done.features)} features: all the same"
    console.print(f"{done.system}: {text}", soft_wrap=True)
    if not differing:
        return
    import polars as pl

    frame = pl.DataFrame(
        [
            {
                "feature": feature.feature,
                "differing": feature.differing,
                "rows": feature.rows,
                "served": cell((feature.example or {})["served"]),
                "recomputed": cell((feature.example or {})["recomputed"]),
                "largest": feature.largest,
            }
            for feature in differing[:SHOWN]
        ],
        infer_schema_length=None,
    )
    print_table(
        frame, TableStyle("features that differ, each with its first", ("feature", "differing", "served", "recomputed"))
    )
    assert differing[0].example is not None
    print_next(f"headrace trace {differing[0].example['id']}", home)
