"""What readers saw is what an oracle says, whatever the size of the parts that facts are read in."""

from datetime import timedelta

import numpy as np
import pytest
from tests.facts import append, facts, hour, latest_of

from headrace.errors import NotEnoughDataError
from headrace.grid import Grid
from headrace.store import Table, history
from headrace.store.history import SeriesLayout
from headrace.store.snapshots import read_snapshots

SERIES = SeriesLayout(("key",), "time", Grid(timedelta(hours=1)), ("value",))
TIMES = [hour(20), hour(24), hour(30)]
SPAN = timedelta(hours=12)


@pytest.fixture(params=range(4))
def table(request, tmp_path):
    """Facts of series that begin and end anywhere, late, corrected, in two versions."""
    rng = np.random.default_rng(request.param)
    table = Table(tmp_path / "raw")
    for _ in range(2):
        rows = []
        for key in (None, "b", "a", "c"):
            for event in range(int(rng.integers(0, 12)), int(rng.integers(20, 30))):
                known = event + int(rng.integers(1, 6))
                rows += [(key, event, known + 4 * again, rng.normal()) for again in range(int(rng.integers(0, 3)))]
        append(table, facts([rows[i] for i in rng.permutation(len(rows))]))
    return table


def read(table):
    return read_snapshots(table, SERIES, TIMES, table.version(), span=SPAN)


def test_every_reader_sees_what_was_known_at_its_time(table):
    stored = table.collect(table.scan()).to_dicts()
    views = read(table)
    for reader, as_of in enumerate(TIMES):
        known = latest_of(stored, as_of, table.version())
        origin = max(time for (_, time), value in known.items() if value is not None)
        assert views.origin(reader) == origin
        for number, key in enumerate(views.keys["key"]):
            row = views.history.values["value"][views.rows[reader, number], : views.origins[reader] + 1]
            times = [views.history.start + timedelta(hours=i) for i in range(row.size)]
            expected = [known.get((key, time)) for time in times]
            np.testing.assert_array_equal(row, [np.nan if value is None else value for value in expected])


def test_the_size_of_the_parts_changes_nothing(table, monkeypatch):
    whole = read(table)
    monkeypatch.setattr(history, "PART", 5)
    monkeypatch.setattr(history, "FIRST_STEPS", 1)
    parts = read(table)
    assert parts.keys.equals(whole.keys)
    assert parts.history.keys.equals(whole.history.keys)
    np.testing.assert_array_equal(parts.rows, whole.rows)
    np.testing.assert_array_equal(parts.origins, whole.origins)
    np.testing.assert_array_equal(parts.history.values["value"], whole.history.values["value"])


def test_a_reading_serves_whoever_needs_no_more(table):
    views = read(table)
    assert views.reach(SERIES, SPAN, timedelta())
    assert not views.reach(SERIES, SPAN + timedelta(hours=1), timedelta())
    assert not views.reach(SeriesLayout(("key",), "time", Grid(timedelta(hours=1)), ("other",)), SPAN, timedelta())


def test_nothing_known_is_an_error_that_says_so(table):
    with pytest.raises(NotEnoughDataError, match="nothing is known"):
        read_snapshots(table, SERIES, [hour(-5)], table.version(), span=SPAN)
