"""The simulated world: the same for everyone, honest about what was known when."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contract import Column, Contract, Validation, check
from headrace.errors import DeclarationError, SourceError, UsageError
from headrace.grid import Grid
from headrace.sources import Records, Source, open_source, simulated
from headrace.sources.simulated import Simulation, consumption

T = datetime(2026, 3, 1, 12, 34, tzinfo=UTC)
SOURCE = Source(
    simulate=simulated.consumption,
    columns={
        "time": "HourUTC",
        "area": "PriceArea",
        "industry": "ConsumerType_DE35",
        "consumption": "TotalCon",
    },
    lag="15d",
)
CONTRACT = Contract(
    columns=(
        Column("time", "time", zone="UTC"),
        Column("area", "category", values=("DK1", "DK2")),
        Column("industry", "category"),
        Column("consumption", "float", minimum=0),
    ),
    max_invalid_fraction=0.05,
)


def read(uri: str | None = None, as_of: datetime = T, source: Source = SOURCE) -> Records:
    return open_source(source, uri).read(as_of=as_of, now=as_of)


def checked(records: Records, as_of: datetime = T) -> Validation:
    return check(
        CONTRACT,
        records.frame,
        keys=("area", "industry"),
        time="time",
        grid=Grid(timedelta(hours=1)),
        as_of=as_of,
        now=as_of,
        known=records.known,
    )


def test_the_default_world() -> None:
    records = read()
    found = checked(records)
    assert found.bad.height == found.pending == 0
    frame = found.good
    assert frame.select("area", "industry").n_unique() == 76
    assert frame["time"].max() == datetime(2026, 2, 14, 12, tzinfo=UTC)
    hours = frame["time"].n_unique()
    assert hours == 60 * 24
    firsts = frame.unique(["time", "area", "industry"]).height
    assert 0.99 < firsts / (76 * hours) < 1, "gaps"
    assert 0.005 < (frame.height - firsts) / firsts < 0.015, "corrections"
    assert records.origin == "simulated:?lag=15d"
    assert frame.schema["consumption"] == pl.Float64
    local = records.frame["time"].dt.convert_time_zone("Europe/Copenhagen").dt.replace_time_zone(None)
    assert local.equals(records.frame["HourDK"])


def test_the_same_again_and_other_seeds() -> None:
    assert read().frame.equals(read().frame)
    assert read("simulated:?seed=0").frame.equals(read("simulated").frame)
    one, other = (read(f"simulated:?seed={seed}&gaps=0&corrections=0").frame for seed in (1, 2))
    assert one["time"].equals(other["time"])
    assert (one["consumption"] == other["consumption"]).mean() < 0.01  # type: ignore[operator]


def test_a_known_value_stays_for_ever() -> None:
    """Pins the world: an upgrade that changes it changes every result that was made from it."""
    frame = consumption(as_of=datetime(2023, 1, 1, tzinfo=UTC), series=3, days=1 / 8, lag="0h")
    assert frame["ConsumerType_DE35"].to_list() == ["111", "111", "112"] * 3
    first, second, third = [72411, 75456, 2726], [68972, 62412, 2308], [65841, 53524, 2098]
    assert frame["TotalCon"].to_list() == [*first, *second, *third]


MOMENTS = st.datetimes(datetime(2019, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=25)
@given(
    MOMENTS,
    st.timedeltas(timedelta(0), timedelta(days=20)),
    st.integers(1, 9),
    st.sampled_from(["0h", "90m", "3d", "15d"]),
    st.integers(-5, 2**70),
)
def test_a_run_of_the_past_sees_what_was_known_then(
    then: datetime, later: timedelta, series: int, lag: str, seed: int
) -> None:
    world: dict[str, Any] = {
        "seed": seed,
        "lag": lag,
        "corrections": 0.2,
        "gaps": 0.1,
        "outliers": 0.1,
        "bad": 0.1,
    }
    past = consumption(as_of=then, series=series, days=5, **world)
    assert (past["known_at"] <= then).all()
    start = then - timedelta(days=12 + 15)
    now = consumption(as_of=then + later, series=9, start=start, **world)
    known = now.filter(pl.col("known_at") <= then)
    ours = consumption(as_of=then, series=9, start=start, **world)
    assert known.equals(ours)
    shared = past.join(ours, on=past.columns, how="semi", nulls_equal=True)
    assert shared.height == past.height, "the window does not change the values"


def test_it_has_days_weeks_and_holidays() -> None:
    frame = consumption(as_of=datetime(2024, 1, 1, tzinfo=UTC), days=365, industries=14, outliers=0, lag="0h")
    frame = frame.filter(pl.col("ConsumerType_DE35") == "330").with_columns(
        day=pl.col("HourDK").dt.date(), hour=pl.col("HourDK").dt.hour(), weekday=pl.col("HourDK").dt.weekday()
    )

    def mean(part: pl.Expr) -> float:
        return float(frame.filter(part)["TotalCon"].mean())

    work = pl.col("weekday") == 3
    assert mean(work & pl.col("hour").is_between(8, 12)) > 1.8 * mean(work & pl.col("hour").is_between(0, 4))
    assert mean(pl.col("weekday") > 5) < 0.7 * mean(pl.col("weekday") < 6)
    assert mean(pl.col("day") == datetime(2023, 12, 25, tzinfo=UTC).date()) < 0.7 * mean(work)
    assert mean(pl.col("HourDK").dt.month() == 1) > 1.02 * mean(pl.col("HourDK").dt.month() == 7)


def test_bad_rows_are_set_apart() -> None:
    found = checked(read("simulated:?bad=0.03&series=10"))
    assert 0.02 < found.invalid_fraction < 0.04
    assert not found.broken
    assert len(found.reasons) >= 6
    assert checked(read("simulated:?bad=0.2&series=10")).broken


def test_options() -> None:
    assert read("simulated:?series=5&days=2").frame.select("area", "industry").n_unique() == 5
    assert read("simulated:?series=100&days=1").frame["industry"].n_unique() == 50
    assert read("simulated:?areas=1&industries=3&days=1").frame["area"].unique().to_list() == ["DK1"]
    frame = read("simulated:?start=2026-01-01T00:00:00Z&days=2&series=1&gaps=0&corrections=0").frame
    assert frame["time"].to_list()[0] == datetime(2026, 1, 1, tzinfo=UTC)
    assert frame.height == 48
    assert read("simulated:?start=2027-01-01T00:00:00Z").frame.height == 0
    assert read("simulated:?lag=0h&series=1&days=1").frame["time"].max() == T.replace(minute=0)
    assert read(source=SOURCE.model_copy(update={"lag": timedelta(0)})).frame["time"].max() == T.replace(minute=0)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("sed=1", "sed"),
        ("seed=x", "seed"),
        ("seed=1.5", "seed"),
        ("days=-1", "days"),
        ("lag=soon", "lag"),
        ("start=2026-01-01", "start"),
        ("gaps=2", "gaps"),
        ("areas=3", "areas"),
        ("seed=1&seed=2", "seed"),
    ],
)
def test_wrong_parameters_are_named(query: str, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(f"simulated:?{query}")
    assert caught.value.where == f"simulated:?{name}"
    assert caught.value.exit_code == 2


def test_no_pairs_and_nothing_to_simulate() -> None:
    with pytest.raises(UsageError, match="key=value"):
        read("simulated:?seed")
    with pytest.raises(UsageError, match="nothing to simulate"):
        open_source(Source())


def passengers(*, as_of: datetime, seed: int = 0, rows: int = 3, name: str = "x") -> pl.DataFrame:
    return pl.DataFrame({"id": range(rows), "seed": [seed] * rows, "name": [name] * rows})


def test_plain_functions_are_simulations() -> None:
    source = Source(simulate=passengers, columns={"key": "id"})
    records = read("simulated:?rows=2&seed=7", source=source)
    assert records.frame.to_dicts() == [
        {"key": 0, "seed": 7, "name": "x"},
        {"key": 1, "seed": 7, "name": "x"},
    ]
    assert records.known.column is None
    with pytest.raises(UsageError):
        read("simulated:?rows=many", source=source)
    with pytest.raises(DeclarationError):
        open_source(Source(simulate=lambda seed=0: None))
    with pytest.raises(DeclarationError):
        open_source(Source(simulate=lambda as_of, seed: None))
    with pytest.raises(SourceError):
        read(source=Source(simulate=lambda as_of: None))


def test_declarations_travel() -> None:
    assert pickle.loads(pickle.dumps(SOURCE)) == SOURCE
    assert isinstance(simulated.consumption, Simulation)
    assert SOURCE.model_dump(mode="json")["lag"] == "15d"


def test_it_costs_little() -> None:
    read()
    start = time.process_time()
    assert read().frame.height > 100_000
    assert time.process_time() - start < 1
