"""How often intervals of numbers hold the truth, by the scale that is learnt on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Classifier, Column, Linear, Regressor
from headrace.features import Features, col
from headrace.metrics import log_loss, rmse, rmse_error
from headrace.tasks.rows.fitting import Rows, fit
from headrace.tasks.rows.outputs.binary import Binary, Platt
from headrace.tasks.rows.outputs.regression import Regression


def rows(count, seed):
    """A lognormal target, of which one column tells a part."""
    random = np.random.default_rng(seed)
    x = random.normal(size=count)
    return pl.DataFrame({"x": x, "y": np.exp(1 + 0.8 * x + 0.5 * random.normal(size=count))})


@pytest.mark.parametrize("scale", ["identity", "log"])
@pytest.mark.parametrize("member", [Linear(), Boosting(n_estimators=40)], ids=["linear", "boosting"])
def test_nine_in_ten_truths_lie_within_their_interval(scale, member):
    model = Regressor(members=(member,), folds=3, repeats=1, scale=scale)
    output = Regression.of(model, Column("y", "float", minimum=0), ())
    fitted = fit(model, output, Features({"x": col("x")}), Rows(rows(1000, 0), "y", {"x": "float"}))
    new = rows(4000, 100)
    _, lower, upper = fitted.model.numbers(new.select("x")).T
    truth = new["y"].to_numpy()
    assert ((lower <= truth) & (truth <= upper)).mean() == pytest.approx(0.9, abs=0.03)
    assert fitted.scores["coverage"] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("scale", ["identity", "log"])
def test_intervals_of_whole_numbers_end_at_whole_numbers_and_hold_the_same(scale):
    random = np.random.default_rng(0)
    truth = np.round(np.exp(random.normal(3, 0.5, 400)))
    model = Regressor(members=(Linear(),), scale=scale, coverage=0.8)
    bare = Regression.of(model, Column("y", "float", minimum=0), ())
    learnt = bare.learnt(truth)
    scores = learnt + random.normal(0, 0.3 if scale == "log" else 8, 400)
    whole = bare.calibrated(learnt, scores, model)
    assert whole.whole
    value, lower, upper = whole.numbers(scores).T
    _, wider, widest = replace(whole, whole=False).numbers(scores).T
    held = (lower <= truth) & (truth <= upper)
    assert (held == ((wider <= truth) & (truth <= widest))).all()
    assert np.mean(upper - lower) < np.mean(widest - wider)
    assert ((lower <= value) & (value <= upper)).all()
    assert [whole.answer(score) for score in scores.tolist()] == [
        dict(zip(("y", "lower", "upper"), row, strict=True)) for row in whole.numbers(scores).tolist()
    ]
    halves = bare.calibrated(bare.learnt(truth + 0.5), scores, model)
    assert not halves.whole
    assert Regression.from_dict(whole.as_dict()) == whole


def drifting(count, seed=0):
    """Rows of one day after another, whose noise grows tenfold over time, in no order."""
    random = np.random.default_rng(seed)
    at = random.permutation(count)
    x = random.normal(size=count)
    y = 100 + x + random.normal(size=count) * (1 + 9 * at / count)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame({"at": [start + timedelta(hours=int(hour)) for hour in at], "x": x, "y": y})


def test_the_coverage_of_a_training_is_that_of_later_rows():
    model = Regressor(members=(Linear(),), folds=4, repeats=1)
    output, features = Regression.of(model, Column("y", "float"), ()), Features({"x": col("x")})
    data = drifting(2000)
    forward = fit(model, output, features, Rows(data, "y", {"x": "float"}, "at"))
    # Each part has the widths of the parts before it: what is reported must be what they would have held.
    order = data["at"].rank("ordinal").to_numpy() - 1
    value, lower, upper = forward.held_out.T
    assert np.isnan(value[order < 800]).all(), "the first two parts are learnt from, and calibrated on"
    assert not np.isnan(value[order >= 800]).any()
    assert forward.judged == 1200
    late, truth = order >= 800, data["y"].to_numpy()
    assert forward.scores["coverage"] == ((lower <= truth) & (truth <= upper))[late].mean()
    assert forward.scores["coverage"] < 0.84, "drift is seen"
    mixed = fit(model, output, features, Rows(data, "y", {"x": "float"}))
    assert (mixed.held_by, mixed.judged) == ("random", 2000)
    assert mixed.scores["coverage"] == pytest.approx(0.9, abs=0.02), "without a time there is no later"


def test_the_calibration_of_classes_is_judged_on_later_rows():
    random = np.random.default_rng(1)
    data = drifting(2000).drop("y")
    order = data["at"].rank("ordinal").to_numpy() / data.height
    # Early on x tells the class, later less and less: what was calibrated early is too sure of itself.
    chance = 1 / (1 + np.exp(-4 * data["x"].to_numpy() * (1 - order)))
    data = data.with_columns(won=(random.random(data.height) < chance).astype(int))
    model = Classifier(members=(Linear(),), folds=4, repeats=1)
    output, features = Binary.of(model, Column("won", "integer"), (0, 1)), Features({"x": col("x")})
    forward = fit(model, output, features, Rows(data, "won", {"x": "float"}, "at"))
    assert forward.judged == 1200
    probability, won = forward.held_out, data["won"].to_numpy()
    judged = ~np.isnan(probability)
    assert forward.scores["log_loss"] == pytest.approx(log_loss(won[judged].astype(float), probability[judged]))
    blind = Platt.fit(probability[judged], won[judged].astype(float))
    assert blind.slope < 0.9, "they are too sure, which a calibration on the very rows would hide"


def test_too_few_later_rows_are_judged_by_halves():
    model = Regressor(members=(Linear(),), folds=2, repeats=1)
    output, features = Regression.of(model, Column("y", "float"), ()), Features({"x": col("x")})
    few = fit(model, output, features, Rows(drifting(45), "y", {"x": "float"}, "at"))
    assert (few.held_by, few.judged) == ("forward", 30)


@pytest.mark.parametrize("levels", [3, 9, 40])
def test_every_width_is_of_enough_rows(levels):
    """Trees say a few values only: a bin that few rows fall into would have a width by chance."""
    random = np.random.default_rng(levels)
    shares = random.dirichlet(np.ones(levels))
    scores = random.choice(np.arange(levels) * 3.0, size=1800, p=shares)
    learnt = scores + random.normal(size=scores.size)
    output = Regression("y").calibrated(learnt, scores, Regressor())
    counts = np.bincount(np.searchsorted(output.edges, scores, side="right"), minlength=len(output.widths))
    assert counts.min() >= 180
    assert len(output.widths) > 1
    assert output.widths == pytest.approx([1.64] * len(output.widths), abs=0.35)


def mixed(count, seed):
    """Rows of shops of different sizes, each with a noise of its own."""
    random = np.random.default_rng(seed)
    shop = random.choice(["a", "b", "c", "few"], count, p=[0.5, 0.35, 0.13, 0.02])
    spread = pl.Series(shop).replace_strict({"a": 0.2, "b": 1.0, "c": 3.0, "few": 1.0}, return_dtype=float).to_numpy()
    x = random.normal(size=count)
    return pl.DataFrame({"x": x, "shop": shop, "y": x + spread * random.normal(size=count)})


def by_shop(intervals_by, count=1200, coverage=0.8):
    return fitted_by_shop(intervals_by, count, coverage).model


def fitted_by_shop(intervals_by, count=1200, coverage=0.8):
    model = Regressor(members=(Linear(),), folds=4, repeats=1, coverage=coverage, intervals_by=intervals_by)
    output = Regression.of(model, Column("y", "float"), ())
    features = Features({"x": col("x"), "shop": col("shop")})
    return fit(model, output, features, Rows(mixed(count, 0), "y", {"x": "float", "shop": "category"}))


def coverage_of(model, data):
    _, lower, upper = model.numbers(data.drop("y")).T
    held = (lower <= data["y"].to_numpy()) & (data["y"].to_numpy() <= upper)
    return {shop: held[(data["shop"] == shop).to_numpy()].mean() for shop in ("a", "b", "c")}


def test_intervals_by_a_category_hold_their_share_within_each_value():
    new = mixed(6000, 9)
    alike, own = (coverage_of(by_shop(by), new) for by in (None, "shop"))
    assert alike["a"] > 0.9, "one width for all is too wide for the quiet one"
    assert alike["c"] < 0.5, "and too narrow for the noisy one"
    assert all(share == pytest.approx(0.8, abs=0.05) for share in own.values())
    told = {by: fitted_by_shop(by).scores.get("coverage_least") for by in (None, "shop")}
    assert told[None] is None
    assert told["shop"] == pytest.approx(0.78, abs=0.05), "of a, b and c; few has too few rows to say"


def test_values_with_few_rows_and_new_ones_have_the_intervals_of_all():
    model = by_shop("shop")
    assert sorted(model.output.of_keys) == ["a", "b", "c"]
    assert all(model.output.of_key(key) is model.output for key in ("few", "never", None))
    assert all(model.answer({"x": 0.0, "shop": shop})["lower"] < -0.5 for shop in ("few", "never", None))
    # Thirty rows say nothing of what happens in one of a thousand.
    assert "c" not in by_shop("shop", 1200, coverage=0.999).output.of_keys


def test_the_standard_error_of_a_root_mean_squared_error_is_that_of_samples():
    random = np.random.default_rng(4)
    draws = random.standard_t(8, size=(400, 300))
    told = np.mean([rmse_error(draw, np.zeros(300)) for draw in draws])
    assert told == pytest.approx(np.std([rmse(draw, np.zeros(300)) for draw in draws]), rel=0.12)
    assert np.isnan(rmse_error(np.array([1.0]), np.array([0.0])))
    assert rmse_error(np.ones(3), np.ones(3)) == 0
