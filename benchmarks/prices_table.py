"""The figures of the prices benchmark as Markdown: errors with their paired standard errors, and the intervals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

SYSTEM = "price_alchemy"
LARGE = 50
"""Rows of a top category whose own coverage is told."""
NOTES = """RMSLE and MAE are of all {n:,} rows, the mean over repeats. "sold" leaves out the {zero} rows with a price of
0, which nobody can ask for: their price is not known, and a training sets them apart. The difference is the RMSLE less
that of price_alchemy on the same folds, with its standard error over the rows. CPU seconds are those of one training,
choice and weights of members included, and of 700 predictions; one thread. Peers were asked on the folds of the first
repeat only, with the same rows, and compared with price_alchemy on those; none was tuned."""


@dataclass(frozen=True)
class Figures:
    """What a candidate said.

    Attributes:
        value: Prices, shape (repeats, rows), or (repeats, rows, 3) with the bounds of the interval.
        seconds: CPU of a fit and of its predictions, shape (folds, 2).
    """

    value: np.ndarray
    seconds: np.ndarray

    @property
    def price(self) -> np.ndarray:
        """Shape (repeats, rows)."""
        return self.value if self.value.ndim == 2 else self.value[..., 0]

    def squared(self, actual: np.ndarray, repeats: int) -> np.ndarray:
        """The squared error of the logarithm of every row, the mean over the first repeats."""
        error = np.log1p(np.maximum(self.price[:repeats], 0)) - np.log1p(actual)
        return np.mean(error**2, axis=0)


def markdown(rows: pl.DataFrame, found: dict[str, Figures], repeats: int) -> str:
    """All tables."""
    actual = rows["price"].to_numpy()
    zero = actual == 0
    command = f"`python benchmarks/prices.py --repeats {repeats}`, {datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# Prices",
        "",
        f"{command}, {rows.height:,} rows, {repeats} x 5 folds drawn within tenths of the price.",
        "",
        "| | RMSLE | sold | difference | MAE | CPU s, training | CPU s, predictions |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = found.get(SYSTEM)
    for name, figures in found.items():
        count = len(figures.price)
        squared = figures.squared(actual, count)
        gap = "-" if ours is None or name == SYSTEM else _gap(squared, ours.squared(actual, count))
        mae = float(np.mean(np.abs(figures.price - actual)))
        fit, predict = figures.seconds.mean(axis=0)
        errors = f"{np.sqrt(squared.mean()):.4f} | {np.sqrt(squared[~zero].mean()):.4f} | {gap} | {mae:.2f}"
        lines.append(f"| {name} | {errors} | {fit:.1f} | {predict:.2f} |")
    lines += ["", NOTES.format(n=rows.height, zero=int(zero.sum())), ""]
    if ours is not None and ours.value.ndim == 3:
        lines += intervals(rows, ours.value)
    return "\n".join(lines).rstrip() + "\n"


def _gap(squared: np.ndarray, ours: np.ndarray) -> str:
    """The difference of two RMSLE with its standard error, by the delta method on pairs of rows."""
    error, error_ours = np.sqrt(squared.mean()), np.sqrt(ours.mean())
    pairs = squared / (2 * error) - ours / (2 * error_ours)
    return f"{error - error_ours:+.4f} ± {pairs.std(ddof=1) / np.sqrt(pairs.size):.4f}"


def intervals(rows: pl.DataFrame, value: np.ndarray) -> list[str]:
    """Coverage and width of the 80 % interval, over all rows, by predicted price and by top category."""
    actual = rows["price"].to_numpy()
    covered = np.mean((value[..., 1] <= actual) & (actual <= value[..., 2]), axis=0)
    ratio = np.median(value[..., 2] / np.maximum(value[..., 1], 0.01), axis=0)
    quarter = np.searchsorted(np.quantile(value[..., 0].mean(axis=0), (0.25, 0.5, 0.75)), value[..., 0].mean(axis=0))
    top = rows["category_name"].fill_null("none").str.split("/").list.first().to_numpy()
    lines = [
        "## The 80 % interval of price_alchemy",
        "",
        "| rows | n | coverage | median upper / lower |",
        "|---|---|---|---|",
        _line("all", np.ones(actual.size, dtype=bool), covered, ratio),
    ]
    for place, name in enumerate(("lowest", "second", "third", "highest")):
        lines.append(_line(f"{name} quarter of predictions", quarter == place, covered, ratio))
    large = [name for name in sorted(set(top)) if (top == name).sum() >= LARGE]
    return [*lines, *(_line(str(name), top == name, covered, ratio) for name in large), ""]


def _line(name: str, mask: np.ndarray, covered: np.ndarray, ratio: np.ndarray) -> str:
    return f"| {name} | {int(mask.sum()):,} | {covered[mask].mean():.3f} | {np.median(ratio[mask]):.2f} |"
