"""Times that name the end of a step: the same system as one that names the begin and hears of it a step later."""

import json
from datetime import timedelta

import polars as pl
import pytest
from tests.system.flow.test_backfill import live, same
from tests.worlds.flow import HOUR, NOW, last, system_of, world

from headrace.config import override
from headrace.contract import KnownTimes
from headrace.features import lag
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.grid.date_range import DateRange
from headrace.pipelines.ingest import validate
from headrace.sources import Records
from headrace.sources.events import EventDecoder, EventFacts


def test_a_backfill_equals_live_runs_and_both_those_that_name_the_begin(place):
    begin = override(
        system_of("4h"), {"source": {"lag": "90m"}, "contract": {"columns": {"warmth": {"known_future": "9h"}}}}
    )
    end = override(begin, {"source": {"lag": "30m"}, "contract": {"columns": {"time": {"label": "end"}}}})
    rows = world(5, gaps=0.05, ahead=False).drop("known_at")
    homes = [place(name) for name in ("live", "backfill", "begin")]
    rows.with_columns(pl.col("time") + HOUR).write_parquet(homes[0].path / "facts.parquet")
    rows.write_parquet(homes[2].path / "facts.parquet")
    ending, beginning = (f"file:{homes[i].path}/facts.parquet" for i in (0, 2))
    stretch = DateRange(last(24) + timedelta(minutes=40), last(18) + timedelta(minutes=40), 2 * HOUR)
    assert live(end, homes[0], stretch.times(), ending) == []
    assert backfill(end, homes[1], BackfillRequest(stretch, NOW, ending)).failed == []
    same(homes[0], homes[1], end)
    backfill(begin, homes[2], BackfillRequest(stretch, NOW, beginning))
    numbers = ["place", "time", "as_of", "origin", "ahead", "value", "lower", "upper"]
    found = [home.table("world", "predictions") for home in homes]
    told = [table.collect(table.scan().select(numbers)).sort(numbers[:3]) for table in found]
    assert told[0].height > 0
    assert told[0].equals(told[2])


@pytest.mark.parametrize("aggregate", [None, "sum"])
def test_what_was_read_from_a_topic_is_moved_once(place, aggregate):
    columns = {
        "time": {"label": "end"},
        "load": {"nullable": False, "aggregate": aggregate},
        "warmth": {"known_future": False},
    }
    system = override(system_of(), {"source": {"lag": "1h"}})
    fields = {name: getattr(system, name) for name in type(system).model_fields} | {
        "features": {"was": lag("load", "1h")}
    }
    system, home = override(type(system)(**fields), {"contract": {"columns": columns}}), place(f"topic{aggregate}")
    shape = system.event_shape(home.grid(system))
    decode = EventDecoder(shape)
    texts = ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
    events = decode([json.dumps({"place": "a", "time": text, "load": 1.0}).encode() for text in texts], [2**52] * 2)
    facts = EventFacts(shape, decode)
    for i in range(2):
        facts.add(events, i, int(events.at[i]))
    records = Records(facts.frame(), "kafka://localhost:9092/t", KnownTimes(column="known_at"), streamed=True)
    assert validate(system, home, records, as_of=last(), now=NOW).added == 2
    table = home.raw(system)
    stored = table.collect(table.scan().select("time", "known_at")).sort("time")
    assert stored["time"].dt.truncate("1h").dt.hour().to_list() == [0, 1]
    assert stored["known_at"].dt.hour().to_list() == [2, 3]  # the end, and the source's lag of an hour
