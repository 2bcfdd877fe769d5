"""Systems of local days, weeks, months and business days: every door sees the same steps, under their own dates."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from tests.effort import THOROUGH
from tests.system.flow.test_backfill import live, same
from tests.worlds.flow import NOW

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.errors import ContractBroken, DeclarationError
from headrace.features import holiday, lag, seasonal_features
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.pipelines.predictions import replay
from headrace.serving.engine.engine import Engine, Message
from headrace.serving.engine.seeding import Seeding
from headrace.serving.stream import champions
from headrace.store.history import read_latest


def days(first, count, by=1):
    return [first + timedelta(days=by * i) for i in range(count)]


def month_ends(first, count):
    months = [divmod(first * 12 + i + 1, 12) for i in range(count)]
    return [date(year, month + 1, 1) - timedelta(days=1) for year, month in months]


MONTHS = [date(2008 + i // 12, i % 12 + 1, 1) for i in range(150)]
WEEKDAYS = [day for day in days(date(2025, 3, 3), 230) if day.weekday() < 5]
HOURS = [datetime(2025, 6, 1) + timedelta(hours=i) for i in range(500)]  # noqa: DTZ001
CALENDARS = {
    "days": ("1d", "Europe/Copenhagen", ("7d",), "7d", "1d", days(date(2025, 6, 1), 160)),
    "days of half hours": ("1d", "Australia/Lord_Howe", ("7d",), "7d", "1d", days(date(2025, 6, 1), 160)),
    "weeks": ("1w", "Europe/London", ("4w",), "2w", "1w", days(date(2022, 1, 3), 150, 7)),
    "months": ("1mo", "America/New_York", ("1y",), "3mo", "1mo", MONTHS),
    "ends of months": ("1mo", "Europe/London", ("1y",), "3mo", "1mo", month_ends(2008, 150)),
    "business days": ("1b", "America/New_York", ("1w",), "1w", "1b", WEEKDAYS),
    "hours": ("1h", "Asia/Kolkata", ("24h",), "6h", "1h", HOURS),
}
"""Step, zone, seasons, horizon, time between runs, and local times."""
MANY = pytest.mark.parametrize("kind", CALENDARS)
COSTLY = ("ends of months", "business days")  # each is stranger than those that are left out


def system_of(kind):
    step, zone, seasons, horizon, every, _ = CALENDARS[kind]
    return System(
        name="world",
        source=Source(),
        contract=Contract(
            columns=(Column("place", "category"), Column("time", "time", zone=zone), Column("load", "float")),
            max_invalid_fraction=0.5,
        ),
        keys=("place",),
        time="time",
        step=step,
        target="load",
        features=seasonal_features("load", seasons=seasons) | {"free": holiday("DK"), "was": lag("load", step)},
        model=Forecaster(seasons=seasons, n_estimators=3, num_leaves=4, min_child_samples=10, max_rows=1000),
        horizon=horizon,
        schedule=Schedule(predict=every, train="never"),
        monitoring=Monitoring(baselines=seasons),
        stream={"allowed_lateness": "400d", "max_clock_skew": "400d"},
    )


def values(kind):
    return [
        (place, at, level + 3 * (i % 7) + (50 if at.weekday() == 6 else 0))
        for place, level in (("a", 100), ("b", 400))
        for i, at in enumerate(CALENDARS[kind][-1])
    ]


@pytest.fixture
def facts(tmp_path):
    def written(kind):
        path = tmp_path / "facts.csv"
        rows = [f"{place},{at},{value}" for place, at, value in reversed(values(kind))]
        path.write_text("\n".join(["place,time,load", *rows]) + "\n")
        return f"file:{path}"

    return written


def begin(kind, at):
    """When the step of a date or local time begins, UTC."""
    zone = ZoneInfo(CALENDARS[kind][1])
    return datetime(*at.timetuple()[:6], tzinfo=zone).astimezone(UTC)


@MANY
def test_every_step_is_stored_under_its_own_date(place, kind, facts):
    home, system = place("home"), system_of(kind)
    done = run(system, home, RunRequest(NOW, NOW, facts(kind), ("ingest", "validate")))
    assert done.quarantined == 0
    table = home.raw(system)
    stored = table.collect(table.scan().filter(pl.col("place") == "a").sort("time"))
    assert stored["time"].to_list() == [begin(kind, at) for at in CALENDARS[kind][-1]]
    slots = home.grid(system).slots(stored["time"].to_physical().to_numpy())
    assert (slots == range(slots[0], slots[0] + len(slots))).all()


@pytest.mark.parametrize("kind", CALENDARS if THOROUGH else COSTLY)
def test_a_backfill_is_what_live_runs_would_have_given(place, kind, facts):
    one, two, system, uri = place("one"), place("two"), system_of(kind), facts(kind)
    steps = CALENDARS[kind][-1]
    stretch = DateRange(begin(kind, steps[-5]), NOW, system.schedule.predict, system.dates)
    times = [t for t in stretch.times() if t <= begin(kind, steps[-1])]
    if kind != "ends of months":  # a month after 29 February is 29 March
        assert times == [begin(kind, at) for at in steps[-5:]]
    stretch = DateRange(times[0], times[-1], system.schedule.predict, system.dates)
    live(system, one, times, uri)
    done = backfill(system, two, BackfillRequest(stretch, NOW, uri))
    assert done.runs == 5
    same(one, two, system)
    made = one.table("world", "predictions").collect(one.table("world", "predictions").scan())
    assert replay(one, made.sort("time")["id"][-1])["identical"]
    found = evaluate(system, one, EvaluateRequest(stretch, NOW))
    assert found.origins == 5


@MANY
def test_the_stream_says_what_the_batch_door_says(place, kind, facts):
    home, whole, system, uri = place("home"), place("whole"), system_of(kind), facts(kind)
    events = [row for row in values(kind) if row[1] in CALENDARS[kind][-1][-3:]]
    until = begin(kind, events[0][1]) - timedelta(minutes=1)
    run(system, home, RunRequest(until, NOW, uri, ("ingest", "validate", "train")))
    run(system, whole, RunRequest(NOW, NOW, uri, ("ingest", "validate")))
    shape, champion = system.event_shape(home.grid(system)), champions.champion(system, home, NOW)
    engine = Engine("world", shape, champion, "t", seed=Seeding("world", home, shape))
    said = [{"place": place, "time": str(at), "load": value} for place, at, value in events]
    done = engine.answer([Message(0, i, b"k", json.dumps(e).encode(), 2**43) for i, e in enumerate(said)])
    assert not done.dead
    table = whole.raw(system)
    for answer in (json.loads(body) for _, body in done.outputs):
        as_of = datetime.fromisoformat(answer["as_of"])
        frame = champion.predictor.predict(champion.predictor.snapshots(table, [as_of], table.version())).frame
        rows = frame.filter(pl.col("place") == answer["place"]).select("time", "value", "lower", "upper").rows()
        told = [tuple(step[n] for n in ("time", "value", "lower", "upper")) for step in answer["predictions"]]
        assert [(datetime.fromisoformat(time), *rest) for time, *rest in told] == rows
        assert len(rows) == system.steps


def test_days_of_the_zone_keep_their_weekday(place, tmp_path):
    """Two hundred days with 200 on Sundays and 100 otherwise: no Sunday is forecast as a Saturday."""
    system = System(
        name="world",
        contract=Contract(
            columns=(
                Column("place", "category"),
                Column("time", "time", zone="Europe/Copenhagen"),
                Column("load", "float"),
            )
        ),
        keys=("place",),
        time="time",
        step="1d",
        target="load",
        features=seasonal_features("load", seasons=("7d",)),
        model=Forecaster(seasons=("7d",), n_estimators=10),
        horizon="7d",
    )
    path = tmp_path / "facts.csv"
    rows = [f"a,{day},{200 if day.weekday() == 6 else 100}" for day in days(date(2025, 6, 1), 200)]
    path.write_text("\n".join(["place,time,load", *rows]) + "\n")
    home = place("home")
    done = run(system, home, RunRequest(datetime(2025, 12, 18, tzinfo=UTC), NOW, f"file:{path}"))
    frame = done.predicted.frame.with_columns(pl.col("time").dt.convert_time_zone("Europe/Copenhagen")).sort("value")
    assert frame["time"][-1] == datetime(2025, 12, 21, tzinfo=ZoneInfo("Europe/Copenhagen"))
    assert frame["value"][-1] > 140
    assert frame["time"].min() == datetime(2025, 12, 18, tzinfo=ZoneInfo("Europe/Copenhagen"))


def test_where_steps_begin_is_kept(place, tmp_path):
    """Weeks of the first ingest begin on Mondays, and so do those of every later one."""
    home, system = place("home"), system_of("weeks")

    def ingested(first, system=system):
        path = tmp_path / f"{first}.csv"
        rows = [f"a,{day},1" for day in days(first, 30, 7)]
        path.write_text("\n".join(["place,time,load", *rows]) + "\n")
        return run(system, home, RunRequest(NOW, NOW, f"file:{path}", ("ingest", "validate")))

    assert ingested(date(2022, 1, 3)).ingested == 30
    with pytest.raises(ContractBroken, match="begins on Monday"):
        ingested(date(2022, 1, 4))
    monday = system.model_copy(update={"phase": "2024-01-01"})
    assert ingested(date(2022, 8, 1), monday).ingested == 30
    tuesday = system.model_copy(update={"phase": "2024-01-02"})
    with pytest.raises(DeclarationError, match="another phase"):
        ingested(date(2022, 1, 4), tuesday)
    assert home.grid(system).holds(int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000)


@pytest.mark.parametrize(
    ("step", "zone"), [("1d", "Europe/London"), ("1d", "America/Sao_Paulo"), ("1w", "Europe/London")]
)
def test_events_add_up_by_days_and_weeks_of_the_zone(place, tmp_path, step, zone):
    moments = [datetime(2018, 1, 1, tzinfo=UTC) + timedelta(hours=5 * i) for i in range(1600)]
    path = tmp_path / "sales.csv"
    path.write_text("\n".join(["place,time,load", *(f"a,{at.isoformat()},{i}" for i, at in enumerate(moments))]) + "\n")
    columns = (Column("place", "category"), Column("time", "time", zone=zone), Column("load", "float", aggregate="sum"))
    seasons = ("7d",) if step == "1d" else ("4w",)
    system = System(
        name="world",
        contract=Contract(columns=columns),
        keys=("place",),
        time="time",
        step=step,
        target="load",
        features=seasonal_features("load", seasons=seasons) | {"was": lag("load", step)},
        model=Forecaster(seasons=seasons, n_estimators=3, num_leaves=4, min_child_samples=10),
        horizon=step,
        schedule=Schedule(train="never"),
    )
    wanted = {}
    for i, at in enumerate(moments):
        day = at.astimezone(ZoneInfo(zone)).date()
        first = day - timedelta(days=day.weekday() if step == "1w" else 0)
        wanted[first] = wanted.get(first, 0) + i
    one, two, uri = place("one"), place("two"), f"file:{path}"
    end = moments[-1] + timedelta(days=1)
    run(system, one, RunRequest(end, NOW, uri, ("ingest", "validate")))
    series = one.series(system)
    facts = read_latest(one.raw(system), series, moments[0] - timedelta(days=9)).sort("time")
    found = dict(zip(facts["time"].dt.convert_time_zone(zone).dt.date(), facts["load"], strict=True))
    assert found == wanted
    stretch = DateRange(end - timedelta(days=3), end, timedelta(days=1), system.dates)
    two_live = place("live")
    live(system, two_live, stretch.times(), uri)
    backfill(system, two, BackfillRequest(stretch, NOW, uri))
    same(two_live, two, system)
