"""Series that have gone silent, beside an oracle in plain words, at many times at once and at each by itself."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.loop.silences import PAST, SilenceRequest, silences, stretches, width_of

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = SilenceRequest(("k",), 3 * HOUR, 24 * HOUR)
TIMES = [BEGIN + 6 * HOUR * n for n in range(20)]
UTC_TIME = pl.Datetime("us", "UTC")


def frame(rows):
    facts = pl.LazyFrame(rows, schema={"k": pl.String, "known_at": UTC_TIME, "_observed": UTC_TIME}, orient="row")
    return stretches(facts, ["k"], width_of(REQUEST.least, TIMES[1] - TIMES[0])).collect()


def stretch(moment):
    """Of three hours, to its end."""
    return -((BEGIN - moment) // (3 * HOUR))


def oracle(rows, time):
    """Series by series, in plain words."""
    rows = [row for row in rows if row[1] <= time]
    alive = {}
    for key in sorted({row[0] for row in rows}):
        moments = sorted(row[1] for row in rows if row[0] == key)
        if moments[-1] + REQUEST.ended > time:
            alive[key] = moments
    newest = max((moments[-1] for moments in alive.values()), default=None)
    lines = []
    for key, moments in alive.items():
        last = moments[-1]
        if newest - last <= REQUEST.least:
            continue
        ends = {stretch(moment): moment for moment in moments}
        between = [(a, b) for a, b in pairwise(moments) if stretch(a) != stretch(b)]
        pauses = [b - a for a, b in between if ends[stretch(b)] > last - REQUEST.ended / 2]
        usual = [pause.total_seconds() for pause in pauses if pause <= REQUEST.ended / 2]
        lines.append((time, key, last, (newest - last).total_seconds(), max(usual, default=None), len(usual)))
    return len(alive), lines


hours = st.lists(st.integers(0, 120), unique=True, max_size=25)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcd"), hours, max_size=4))
def test_many_times_at_once_say_what_an_oracle_says_of_each(series):
    rows = [(key, BEGIN + n * HOUR, BEGIN + (n - 2) * HOUR) for key, known in series.items() for n in known]
    together = silences(frame(rows), TIMES, REQUEST)
    for time in TIMES:
        count, lines = oracle(rows, time)
        said = together.filter(pl.col("time") == time)
        assert set(said["_alive"]) == ({count} if count else set())
        named = said.filter(pl.col("k").is_not_null())
        assert sorted(named.select("time", "k", "known_at", "_seconds", "_usual", "_pauses").rows()) == lines
        assert (named["_observed"] == named["known_at"] - 2 * HOUR).all()
        # nothing before the spans that are read changes what is said
        recent = [row for row in rows if time - PAST * REQUEST.ended < row[1] <= time]
        assert silences(frame(recent), [time], REQUEST).rows() == said.rows()
