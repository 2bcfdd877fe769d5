"""One ordinary file suffices: what is known in advance of a row is known as long before its time as was declared."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from tests.worlds.flow import HOUR, NOW, SEASONS, START, last

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.errors import DeclarationError
from headrace.features import Features, col, seasonal_features
from headrace.features.matrix import every_example, feature_matrix
from headrace.flow.run import RunRequest, run
from headrace.store.history import KnownAsOf
from headrace.store.sight import with_sight
from headrace.store.snapshots import read_snapshots

HOURS = 24 * 12
UTC = pl.Datetime("us", "UTC")


def system_of(lead="3h", *, lag="1h", horizon="6h", tariff=False, known_at=None, name="world", **model):
    return System(
        name=name,
        source=Source(lag=lag, known_at=known_at),
        contract=Contract(
            columns=(
                Column("place", "category"),
                Column("time", "time", zone="UTC"),
                Column("load", "float"),
                Column("warmth", "float", known_future=lead),
                Column("tariff", "integer", known_future=tariff, minimum=0),
            ),
            max_invalid_fraction=0.5,
        ),
        keys=("place",),
        time="time",
        step="1h",
        target="load",
        features=seasonal_features("load", step="1h", seasons=SEASONS) | {"warmth": col("warmth")},
        model=Forecaster(seasons=SEASONS, n_estimators=3, num_leaves=4, min_child_samples=20, max_rows=1000, **model),
        horizon=horizon,
        schedule=Schedule(train="never"),
        monitoring=Monitoring(baselines=SEASONS, window="3d"),
    )


def rows(seed=0, hours=HOURS):
    rng = np.random.default_rng(seed)
    frames = []
    for place in ("a", "b"):
        warmth = rng.normal(10, 3, hours)
        load = 100 + 20 * np.sin(np.arange(hours) / 24 * 2 * np.pi) + 5 * warmth
        times = [START + HOUR * i for i in range(hours)]
        frames.append(pl.DataFrame({"place": place, "time": times, "load": load, "warmth": warmth, "tariff": 1}))
    return pl.concat(frames).with_columns(pl.col("time").cast(UTC))


def file_of(home, frame, name="rows.csv"):
    frame.write_csv(home.path / name)
    return f"file:{home.path}/{name}"


def facts_of(home, **scan):
    table = home.table("world", "raw")
    return table.collect(table.scan(**scan)).sort("place", "time", "known_at", "_version")


def known(home, as_of, column):
    """The last event time at which a column's value was known."""
    facts = facts_of(home, as_of=as_of)
    return facts.filter(pl.col(column).is_not_null())["time"].max()


def test_the_values_ahead_are_known_by_their_lead_and_the_row_by_its_lag(place):
    home, as_of = place("leads"), last(20)
    system = system_of("3h", tariff=True)
    result = run(system, home, RunRequest(as_of, NOW, file_of(home, rows())))
    assert known(home, as_of, "load") == as_of - HOUR
    assert known(home, as_of, "warmth") == as_of + 3 * HOUR
    assert known(home, as_of, "tariff") == last(1)  # always, to the end of the file
    whole = (HOURS - 20) * 2
    assert (result.ingested, result.validation.pending) == (whole, 2 * HOURS - whole)
    assert (
        result.ahead == 2 * HOURS + whole + 2 * 4
    )  # the tariff of all hours; of the first ones and four more the warmth
    again = run(system, home, RunRequest(as_of, NOW, file_of(home, rows())))
    assert (again.ingested, again.ahead, again.stored) == (0, 0, 0)
    facts = facts_of(home).filter(pl.col("place") == "a", pl.col("time") == START + 30 * HOUR)
    assert facts.select("load", "warmth", "tariff").null_count().row(0) == (2, 1, 0)
    lags = (facts["time"] - facts["known_at"]).to_list()
    assert lags[1:] == [3 * HOUR, -HOUR]


