"""The hourly refresh as a good engineer writes it for one system: polars, numpy and lightgbm, nothing general.

    python handwritten.py --facts facts.parquet --model FOLDER --as-of 2026-03-02T13:00:00+00:00 --out FILE

Reads what was known of the last 36 days, checks it, builds the features of both members, predicts, and writes points,
intervals, baselines and lineage. It knows the model's shape by heart (a step of an hour, seasons of a day and a week, a
horizon of a day), so every feature is a slice of one array; headrace computes the same from its declaration.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import holidays
import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

H, DAY, WEEK, MONTH, SPAN = 24, 24, 168, 672, 864
HOUR, UTC_US = timedelta(hours=1), pl.Datetime("us", "UTC")
KEYS = ["area", "industry"]


def read(path: Path, as_of: datetime) -> tuple[pl.DataFrame, Array, datetime]:
    """Keys of the series, their last `SPAN` hours (series, hours), and the newest hour."""
    known = pl.scan_parquet(path).filter(pl.col("known_at") <= pl.lit(as_of, UTC_US))
    origin = known.select(pl.col("time").max()).collect().item()
    start = origin - HOUR * (SPAN - 1)
    facts = known.filter(pl.col("time") >= pl.lit(start, UTC_US)).collect()
    bad = facts.select(pl.any_horizontal(pl.col("time", "consumption", *KEYS).is_null()) | (pl.col("consumption") < 0))
    share = bad.to_series().mean()
    if share:
        print(f"{share:.2%} of the rows are bad", file=sys.stderr)
        if share > 0.05:
            raise SystemExit("too many bad rows")
        facts = facts.filter(~bad.to_series())
    if not facts["known_at"].is_sorted():
        facts = facts.sort("known_at", maintain_order=True)  # of several facts about one hour the last one counts
    numbered = facts.select(pl.col(k).cast(pl.Categorical(pl.Categories.random())) for k in KEYS)
    area, industry = (numbered[k].to_physical().to_numpy().astype(np.int64) for k in KEYS)
    code = area * (industry.max() + 1) + industry
    first = np.full(code.max() + 1, -1)
    first[code[::-1]] = np.arange(code.size)[::-1]  # where each series is first told of
    there = np.flatnonzero(first >= 0)
    row = np.empty(code.max() + 1, dtype=np.int64)
    row[there] = np.arange(there.size)
    at = (facts["time"].to_physical().to_numpy() - microseconds(start)) // 3_600_000_000
    values = np.full((there.size, SPAN), np.nan)
    values[row[code], at] = facts["consumption"].to_numpy()
    return facts[first[there]].select(KEYS), values, origin


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return round(moment.timestamp()) * 1_000_000


def mean(x: Array, at_least: int = 1) -> Array:
    """Mean of every row's known values."""
    known = ~np.isnan(x)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= at_least, np.where(known, x, 0.0).sum(axis=1) / count, np.nan)


def std(x: Array) -> Array:
    """Population standard deviation of every row's known values; a flat row has none."""
    m = mean(x, 2)
    with np.errstate(invalid="ignore"):
        variance = mean(x * x, 2) - m * m
        return np.where(np.isnan(m), np.nan, np.sqrt(np.where(variance > 1e-12 * m * m, variance, 0.0)))


def fill(*choices: Array) -> Array:
    """The first that is known."""
    x = choices[0]
    for other in choices[1:]:
        x = np.where(np.isnan(x), other, x)
    return x


def scale(y: Array, level: bool) -> Array:
    """How much every series moves."""
    spread = std(y[:, -WEEK:])
    if level:
        spread = np.fmax(mean(np.abs(y[:, -WEEK:] - y[:, -WEEK - 1 : -1])), spread * 0.25)
    return np.fmax(spread, np.abs(mean(y[:, -MONTH:])) * 1e-3 + 1e-9)


def season(y: Array, length: int, back: int = 0, near: int = 0) -> Array:
    """Values at the targets' phase of a season, shape (series, H); none later than the newest."""
    last = SPAN - 1
    at = np.minimum(np.arange(H) + SPAN - length * (back + 1) + near, last)
    return y[:, at]


def seasonal_mean(y: Array, length: int, count: int) -> Array:
    """Mean over the last seasons at the targets' phase."""
    stack = np.stack([season(y, length, b) for b in range(count)])
    known = ~np.isnan(stack)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, stack, 0.0).sum(axis=0) / known.sum(axis=0)


def calendar(origin: datetime) -> dict[str, Array]:
    """Hour, weekday and holidays of the targets, in Danish time."""
    local = pl.Series([origin + HOUR * (h + 1) for h in range(H)]).dt.convert_time_zone("Europe/Copenhagen")
    free = holidays.country_holidays("DK", years=range(origin.year - 1, origin.year + 2))
    shifts = {"": 0, "_yesterday": -1, "_tomorrow": 1, "_week_ago": -7}
    parts = {"hour": local.dt.hour(), "weekday": local.dt.weekday() - 1, "day_of_year": local.dt.ordinal_day()}
    for name, shift in shifts.items():
        parts[f"holiday{name}"] = pl.Series([day + timedelta(days=shift) in free for day in local.dt.date()])
    return {name: part.cast(pl.Float64).to_numpy()[None, :] for name, part in parts.items()}


