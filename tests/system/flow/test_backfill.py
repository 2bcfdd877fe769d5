"""A backfill is what live runs would have given, row for row, whatever became known when."""

import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tests.effort import rounds
from tests.worlds.flow import HOUR, HOURS, NOW, last, system_of, world

from headrace.errors import NotEnoughDataError, UsageError
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.tasks.forecast.matured import MARK

OF_THE_RUN = ("run_id", "created_at", "data_version", "predictions_version", "_version")
"""What differs between two runs that saw the same."""


def live(system, home, times, uri):
    failed = []
    for i, as_of in enumerate(times):
        try:
            run(system, home, RunRequest(as_of, NOW + timedelta(seconds=i), uri))
        except NotEnoughDataError:
            failed.append(as_of)
    return failed


def rows(home, name):
    table = home.table("world", name)
    if not table.exists():
        return pl.DataFrame()
    frame = table.collect(table.scan())
    if name == "metrics":
        frame = frame.filter(pl.col("scope") != MARK)
    frame = frame.drop(OF_THE_RUN, strict=False)
    return frame.sort(sorted(frame.columns)).select(sorted(frame.columns))


def told(home):
    """What runs with predictions said of themselves."""
    table = home.table("world", "runs")
    records = map(json.loads, table.collect(table.scan())["record"]) if table.exists() else ()
    names = ("as_of", "origin", "predictions", "skipped")
    return sorted(([each[name] for name in names] for each in records if each["pins"]), key=str)


def same(one, two, system):
    assert told(one) == told(two)
    names = (
        "events" if system.contract.aggregates else "raw",
        "predictions",
        "metrics",
        "models",
        f"features-{system.features.digest}",
    )
    for name in names:
        ours, theirs = rows(one, name), rows(two, name)
        if name == "models" and ours.height and theirs.height:  # numbered by the server, pinned to the data's version
            ours, theirs = (each.select("event", "version", "known_at", "digest", "reason") for each in (ours, theirs))
        assert ours.equals(theirs, null_equal=True), name
        assert ours.height or name in ("predictions", "metrics", "models"), name


@given(
    seed=st.integers(0, 10_000),
    gaps=st.sampled_from([0.0, 0.1]),
    late=st.sampled_from([0, 3]),
    corrections=st.sampled_from([0.0, 0.02, 0.3]),
    ahead=st.booleans(),
    train=st.sampled_from(["never", "4h"]),
    workers=st.sampled_from([1, 1, 2]),
    every=st.sampled_from([1, 2]),
    begin=st.sampled_from([10, 24, HOURS - 40]),
    silent=st.one_of(st.none(), st.integers(-2, 8)),
    born=st.one_of(st.none(), st.integers(-2, 8)),
)
@example(7, 0.0, 0, 0.0, False, "never", 1, 1, 10, 3, 3)
@settings(
    max_examples=rounds(2, 60),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes and shows little
)
def test_it_equals_live_runs(place, seed, gaps, late, corrections, ahead, train, workers, every, begin, silent, born):
    system = system_of(train)
    one, two = place("live"), place("backfill")
    lives = {2: forgotten(system, begin - silent) if silent is not None else (0, HOURS)}
    lives[3] = (HOURS - begin + born, HOURS) if born is not None else (0, 0)
    facts = world(seed, places=4, gaps=gaps, late=late, corrections=corrections, ahead=ahead, lives=lives)
    facts.write_parquet(one.path / "facts.parquet")
    uri = f"file:{one.path}/facts.parquet"
    stretch = DateRange(last(begin), last(begin - 8), HOUR * every)
    failed = live(system, one, stretch.times(), uri)
    done = backfill(system, two, BackfillRequest(stretch, NOW, uri, workers=workers))
    assert [datetime.fromisoformat(each["as_of"]) for each in done.failed] == failed
    assert done.runs == len(stretch.times()) - len(failed)
    same(one, two, system)
    again = backfill(system, two, BackfillRequest(stretch, NOW, uri, workers=1))
    assert (again.runs, again.predictions) == (done.runs, done.predictions)
    assert (again.repeated, again.stored, again.scored, again.ingested) == (done.runs, 0, 0, 0)
    same(one, two, system)


def forgotten(system, back):
    """Hours between which a place is heard of that runs so many hours before the end no longer look back at."""
    reach = system.model.lookback(system.features, system.step, system.horizon) // HOUR
    return 0, max(HOURS - back - reach, 3)


def test_a_stretch_holds_its_times():
    assert DateRange(last(3), last(1), HOUR).times() == [last(3), last(2), last(1)]
    assert DateRange(last(3), last(1), 3 * HOUR).times() == [last(3)]
    for wrong in (DateRange(last(1), last(3), HOUR), DateRange(last(3), last(1), 0 * HOUR)):
        with pytest.raises(UsageError):
            wrong.times()