def test_a_file_of_nothing_but_a_plan_is_read_by_itself(place):
    home, as_of, system = place("plan"), last(20), system_of("3h")
    whole = rows()
    past, plan = (whole.filter(pl.col("time") <= as_of), whole.filter(pl.col("time") > as_of))
    plan = plan.with_columns(pl.lit(None, pl.Float64).alias("load"))
    run(system, home, RunRequest(as_of, NOW, file_of(home, past)))
    assert known(home, as_of, "warmth") == as_of
    told = run(system, home, RunRequest(as_of, NOW, file_of(home, plan, "plan.csv"), steps=("ingest", "validate")))
    assert (told.ingested, told.ahead, told.validation.pending) == (0, 2 * 3, plan.height)
    assert known(home, as_of, "warmth") == as_of + 3 * HOUR
    changed = plan.with_columns(pl.col("warmth") + 1)
    again = run(
        system, home, RunRequest(as_of + HOUR, NOW, file_of(home, changed, "plan.csv"), steps=("ingest", "validate"))
    )
    assert again.ahead == 2 * 3  # two hours told anew, from then on, and one hour more


@pytest.mark.parametrize("lead", ["3h", True])
def test_later_runs_add_what_live_ones_would_have(place, lead):
    """Hour by hour, or all at once at the end: the same facts, with the same known times."""
    system = system_of(lead)
    homes = place("hourly"), place("once")
    for hours in (12, 8, 5, 4):
        run(system, homes[0], RunRequest(last(hours), NOW, file_of(homes[0], rows()), steps=("ingest", "validate")))
    run(system, homes[1], RunRequest(last(4), NOW, file_of(homes[1], rows()), steps=("ingest", "validate")))
    one, two = (facts_of(home).drop("_version") for home in homes)
    assert one.equals(two, null_equal=True)


def test_a_forecast_that_is_told_anew_is_known_from_then_on(place):
    """The file says another warmth for hours to come: known from the run on; the row as a whole comes at its time."""
    system, home = system_of("9h"), place("anew")
    ingest = ("ingest", "validate")
    run(system, home, RunRequest(last(12), NOW, file_of(home, rows()), steps=ingest))
    later = rows().with_columns(warmth=pl.when(pl.col("time") > last(11)).then(-1.0).otherwise("warmth"))
    result = run(system, home, RunRequest(last(10), NOW, file_of(home, later), steps=ingest))
    at = (pl.col("place") == "a") & (pl.col("time") == last(8))
    facts = facts_of(home).filter(at)
    assert facts["known_at"].to_list() == [last(17), last(10)]
    assert facts["warmth"][1] == -1.0
    assert result.ingested == 4
    end = run(system, home, RunRequest(last(4), NOW, file_of(home, later), steps=ingest))
    facts = facts_of(home).filter(at)
    assert facts["known_at"].to_list() == [last(17), last(10), last(7)]
    assert facts["load"].is_null().to_list() == [True, True, False]
    assert end.ingested == 12
    wrong = later.with_columns(warmth=pl.when(pl.col("time") == last(8)).then(5.0).otherwise("warmth"))
    run(system, home, RunRequest(last(3), NOW, file_of(home, wrong), steps=ingest))
    facts = facts_of(home).filter(at)
    assert facts["known_at"].to_list() == [last(17), last(10), last(7), last(3)]
    assert facts["load"][3] == facts["load"][2]


def test_a_bad_row_tells_nothing_early_and_is_set_apart_when_its_time_comes(place):
    system, home = system_of("9h", tariff=True), place("bad")
    ingest = ("ingest", "validate")
    text = rows().with_columns(pl.col("warmth").cast(pl.String))
    text = text.with_columns(warmth=pl.when(pl.col("time") == last(8)).then(pl.lit("cold")).otherwise("warmth"))
    uri = file_of(home, text)
    first = run(system, home, RunRequest(last(12), NOW, uri, steps=ingest))
    assert first.quarantined == 0
    assert facts_of(home).filter(pl.col("time") == last(8), pl.col("warmth").is_not_null()).is_empty()
    second = run(system, home, RunRequest(last(6), NOW, uri, steps=ingest))
    assert second.quarantined == 2


def test_rows_of_the_future_are_awaited_and_not_bad(place):
    """A file that ends with tomorrow's weather and no load yet, read live: now is the time of the run."""
    system, home = system_of("24h"), place("live")
    future = pl.col("time") > last(20) - HOUR
    frame = rows().with_columns(load=pl.when(future).then(None).otherwise("load"))
    result = run(system, home, RunRequest(last(20), last(20), file_of(home, frame)))
    assert (result.quarantined, result.predicted.origin) == (0, last(21))
    assert known(home, last(20), "warmth") == last(1)