def features(y: Array, level: Array, unit: Array, times: dict[str, Array], names: list[str]) -> Array:
    """The matrix of one member: (series * H, features)."""
    day, week, last = season(y, DAY), season(y, WEEK), y[:, -1]
    short, slow = mean(y[:, -DAY:]), mean(y[:, -WEEK:])
    usual = seasonal_mean(y, DAY, 7)
    column = {f"lag_{k}": y[:, -1 - k, None] for k in range(3)}
    column |= {f"short_{k}": season(y, DAY, k) for k in range(3)} | {f"long_{k}": season(y, WEEK, k) for k in range(3)}
    column |= {"short_before": season(y, DAY, near=-1), "short_after": season(y, DAY, near=1)}
    column |= {"long_before": season(y, WEEK, near=-1), "long_after": season(y, WEEK, near=1)}
    column |= {"short_mean": usual, "long_mean": seasonal_mean(y, WEEK, 4), "mean_brief": mean(y[:, -3:])[:, None]}
    column |= {"mean_short": short[:, None], "mean_long": slow[:, None]}
    column["short_to_level"] = day + (short - mean(y[:, -2 * DAY : -DAY]))[:, None]
    column["long_to_level"] = week + (short - mean(y[:, -WEEK - DAY : -WEEK]))[:, None]
    column["short_to_last"] = day + (last - y[:, -1 - DAY])[:, None]
    column["long_to_last"] = week + (last - y[:, -1 - WEEK])[:, None]
    column["usual_to_level"] = usual + short[:, None] - slow[:, None]
    column = {name: (x - level[:, None]) / unit[:, None] for name, x in column.items()}
    change = mean(np.abs(y[:, -WEEK:] - y[:, -WEEK - DAY : -DAY]))
    spreads = {"std_short": std(y[:, -DAY:]), "change_short": change, "level_to_scale": np.abs(slow)}
    column |= {name: (x / unit)[:, None] for name, x in spreads.items()}
    column |= times | {"step_ahead": np.arange(1.0, H + 1)[None, :]}
    matrix = np.empty((y.shape[0], H, len(names)))
    for j, name in enumerate(names):
        matrix[:, :, j] = column[name]
    return matrix.reshape(-1, len(names))


def forecast(y: Array, origin: datetime, folder: Path, model: dict) -> Array:
    """The mean of the members, (series, H)."""
    times, votes = calendar(origin), []
    for i, member in enumerate(model["members"]):
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(y > 0, np.log(y), np.nan) if member["log"] else y
        level = fill(mean(z[:, -DAY:]), mean(z[:, -WEEK:]), mean(z[:, -MONTH:]))
        by_level = member["anchor"] == "level"
        unit = scale(z, by_level)
        anchor = level[:, None] if by_level else fill(season(z, DAY), season(z, WEEK), level[:, None])
        booster = lightgbm.Booster(model_file=str(folder / f"member_{i}.txt"))
        said = booster.predict(features(z, level, unit, times, booster.feature_name()), num_threads=2)
        said = anchor + said.reshape(-1, H) * unit[:, None]
        votes.append(np.exp(said) if member["log"] else said)
    known = ~np.isnan(np.stack(votes))
    with np.errstate(invalid="ignore"):
        value = np.where(known, votes, 0.0).sum(axis=0) / known.sum(axis=0)
    return np.where((~np.isnan(y[:, -MONTH:])).sum(axis=1)[:, None] >= DAY, value, np.nan)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("facts", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--as-of", type=datetime.fromisoformat, required=True)
    options = parser.parse_args()
    model = json.loads((options.model / "model.json").read_text())
    keys, y, origin = read(options.facts, options.as_of)
    value = forecast(y, origin, options.model, model)
    factors = [model.get("factors", {}).get(json.dumps(list(row)), 1.0) for row in keys.iter_rows()]
    half = np.array(model["widths"], dtype=float) * scale(y, level=True)[:, None] * np.array(factors)[:, None]
    mase = np.repeat(mean(np.abs(y[:, -MONTH:] - y[:, -MONTH - DAY : -DAY])), H)
    low = 0.0 if model["nonnegative"] else -np.inf
    numbers = {"value": value, "lower": value - half, "upper": value + half}
    numbers = {name: np.maximum(x, low).ravel() for name, x in numbers.items()}
    numbers |= {"scale": mase, "baseline_1d": season(y, DAY).ravel(), "baseline_7d": season(y, WEEK).ravel()}
    ahead = np.tile(np.arange(1, H + 1), keys.height)
    frame = keys[np.repeat(np.arange(keys.height), H)].with_columns(
        pl.Series("time", microseconds(origin) + ahead * 3_600_000_000).cast(UTC_US),
        pl.Series("ahead", ahead),
        *(pl.Series(name, x, nan_to_null=True) for name, x in numbers.items()),
        pl.lit(options.as_of, UTC_US).alias("as_of"),
        pl.lit(origin, UTC_US).alias("origin"),
        pl.lit(datetime.now(UTC), UTC_US).alias("created_at"),
        pl.lit(options.model.name).alias("model_digest"),
        pl.lit(f"{options.as_of:%Y%m%dT%H%M}").alias("run_id"),
    )
    frame.filter(pl.col("value").is_not_null()).write_parquet(options.out)


if __name__ == "__main__":
    main()
