"""A score as of a time is the same whoever computes it, when, and in whatever order: runs, backfills, late facts."""

from collections import defaultdict
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.effort import rounds
from tests.worlds.flow import HOUR, START, system_of

from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.settings import Settings
from headrace.tasks.forecast.anomalies import read_anomalies
from headrace.tasks.forecast.matured import RUN, SERIES, plan, score
from headrace.tasks.forecast.monitoring import monitor, read_scores

SYSTEM = system_of()
PLACES, TIMES, AHEAD = ("p0", "p1", None), 8, 3
UTC = pl.Datetime("us", "UTC")
END = START + 40 * HOUR
EVERY = [START + timedelta(minutes=30 * i) for i in range(2 * 40 + 1)]


def facts(seed):
    """Rows about three places: late, corrected, taken back; known at odd seconds too."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in PLACES:
        for hour in range(TIMES):
            known = START + HOUR * hour
            for _ in range(rng.choice([0, 1, 1, 2, 3])):
                known += timedelta(seconds=int(rng.choice([0, 3600, 3661, 20_000])))
                value = None if rng.random() < 0.2 else float(rng.integers(0, 50))
                rows.append((place, START + HOUR * hour, value, known))
    schema = {"place": pl.String, "time": UTC, "load": pl.Float64, "known_at": UTC}
    return pl.DataFrame(rows, schema=schema, orient="row")


def said(hour, revision):
    """The predictions of a run so many hours after the start, or what it said instead later."""
    made = START + HOUR * hour
    rows = [
        (place, made + HOUR * step, made, step, 10.0 * step + hour + 7.7 * revision, revision, i + 3.0)
        for i, place in enumerate(PLACES)
        for step in range(1, AHEAD + 1)
    ]
    names = ["place", "time", "as_of", "ahead", "value", "revision", "baseline_12h"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("time", "as_of").cast(UTC))
    return frame.with_columns(
        lower=pl.col("value") - 5, upper=pl.col("value") + 5, scale=pl.lit(2.0), known_at=pl.col("as_of")
    )


def put(home, name, rows):
    identity, compare = ["place", "time"], ["load"]
    if name == PREDICTIONS:
        identity, compare = [*identity, "as_of", "revision"], ["value"]
    home.table("world", name).append(rows, identity=identity, compare=compare, window="time")


def scores_at(home, moment):
    """The scores as of a time, without who computed them; one that did not change may have been told again later."""
    found = [read_scores(SYSTEM, home, moment, scope=scope) for scope in (SERIES, RUN)]
    dropped = ("data_version", "predictions_version", "_version", "known_at")
    return [None if frame is None else frame.drop(dropped) for frame in found]


def judged_at(home, moment):
    """How values were judged as of a time, without who did."""
    found = read_anomalies(SYSTEM, home, as_of=moment)
    dropped = ("data_version", "predictions_version", "_version", "said")
    return None if found is None else found.drop(dropped).filter(pl.col("degree").is_not_null())


def judged_plainly(world, rows):
    """What is to be judged, with what was expected, by hand: series, time, known time, value and forecast."""
    standing, found = {}, []
    for frame in world.given:
        for row in frame.iter_rows(named=True):
            standing[row["place"], row["time"], row["as_of"]] = row["value"]
    for place in PLACES:
        newest, seen = None, set()
        own = rows.filter(pl.col("place").eq_missing(pl.lit(place))).sort("known_at", "time", "_version")
        for time, value, known in own.select("time", "load", "known_at").iter_rows():
            first, late = time not in seen, newest is not None and time < newest
            seen.add(time)
            newest = time if newest is None else max(newest, time)
            made = [as_of for (p, t, as_of) in standing if (p, t) == (place, time) and as_of < known]
            if first and not late and value is not None and made:
                found.append((place, time, known, value, standing[place, time, max(made)]))
    return sorted(found, key=str)


ops = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(-AHEAD, TIMES - 2)),
        st.tuples(st.just("again"), st.integers(-AHEAD, TIMES - 2)),
        st.tuples(st.just("ingest"), st.integers(0, 3)),
        st.tuples(st.just("monitor"), st.integers(0, len(EVERY) - 1)),
        st.tuples(st.just("plan"), st.integers(0, len(EVERY) - 1)),
        st.tuples(st.just("finish"), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=14,
)


class World:
    """A home in which things happen in some order."""

    def __init__(self, path, seed):
        self.home, self.facts = Home(Settings(home=path)), facts(seed)
        self.part = np.random.default_rng(seed).integers(0, 4, self.facts.height)
        self.revision, self.given, self.planned = defaultdict(int), [], []
        put(self.home, RAW, self.facts.filter(pl.Series(self.part == 0)))

    def run(self, hour):
        if hour not in self.revision:
            self.revision[hour] = 0
            self.say(hour)

    def again(self, hour):
        if hour in self.revision:
            self.revision[hour] += 1
            self.say(hour)

    def say(self, hour):
        self.given.append(said(hour, self.revision[hour]))
        put(self.home, PREDICTIONS, self.given[-1])

    def ingest(self, part):
        put(self.home, RAW, self.facts.filter(pl.Series(self.part == part)))

    def monitor(self, at):
        monitor(SYSTEM, self.home, as_of=EVERY[at])

    def plan(self, at):
        due = plan(SYSTEM, self.home, EVERY[at])
        if due is not None:
            self.planned.append(due)

    def finish(self, which):
        """One that began earlier ends now: it saw less than others did meanwhile."""
        if self.planned:
            due = self.planned.pop(which % len(self.planned))
            for part in due.parts():
                score(SYSTEM, self.home, due.mark, part, last=part is due.parts()[-1])


@pytest.mark.parametrize("tail", [False, True])
@given(seed=st.integers(0, 1000), happens=ops)
@settings(max_examples=rounds(2, 60), phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_any_order_gives_the_scores_of_one_monitor_at_the_end(tmp_path_factory, tail, seed, happens):
    path = tmp_path_factory.mktemp("worlds")
    world = World(path / "one", seed)
    for name, argument in [*happens, ("run", 2)]:
        getattr(world, name)(argument)
    if tail:  # those that began before end after all others
        monitor(SYSTEM, world.home, as_of=END)
    while world.planned:
        world.finish(0)
    monitor(SYSTEM, world.home, as_of=END)
    raw, fresh = world.home.table("world", RAW), Home(Settings(home=path / "fresh"))
    for part in raw.collect(raw.scan()).sort("_version").partition_by("_version", maintain_order=True):
        put(fresh, RAW, part.drop("_version"))
    for each in world.given:
        put(fresh, PREDICTIONS, each)
    monitor(SYSTEM, fresh, as_of=END)
    for moment in [*EVERY[::13], END]:
        for ours, theirs in zip(scores_at(world.home, moment), scores_at(fresh, moment), strict=True):
            assert (ours is None) == (theirs is None), moment
            if ours is not None:
                assert_frame_equal(ours, theirs, check_exact=True, check_column_order=False)
        ours, theirs = judged_at(world.home, moment), judged_at(fresh, moment)
        assert (ours is None or ours.is_empty()) == (theirs is None or theirs.is_empty()), moment
        if ours is not None and ours.height:
            assert_frame_equal(ours, theirs, check_exact=True)
    judged = judged_at(fresh, END)
    rows = [] if judged is None else judged.select("place", "time", "known_at", "actual", "value").rows()
    assert sorted(rows, key=str) == judged_plainly(world, raw.collect(raw.scan()))
    compare_with_plain(world, raw.collect(raw.scan()).sort("known_at", "_version"))
    version = fresh.table("world", METRICS).version()
    assert monitor(SYSTEM, fresh, as_of=END).rows == 0
    assert fresh.table("world", METRICS).version() == version  # not even a mark


def compare_with_plain(world, rows):
    """The scores as of the end, added up by hand."""
    truth, known = {}, set()
    for place, time, value in rows.select("place", "time", "load").iter_rows():
        if value is not None or (place, time) in truth:
            truth[place, time] = value
            known.add(time)
    standing = {}
    for frame in world.given:
        for row in frame.iter_rows(named=True):
            standing[row["place"], row["time"], row["as_of"]] = row
    found = {SERIES: defaultdict(lambda: [0, 0, 0.0]), RUN: defaultdict(lambda: [0, 0, 0.0])}
    for (place, time, made), row in standing.items():
        if time in known:
            actual = truth.get((place, time))
            for group in (found[SERIES][place, time], found[RUN][made, time]):
                group[0] += 1
                group[1] += actual is not None
                group[2] += abs(row["value"] - actual) if actual is not None else 0.0
    for scope, name in ((SERIES, "place"), (RUN, "made")):
        frame = read_scores(SYSTEM, world.home, END, scope=scope)
        if frame is None:
            assert not found[scope]
            continue
        told = {
            (one, time): list(rest)
            for one, time, *rest in frame.select(name, "time", "expected", "n", "absolute").iter_rows()
        }
        assert told.keys() == found[scope].keys()
        for key, sums in told.items():
            assert sums == pytest.approx(found[scope][key])


def test_an_hourly_run_reads_what_is_due_and_no_more(tmp_path, monkeypatch):
    world = World(tmp_path, 3)
    for part in range(4):
        world.ingest(part)
    for hour in range(-3, 6):
        world.run(hour)
        monitor(SYSTEM, world.home, as_of=START + HOUR * (hour + 4))
    due = plan(SYSTEM, world.home, START + HOUR * 10)
    table = world.home.table("world", RAW)
    news = table.collect(table.scan(as_of=START + 10 * HOUR).filter(pl.col("known_at") > START + 9 * HOUR))
    assert set(due.times) <= set(news["time"])
    assert plan(SYSTEM, world.home, START + HOUR * 9) is None


def test_scores_that_turn_back_are_told_again(tmp_path):
    """A model is taken back and promoted again: its numbers stand again, and so do their scores."""
    world = World(tmp_path, 0)
    for part in range(4):
        world.ingest(part)
    world.run(1)
    told = [monitor(SYSTEM, world.home, as_of=END).overall["wape"]]
    for revision, same in ((1, 5), (2, 0)):
        put(world.home, PREDICTIONS, said(1, same).with_columns(revision=pl.lit(revision, pl.Int64)))
        told.append(monitor(SYSTEM, world.home, as_of=END).overall["wape"])
    assert told[0] == told[2] != told[1]