def test_rows_that_bring_their_known_time_and_a_lead(place):
    """The target is known when the row says, the warmth at the latest so long before its time."""
    system, home = system_of("3h", known_at="told"), place("told")
    run(system, home, RunRequest(last(10), NOW, told(home, rows()), steps=("ingest", "validate")))
    assert known(home, last(10), "load") == last(12)
    assert known(home, last(10), "warmth") == last(7)


def test_what_cannot_be_known_future_is_refused():
    with pytest.raises(DeclarationError, match="known_future"):
        system_of("-3h")
    with pytest.raises(DeclarationError, match="cannot be known in advance"):
        System(**system_of().model_copy(update={"target": "warmth"}).__dict__)


def told(home, frame, name="told.csv"):
    return file_of(home, frame.with_columns(told=pl.col("time") + timedelta(hours=2)), name)


@pytest.mark.parametrize("now", [last(20), NOW])
def test_a_target_known_before_its_time_is_set_apart_and_moves_no_origin(place, now):
    """Live and in the past that is run again: the same rows are set apart."""
    system, home = system_of(True, known_at="told"), place("before")
    frame = rows().with_columns(told=pl.col("time") + timedelta(hours=2))
    ahead = (pl.col("place") == "a") & (pl.col("time") == last(2))
    frame = frame.with_columns(told=pl.when(ahead).then(pl.lit(last(30))).otherwise("told"))
    result = run(system, home, RunRequest(last(20), now, file_of(home, frame)))
    assert (result.quarantined, result.predicted.origin) == (1, last(22))
    (reasons,) = result.validation.bad["reasons"].to_list()
    assert reasons == [
        f"load is known before its time: at {last(30):%Y-%m-%dT%H:%M:%SZ} of {last(2):%Y-%m-%dT%H:%M:%SZ}"
    ]


@pytest.mark.parametrize("lead", ["3h", "2h", True])
def test_training_sees_exactly_the_holes_that_serving_has(place, lead):
    """The features of every example, as a model learns them and as a run at that time would have computed them."""
    home = place("holes")
    rows_told = told(home, rows()) if lead == "2h" else file_of(home, rows())
    system = system_of(lead, tariff="5h", known_at="told" if lead == "2h" else None)
    run(system, home, RunRequest(last(4), NOW, rows_told, steps=("ingest", "validate")))
    series, raw = home.series(system), home.table("world", "raw")
    features = Features({"w": col("warmth"), "gone": col("warmth").is_missing(), "both": col("warmth") + col("tariff")})
    series = replace(series, columns=("load", "warmth", "tariff"), ahead=("warmth", "tariff"))
    seen = KnownAsOf(last(4), raw.version())
    history = read_snapshots(raw, series, [last(4)], raw.version(), span=48 * HOUR).history
    learnt = with_sight(history, raw, series, seen)
    lag = 2 * HOUR if lead == "2h" else HOUR
    for at in (30, 33, 40):
        examples = every_example(np.arange(2), np.array(at), 6)
        ours = feature_matrix(features, learnt, examples)
        as_of = history.start + HOUR * at + lag
        views = read_snapshots(raw, series, [as_of], raw.version(), span=24 * HOUR, ahead=6 * HOUR)
        of, origin = views.windows()
        theirs = feature_matrix(features, views.history, every_example(of, origin, 6))
        np.testing.assert_array_equal(ours, theirs)
        assert np.isnan(ours[:, 0]).sum() == (0 if lead is True else 2 * (6 - (int(lead[0]) + lag // HOUR)))


def test_a_run_says_that_nothing_is_known_future(place):
    """The file ends with the newest load: weather was declared to be there before, and is not."""
    home, frame = place("blank"), rows().filter(pl.col("time") < last(20))
    for name, lead, told_ahead in (("none", "24h", frame), ("some", "24h", rows())):
        system = system_of(lead, tariff="1h")
        result = run(system, home, RunRequest(last(20), NOW, file_of(home, told_ahead, f"{name}.csv")))
        expected = (
            ["warmth is declared known in advance, but none of the next 6 steps has it"] if name == "none" else []
        )
        assert result.warnings == result.as_dict().get("warnings", []) == expected
