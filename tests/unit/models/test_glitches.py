"""One absurd value leaves forecasts as they are; a new level and a burst are read as they are; no origin sees ahead."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.forecaster import Forecaster
from headrace.models.glitches import FAR, NEAR, cleaned, margin, without

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, 5, tzinfo=UTC)
MODEL = Forecaster(n_estimators=20, max_rows=3000, seasons=("24h",))
TASK = ForecastProblem(MODEL.frame("y", HOUR), 6, seasonal_features("y", step="1h", seasons=("24h",)))
ABSURD = {"x100": lambda y: 100 * y, "x1000": lambda y: 1000 * y, "5e9": lambda y: 5e9, "-9999": lambda y: -9999.0}


def history(days=40, series=2):
    t = np.arange(days * 24)
    y = 50 + 10 * np.sin(2 * np.pi * t / 24) + t % 24 % 7 + np.random.default_rng(1).normal(0, 0.5, (series, t.size))
    return History(pl.DataFrame({"k": list(range(series))}), {"y": y}, Grid(HOUR).slot(START), Grid(HOUR))


def changed(y, series, at, value):
    values = y.values["y"].copy()
    values[series, at] = value
    return replace(y, values={"y": values})


def read(y, series, origin):
    """What a forecast reads of its series up to its origin."""
    seen, row = cleaned(y, TASK.frame, np.array([series]), np.array([origin]))
    return seen.values["y"][row[0], : origin + 1]


@pytest.fixture(scope="module")
def fit():
    y = history()
    return y, MODEL.fit(TASK, y, y.length - 1)


@pytest.mark.parametrize("absurd", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("back", [0, 1, 5, 24, 100])
def test_a_glitch_hardly_moves_a_forecast(fit, absurd, back):
    y, made = fit
    at, origin = y.length - 1 - back, y.length - 1
    spoilt = changed(y, 0, at, absurd(y.values["y"][0, at]))
    ours, clean = (made.model.forecast(h, np.arange(2), np.array([origin])) for h in (spoilt, y))
    np.testing.assert_allclose(ours.value, clean.value, rtol=0.05)
    np.testing.assert_allclose(ours.upper - ours.lower, clean.upper - clean.lower, rtol=0.3)
    np.testing.assert_array_equal(ours.value[1], clean.value[1])


@pytest.mark.parametrize("absurd", ABSURD.values(), ids=ABSURD)
def test_a_glitch_hardly_moves_what_is_learnt(fit, absurd):
    y, clean = fit
    spoilt = y
    for at in (300, y.length - 30, y.length - 1):
        spoilt = changed(spoilt, 0, at, absurd(y.values["y"][0, at]))
    made = MODEL.fit(TASK, spoilt, y.length - 1)
    assert [t for t, _ in made.model.members] == [t for t, _ in clean.model.members]
    assert made.model.nonnegative
    np.testing.assert_allclose(made.model.widths, clean.model.widths, rtol=0.2)
    np.testing.assert_allclose(list(made.model.factors.values()), list(clean.model.factors.values()), rtol=0.2)
    assert made.scores.scores()["wape"] < 1.05 * clean.scores.scores()["wape"]
    ours, theirs = (m.model.forecast(y, np.arange(2), np.array([y.length - 1])).value for m in (made, clean))
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_it_reads_the_value_a_season_before_or_none():
    y = changed(history(), 0, 600, 5e9)
    assert read(y, 0, 700)[600] == y.values["y"][0, 576]
    assert np.isnan(read(changed(y, 0, 576, np.nan), 0, 700)[600])
    assert np.isnan(read(changed(y, 0, 576, -5e9), 0, 700)[600])
    assert np.isnan(without(y, TASK.frame, 700)[0, 600])
    assert without(y, TASK.frame, 599).shape == (2, 600)


def test_the_third_odd_value_confirms_from_its_time_on():
    level = 500.0 + np.arange(100)
    y = changed(history(), 0, slice(600, 700), level)
    assert read(y, 0, 600)[600] == y.values["y"][0, 576]
    assert (read(y, 0, 601)[600:] == y.values["y"][0, 576:578]).all()
    assert (read(y, 0, 602)[600:] == level[:3]).all()
    apart = changed(changed(history(), 0, 600, 500.0), 0, 600 + NEAR + 1, 500.0)
    assert read(apart, 0, 700)[600] == apart.values["y"][0, 576]


@pytest.mark.parametrize("value", [-9999.0, 99_999.0])
@pytest.mark.parametrize(
    "places", [(0, 1, 2), (0, 1, 2, 3, 4, 5), (1, 4, 20), tuple(range(0, 23, 2)), tuple(range(24))]
)
def test_what_a_device_sends_in_place_of_a_value_does_not_speak_for_itself(fit, value, places):
    y, made = fit
    clean, origin = y.values["y"][0], y.length - 1
    at = origin - np.array(places)
    spoilt = changed(y, 0, at, value)
    seen = read(spoilt, 0, origin)
    np.testing.assert_array_equal(seen[at], clean[at - 24])
    ours, theirs = (made.model.forecast(h, np.arange(2), np.array([origin])) for h in (spoilt, y))
    assert np.abs(ours.value - theirs.value).mean() < 0.05 * theirs.value.mean()
    if places != (0, 1, 2):
        return
    learnt = MODEL.fit(TASK, spoilt, origin).model
    np.testing.assert_allclose(learnt.widths, made.model.widths, rtol=0.2)


@pytest.mark.parametrize("value", [-9999.0, -999.0])
def test_what_stands_for_a_value_on_every_day_does_not_become_usual(value):
    y, rng = history(), np.random.default_rng(5)
    at = 24 * np.arange(20, 40) + rng.integers(0, 19, 20)
    spoilt = changed(y, 0, at, value)
    seen = read(spoilt, 0, y.length - 1)
    told = seen[at]
    assert (told[np.isfinite(told)] > 0).all()
    assert np.isfinite(told).mean() > 0.8
    np.testing.assert_array_equal(np.delete(seen, at), np.delete(y.values["y"][0], at))


def test_values_below_zero_that_come_are_usual():
    """Prices: below zero on some days, by unlike amounts."""
    y = history()
    at = 24 * np.arange(20, 40) + 3
    prices = changed(y, 0, at, -300.0 - np.arange(20))
    np.testing.assert_array_equal(read(prices, 0, y.length - 1)[at[5:]], prices.values["y"][0, at[5:]])


def test_two_spellings_of_missing_do_not_speak_for_one_another():
    y = history()
    spoilt = changed(changed(y, 0, [600, 602, 604], -9999.0), 0, [601, 603], -999.0)
    seen = read(spoilt, 0, 620)
    np.testing.assert_array_equal(seen[600:605], y.values["y"][0, 576:581])


@pytest.mark.parametrize(("season", "values"), [("6h", 9), ("24h", 27), ("72h", 35)])
def test_a_flat_level_is_confirmed_after_a_short_season_and_by_the_35th_value(season, values):
    frame = Forecaster(seasons=(season,)).frame("y", HOUR)
    y = changed(history(), 0, slice(700, None), 500.0)
    for known, confirmed in ((1, False), (3, False), (values - 1, False), (values, True), (values + 30, True)):
        origin = 700 + known - 1
        seen, row = cleaned(y, frame, np.array([0]), np.array([origin]))
        assert (seen.values["y"][row[0], 700 : origin + 1] == 500).all() == confirmed
    level = changed(y, 0, slice(700, None), np.where(np.arange(y.length - 700) % 2, 500.0, 501.0))
    seen, row = cleaned(level, frame, np.array([0]), np.array([700 + values // 2 + 1]))
    assert seen.values["y"][row[0], 700] == 501  # of two values half as many


@pytest.mark.parametrize("far", [0.9, 1.1])
def test_odd_is_what_lies_far_beyond_the_usual_bounds_of_seven_days(far):
    y = history()
    begin = (24 - (START.hour + 600) % 24) % 24 + 600  # of a whole day, UTC
    days = y.values["y"][0, begin - 7 * 24 : begin].reshape(7, 24)
    low, high = np.median(days.min(axis=1)), np.median(days.max(axis=1))
    spoilt = changed(y, 0, begin + 3, high + far * FAR * (high - low))
    assert (read(spoilt, 0, 700)[begin + 3] != spoilt.values["y"][0, begin + 3]) == (far > 1)


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_flat_series_may_take_its_first_step(level):
    flat = replace(history(), values={"y": np.full((1, 960), level)}, keys=pl.DataFrame({"k": [0]}))
    step = changed(flat, 0, 600, 1.4 * level or 3.0)
    np.testing.assert_array_equal(read(step, 0, 700), step.values["y"][0, :701])


odds = st.lists(
    st.tuples(st.integers(0, 2), st.integers(200, 520), st.sampled_from([5e9, -9e3, 700.0, 710.0])), max_size=14
)


@given(odds=odds, bursts=st.lists(st.tuples(st.integers(0, 2), st.integers(200, 480), st.booleans()), max_size=2))
@settings(max_examples=60, deadline=None)
def test_no_origin_sees_ahead_nor_further_back_than_it_must(odds, bursts):
    y = history(days=22, series=3)
    for series, at, value in odds:
        y = changed(y, series, at, value)
    for series, at, flat in bursts:
        y = changed(y, series, slice(at, at + 40), 900.0 + (0 if flat else np.arange(40)))
    series, origin = every_origin(3, np.arange(190, 528, 7))
    seen, row = cleaned(y, TASK.frame, series, origin)
    assert (seen.keys["k"].to_numpy()[row] == series).all()
    for s, o, r in zip(series.tolist(), origin.tolist(), row.tolist(), strict=True):
        ended = replace(y, values={"y": y.values["y"][:, : o + 1]})
        np.testing.assert_array_equal(seen.values["y"][r, : o + 1], read(ended, s, o))
    reach = margin(TASK.frame)
    cut = replace(y, values={"y": y.values["y"][:, 500 - reach :]}, first=y.first + 500 - reach)
    for s in range(3):
        np.testing.assert_array_equal(read(cut, s, reach + 20)[reach:], read(y, s, 520)[500:])


def test_many_origins_at_once_give_the_bits_of_each_alone(fit):
    y, made = fit
    y = changed(changed(y, 0, slice(700, 800), 400.0 + np.arange(100) // 4), 1, 750, 5e9)
    origins = np.arange(690, 760, 3)
    series, origin = every_origin(2, origins)
    together = made.model.forecast(y, series, origin)
    for i, (s, o) in enumerate(zip(series, origin, strict=True)):
        ended = replace(y, values={"y": y.values["y"][:, : o + 1]})
        alone = made.model.forecast(ended, np.array([s]), np.array([o]))
        np.testing.assert_array_equal(alone.value[0], together.value[i])
        np.testing.assert_array_equal(alone.upper[0], together.upper[i])
    assert np.isfinite(backtest(made.model, y, origins).scores()["wape"])


@pytest.mark.parametrize(("times", "glitch"), [(8, False), (100, True)])
def test_where_most_values_are_zero_a_large_one_is_no_glitch(times, glitch):
    sales = np.where(np.arange(960) % 5 == 0, 10.0, 0.0)[None]
    sales[0, 600] *= times
    y = replace(history(), values={"y": sales}, keys=pl.DataFrame({"k": [0]}))
    assert (read(y, 0, 700)[600] != sales[0, 600]) == glitch


def test_a_value_far_below_zero_is_one_where_all_are_above():
    wide = history()
    values = 200 * (wide.values["y"] - wide.values["y"].min()) + 1
    negative = changed(replace(wide, values={"y": values}), 0, 600, -0.3 * values.max())
    assert read(negative, 0, 700)[600] == values[0, 576]
    crossing = changed(replace(wide, values={"y": values}), 0, 600, -0.1 * values.max())
    assert read(crossing, 0, 700)[600] == crossing.values["y"][0, 600]


def test_what_is_mostly_missing_says_little_about_size():
    y = history()
    values = np.where(np.arange(y.length) % 3 == 0, y.values["y"], np.nan)
    for times, glitch in ((30, False), (5e9, True)):
        odd = changed(replace(y, values={"y": values}), 0, 600, 50.0 * times)
        assert (read(odd, 0, 700)[600] != odd.values["y"][0, 600]) == glitch


@pytest.mark.parametrize("places", [(0, 3, 7), (7, 3, 0), (3, 0, 7)])
def test_one_value_too_low_does_not_speak_for_two_too_high(fit, places):
    y, _ = fit
    clean, origin = y.values["y"][0].copy(), y.length - 1
    high, higher, low = (origin - 1 - back for back in places)
    spoilt = changed(changed(changed(y, 0, high, 5e9), 0, higher, 5e9), 0, low, -9999.0)
    seen = read(spoilt, 0, origin)
    for at in (high, higher, low):
        assert seen[at] == clean[at - 24]
    confirmed = changed(changed(spoilt, 0, origin, 4e9), 0, higher, 6e9)
    assert read(confirmed, 0, origin)[high] == 5e9
    assert read(confirmed, 0, origin)[low] == clean[low - 24]


def test_a_return_among_few_sales_is_no_glitch():
    """Days without a sale are missing; a return is below zero."""
    y = history()
    values = np.where(np.random.default_rng(3).random(y.values["y"].shape) < 0.75, np.nan, y.values["y"])
    at = 25 * 24 + 3
    values[0, at] = -40
    part = replace(y, values={"y": values})
    assert read(part, 0, at + 1)[at] == -40
    assert np.isnan(read(changed(part, 0, at, -99_999.0), 0, at + 1)[at])
    assert read(changed(y, 0, at, -40), 0, at + 1)[at] > 0  # of a meter that always said something
