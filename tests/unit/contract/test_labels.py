"""Times that name the end of a step, hours from 1 to 24, and clocks without leading zeros: at every door alike."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from headrace.contract import Column, Contract, KnownTimes, check
from headrace.contract.times import as_written
from headrace.declaration import parse_duration
from headrace.errors import DeclarationError
from headrace.grid import Cadence
from headrace.sources.events import EventDecoder, EventFacts, EventShape

NOW = datetime(2027, 1, 1, tzinfo=UTC)
ZERO = timedelta(0)


def contract(aggregate=None, **time) -> Contract:
    columns = (
        Column("place", "category"),
        Column("time", "time", **time),
        Column("load", "float", aggregate=aggregate),
    )
    return Contract(columns=columns, max_invalid_fraction=1)


def of_file(rules: Contract, texts: list, step: str, lag=ZERO, as_of=NOW):
    """The good rows, and what is wrong with the others."""
    frame = pl.DataFrame({"place": "a", "time": texts, "load": [float(i) for i in range(len(texts))]}, strict=False)
    column = rules.column("time")
    grid = Cadence(parse_duration(step), column.zone, moved=column.align or rules.aggregates)
    found = check(
        rules, frame, keys=("place",), time="time", grid=grid, as_of=as_of, now=NOW, known=KnownTimes(lag=lag)
    )
    return found, [reason for reasons in found.bad["reasons"] for reason in reasons]


def of_events(rules: Contract, texts: list, grid, lag=ZERO) -> tuple[pl.DataFrame, list[str]]:
    """The same of events on a topic, which HTTP reads with the same decoder."""
    aggregates = tuple(each for c in rules.columns if (each := c.aggregated) is not None)
    shape = EventShape(rules, ("place",), "time", ("load",), grid, lag, ZERO, ZERO, aggregates=aggregates)
    decode = EventDecoder(shape)
    rows = [json.dumps({"place": "a", "time": text, "load": float(i)}).encode() for i, text in enumerate(texts)]
    events, facts = decode(rows, [2**52] * len(rows)), EventFacts(shape, decode)
    for i in range(len(events.rows)):
        facts.add(events, i, int(events.at[i]))
    alone = [decode([row], [2**52]) for row in rows]
    assert [int(each.at[0]) for each in alone if each.rows] == events.at.tolist()
    return facts.frame(), [reason for _, reason in events.bad]


def local(zone: str, *parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


CASES = [
    # step, columns' fields, texts, begins (as written in the zone), ends
    ("1h", {"zone": "UTC"}, ["2026-01-01 01:00", "2026-01-02T00:00Z"], ["2026-01-01T00", "2026-01-01T23"], "1h"),
    ("1h", {"zone": "UTC"}, ["2026-01-01 01:00", "2026-01-01 24:00"], ["2026-01-01T00", "2026-01-01T23"], "1h"),
    ("15m", {"zone": "UTC"}, ["2026-01-01 00:15", "2026-01-02 00:00"], ["2026-01-01T00", "2026-01-01T23:45"], "15m"),
    (
        "15m",
        {"zone": "UTC", "format": "%d/%m/%Y %H:%M", "midnight": "ends"},
        ["1/1/2026 0:15", "1/1/2026 23:45", "1/1/2026 0:00"],
        ["2026-01-01T00", "2026-01-01T23:30", "2026-01-01T23:45"],
        "15m",
    ),
    (
        "1h",
        {"zone": "UTC", "format": "%Y-%m-%d %H"},
        ["2026-01-01 1", "2026-01-01 24", "2026-01-02 01"],
        ["2026-01-01T00", "2026-01-01T23", "2026-01-02T00"],
        "1h",
    ),
    (
        "30m",
        {"zone": "UTC", "format": "%Y%m%d %H%M"},
        ["20260101 30", "20260101 930", "20260101 2400", "20260102 0100"],
        ["2026-01-01T00", "2026-01-01T09", "2026-01-01T23:30", "2026-01-02T00:30"],
        "30m",
    ),
    ("1h", {"format": "epoch_s"}, ["1767229200", "1767232800"], ["2026-01-01T00", "2026-01-01T01"], "1h"),
    ("1d", {"zone": "UTC"}, ["2026-01-01", "2026-01-02"], ["2026-01-01", "2026-01-02"], "1d"),
    ("1d", {"zone": "UTC"}, ["2026-01-01 00:00", "2026-01-02 00:00"], ["2025-12-31", "2026-01-01"], "1d"),
    ("1w", {"zone": "UTC"}, ["2026-01-11", "2026-01-18"], ["2026-01-05", "2026-01-12"], "7d"),
    ("1mo", {"zone": "UTC"}, ["2026-01-31", "2026-02-28"], ["2026-01-01", "2026-02-01"], None),
    ("1mo", {"zone": "UTC"}, ["2026-02-01 00:00", "2026-03-01T00:00"], ["2026-01-01", "2026-02-01"], None),
    ("1mo", {"zone": "UTC"}, ["2026-01", "2026M02"], ["2026-01-01", "2026-02-01"], None),
    ("1q", {"zone": "UTC"}, ["2026-Q1", "2026Q2"], ["2026-01-01", "2026-04-01"], None),
    ("1q", {"zone": "UTC"}, ["2026-03-31", "2026-06"], ["2026-01-01", "2026-04-01"], None),
    ("1y", {"zone": "UTC"}, ["2024", "2025-12-31"], ["2024-01-01", "2025-01-01"], None),
    ("1b", {"zone": "UTC"}, ["2026-01-02", "2026-01-05"], ["2026-01-02", "2026-01-05"], None),
]


@pytest.mark.parametrize(("step", "fields", "texts", "begins", "length"), CASES)
def test_a_step_is_stored_under_its_begin_and_known_at_its_end(step, fields, texts, begins, length) -> None:
    rules = contract(label="end", **fields)
    found, wrong = of_file(rules, texts, step, lag=timedelta(hours=2))
    assert wrong == []
    wanted = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in begins]
    assert found.good["time"].to_list() == wanted
    known = found.grid.ends(found.good["time"]) + timedelta(hours=2)
    if step != "1b":  # a Friday ends on Saturday, before Monday begins
        assert found.good["known_at"].to_list() == known.to_list()
    if length is not None:
        assert (known - found.good["time"]).unique().to_list() == [parse_duration(length) + timedelta(hours=2)]
    events, bad = of_events(rules, texts, found.grid, lag=timedelta(hours=2))
    assert bad == []
    assert events.equals(found.good)


def test_local_hours_of_a_clock_change_are_those_that_begin_an_hour_before() -> None:
    zone = "America/New_York"
    rules = contract(label="end", zone=zone, ambiguous="in_order")
    spring = ["2016-03-13 01:00", "2016-03-13 02:00", "2016-03-13 04:00"]  # as PJM writes them: there is no 03:00
    autumn = ["2016-11-06 01:00", "2016-11-06 02:00", "2016-11-06 02:00", "2016-11-06 03:00"]
    found, wrong = of_file(rules, spring + autumn, "1h")
    assert wrong == []
    first, last = local(zone, 2016, 3, 13, 0), local(zone, 2016, 11, 6, 0)
    hours = [first + timedelta(hours=n) for n in range(3)] + [last + timedelta(hours=n) for n in range(4)]
    assert found.good["time"].to_list() == hours
    assert (found.good["known_at"] - found.good["time"]).unique().to_list() == [timedelta(hours=1)]
    _, wrong = of_file(rules, ["2016-03-13 03:00"], "1h")
    assert wrong == [f"time: '2016-03-13 03:00' does not exist in {zone} (clocks go forward)"]


def test_local_days_are_those_of_the_zone() -> None:
    rules = contract(label="end", zone="Europe/London")
    texts = ["2011-03-27 00:00", "2011-03-28 00:00", "2011-03-28T23:00:00Z", "2011-10-31"]
    found, wrong = of_file(rules, texts, "1d")
    assert wrong == []
    days = [(3, 26), (3, 27), (3, 28), (10, 31)]
    assert found.good["time"].to_list() == [local("Europe/London", 2011, *day) for day in days]
    events, bad = of_events(rules, texts, found.grid)
    assert (bad, events.equals(found.good)) == ([], True)


@pytest.mark.parametrize("kind", ["sum", "last"])
def test_an_event_on_the_border_counts_for_the_step_that_ends(kind: str) -> None:
    rules = contract(kind, label="end", zone="UTC")
    texts = ["2026-01-01 00:15", "2026-01-01 00:30", "2026-01-01 01:00", "2026-01-01 01:00:01"]
    found, wrong = of_file(rules, texts, "1h", lag=timedelta(minutes=5))
    assert wrong == []
    assert found.grid.floored(found.good["time"]).dt.hour().to_list() == [0, 0, 0, 1]
    known = [datetime.fromisoformat(each).replace(tzinfo=UTC) + timedelta(minutes=5) for each in texts]
    assert found.good["known_at"].to_list() == known
    events, bad = of_events(rules, texts, found.grid, lag=timedelta(minutes=5))
    assert (bad, events.equals(found.good)) == ([], True)
    days, wrong = of_file(rules, ["2026-01-01", "2026-01-02 00:00", "2026-01-02 00:01"], "1d")
    assert days.grid.floored(days.good["time"]).dt.day().to_list() == [1, 1, 2]


def test_times_that_are_moved_down_end_the_step_before() -> None:
    rules = contract(label="end", zone="UTC", align=True)
    texts = ["2026-01-01 01:00:07", "2026-01-01 02:00:30"]
    found, wrong = of_file(rules, texts, "1h")
    assert wrong == []
    assert found.good["time"].dt.hour().to_list() == [0, 1]
    assert found.good["known_at"].dt.to_string("%H:%M:%S").to_list() == ["01:00:07", "02:00:30"]
    events, bad = of_events(rules, texts, found.grid)
    assert (bad, events.equals(found.good)) == ([], True)


def test_typed_times_and_dates() -> None:
    rules = contract(label="end", zone="UTC")
    typed, _ = of_file(rules, [datetime.fromisoformat(each) for each in ("2026-01-01T01:00", "2026-01-02")], "1h")
    assert typed.good["time"].dt.to_string("%d %H").to_list() == ["01 00", "01 23"]
    dates, _ = of_file(rules, [date(2026, 1, 31), date(2026, 2, 28)], "1mo")
    assert dates.good["time"].dt.month().to_list() == [1, 2]
    ends = contract(label="end", midnight="ends", zone="UTC")
    months, _ = of_file(ends, [datetime.fromisoformat(each) for each in ("2026-01-31", "2026-02-28")], "1mo")
    assert months.good["time"].dt.to_string("%m-%d").to_list() == ["01-01", "02-01"]


def test_what_lies_between_steps_or_in_the_future_is_told_as_written() -> None:
    rules = contract(label="end", zone="UTC")
    texts = ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 02:30", "2027-01-01 01:00"]
    found, wrong = of_file(rules, texts, "1h")
    assert found.good.height == 2
    assert "2026-01-01T02:30:00Z is not a multiple of the step 1h" in wrong[0]
    assert "2027-01-01T01:00:00Z is in the future" in wrong[1]
    later, wrong = of_file(rules, texts[:2], "1h", as_of=datetime(2026, 1, 1, 1, 59, tzinfo=UTC))
    assert (later.good.height, later.pending, wrong) == (1, 1, [])


@pytest.mark.parametrize(
    "text", ["2026-01-01 24:01", "2026-01-01 24:00:01", "2026-01-01 25:00", "2026-01-01 24:00:00.5"]
)
def test_a_day_ends_with_24_00(text: str) -> None:
    rules = contract(zone="UTC")
    found, wrong = of_file(rules, [text], "1m")
    assert (found.good.height, wrong) == (0, [f"time: '{text}' is not a time"])
    assert of_events(rules, [text], found.grid)[1] == wrong
    whole, _ = of_file(rules, ["2026-01-01 24:00", "2026-01-01T24:00:00+01:00"], "1m")
    assert whole.good["time"].dt.to_string("%d %H").to_list() == ["02 00", "01 23"]


@pytest.mark.parametrize(
    ("form", "texts", "clocks"),
    [
        ("%H%M %d/%m/%Y", ["5 1/1/2026", "123 1/1/2026", "1230 01/01/2026"], ["00:05", "01:23", "12:30"]),
        ("%Y-%m-%dT%H%M%S", ["2026-01-01T905", "2026-01-01T123045"], ["00:09", "12:30"]),
        ("%d %b %Y, %H.%M", ["1 Jan 2026, 9.05", "31 Dec 2025, 24.00"], ["09:05", "00:00"]),
        ("%d/%m/%Y %H:%M:%S", ["31/12/2025 24:00:00"], ["00:00"]),
    ],
)
def test_clocks_without_leading_zeros(form: str, texts: list[str], clocks: list[str]) -> None:
    found, wrong = of_file(contract(zone="UTC", format=form), texts, "1s")
    assert wrong == []
    assert found.good["time"].dt.to_string("%Y-%m-%d %H:%M").to_list() == [f"2026-01-01 {each}" for each in clocks]


@pytest.mark.parametrize(
    ("form", "text"),
    [("%H:%M %d/%m/%Y", "24:01 1/1/2026"), ("%Y-%m-%d %H%M", "2026-01-01 2401"), ("%Y-%m-%d %H", "2026-01-01 25")],
)
def test_no_clock_goes_beyond_24_00(form: str, text: str) -> None:
    found, wrong = of_file(contract(zone="UTC", format=form), [text], "1s")
    assert (found.good.height, len(wrong)) == (0, 1)


def test_what_is_written_is_read_again() -> None:
    column = Column("time", "time", zone="UTC", label="end", midnight="ends", format="%d/%m/%Y %H:%M")
    times = pl.Series([datetime(2026, 1, 1, 0, 15, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)])
    assert as_written(column, times).to_list() == ["01/01/2026 00:15", "01/01/2026 00:00"]


def test_the_json_schema_tells_it() -> None:
    properties = contract(label="end", zone="UTC", description="Metered.").json_schema()["properties"]
    assert properties["time"]["description"] == "Metered. When its step ends."


def test_a_steel_plants_last_row_of_a_day_bears_its_own_date(shared_data) -> None:
    rules = Contract(
        columns=(
            Column("date", "time", zone="UTC", format="%d/%m/%Y %H:%M", label="end", midnight="ends"),
            Column("Usage_kWh", "float"),
        )
    )
    rows = pl.read_csv(shared_data("steel_industry/Steel_industry_data.csv.gz"), infer_schema=False)
    grid = Cadence(timedelta(minutes=15), "UTC")
    found = check(rules, rows, time="date", grid=grid, as_of=NOW, now=NOW)
    assert (found.good.height, found.bad.height) == (26_208, 0)
    times = found.good["date"]
    assert (times[0], times[-1]) == (datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 9, 30, 23, 45, tzinfo=UTC))
    assert times.diff().drop_nulls().unique().to_list() == [timedelta(minutes=15)]


def test_pjm_hours_are_one_after_the_other(shared_data) -> None:
    zone = Column("Datetime", "time", zone="America/New_York", label="end", ambiguous="in_order")
    rules = Contract(columns=(zone, Column("PJME_MW", "float")))
    rows = pl.read_csv(shared_data("pjme_hourly/PJME_hourly.csv.gz"), infer_schema=False)
    grid = Cadence(timedelta(hours=1), "America/New_York")
    found = check(rules, rows, time="Datetime", grid=grid, as_of=NOW, now=NOW)
    assert (found.good.height, found.bad.height) == (rows.height, 0)
    between = found.good["Datetime"].sort().diff().drop_nulls()
    assert between.min() == timedelta(hours=1)
    assert (between > timedelta(hours=1)).sum() <= 15  # of the nights in which two hours end at 02:00 some have one row


def test_what_a_declaration_must_say() -> None:
    with pytest.raises(DeclarationError, match="only a time column has a label"):
        Contract(columns=(Column("a", "float", label="end"),))
    with pytest.raises(DeclarationError, match='declare label="end"'):
        Contract(columns=(Column("a", "time", midnight="ends"),))


@pytest.mark.parametrize(
    ("form", "texts", "begins"),
    [
        ("%m/%Y", ["1/2025", "02/2025"], ["2025-01-01", "2025-02-01"]),
        ("%b %Y", ["Mar 2025"], ["2025-03-01"]),
        ("%Y", ["2025"], ["2025-01-01"]),
        ("%G-W%V", ["2025-W01", "2025-W5"], ["2024-12-30", "2025-01-27"]),
        ("%m/%Y %H:%M", ["2/2025 06:00"], ["2025-02-01"]),
    ],
)
def test_a_name_without_a_day_means_its_first(form: str, texts: list[str], begins: list[str]) -> None:
    rules = contract(zone="UTC", format=form)
    found, wrong = of_file(rules, texts, "1h")
    assert wrong == []
    assert found.good["time"].dt.to_string("%Y-%m-%d").to_list() == begins
    events, _ = of_events(rules, texts, found.grid)
    assert events["time"].dt.to_string("%Y-%m-%d").sort().to_list() == begins
