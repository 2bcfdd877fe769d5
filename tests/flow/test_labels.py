"""Times that name the end of a step: the same system as one that names the begin and hears of it a step later."""

from datetime import timedelta

import polars as pl
from tests.flow.test_backfill import live, same
from tests.flow.worlds import HOUR, NOW, last, system_of, world

from headrace.config import override
from headrace.flow.backfill import Request as BackfillRequest
from headrace.flow.backfill import backfill
from headrace.flow.stretch import Stretch


def test_a_backfill_equals_live_runs_and_both_those_that_name_the_begin(place):
    begin = override(
        system_of("4h"), {"source": {"lag": "90m"}, "contract": {"columns": {"warmth": {"known_ahead": "9h"}}}}
    )
    end = override(begin, {"source": {"lag": "30m"}, "contract": {"columns": {"time": {"label": "end"}}}})
    rows = world(5, gaps=0.05, ahead=False).drop("known_at")
    homes = [place(name) for name in ("live", "backfill", "begin")]
    rows.with_columns(pl.col("time") + HOUR).write_parquet(homes[0].path / "facts.parquet")
    rows.write_parquet(homes[2].path / "facts.parquet")
    ending, beginning = (f"file:{homes[i].path}/facts.parquet" for i in (0, 2))
    stretch = Stretch(last(24) + timedelta(minutes=40), last(18) + timedelta(minutes=40), 2 * HOUR)
    assert live(end, homes[0], stretch.times(), ending) == []
    assert backfill(end, homes[1], BackfillRequest(stretch, NOW, ending)).failed == []
    same(homes[0], homes[1], end)
    backfill(begin, homes[2], BackfillRequest(stretch, NOW, beginning))
    numbers = ["place", "time", "as_of", "origin", "ahead", "value", "lower", "upper"]
    found = [home.table("world", "predictions") for home in homes]
    told = [table.collect(table.scan().select(numbers)).sort(numbers[:3]) for table in found]
    assert told[0].height > 0
    assert told[0].equals(told[2])
