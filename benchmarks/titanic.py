"""Survival on the Titanic by repeated cross-validation, beside the gender rule and a random forest.

    python benchmarks/titanic.py [--repeats 10] [--folds 10] [--write]

Every fold fits the declared system whole: choice of members, calibration and family means see nothing of the rows that
are scored. The folds are the same for all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestClassifier

from headrace import metrics
from headrace.loading import load_system
from headrace.tasks.rows.folds import RowFolds
from headrace.tasks.rows.training import fit

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "titanic" / "train.csv"
RESULTS = Path(__file__).parent / "results" / "titanic.md"
TYPES = {"Survived": pl.Int64, "Pclass": pl.Int64, "SibSp": pl.Int64, "Parch": pl.Int64, "Age": pl.Float64}


def usual(rows: pl.DataFrame) -> np.ndarray:
    """The columns that introductions use, missing ones as a mean or as the most frequent."""
    return rows.select(
        pl.col("Pclass"),
        (pl.col("Sex") == "female").cast(pl.Int64),
        pl.col("Age").fill_null(29.7),
        pl.col("SibSp"),
        pl.col("Parch"),
        pl.col("Fare").fill_null(14.45),
        *((pl.col("Embarked") == port).fill_null(False).cast(pl.Int64).alias(port) for port in "CQ"),
    ).to_numpy()


def fold_of(rows: pl.DataFrame, target: np.ndarray, held: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Probabilities of every candidate for the rows held out."""
    kept = np.setdiff1d(np.arange(rows.height), held)
    system = load_system(str(ROOT / "systems" / "titanic"))
    ours = fit(system, rows[kept]).model.numbers(rows[held])
    forest = RandomForestClassifier(random_state=seed).fit(usual(rows[kept]), target[kept])
    return {
        "headrace": ours,
        "random forest": forest.predict_proba(usual(rows[held]))[:, 1],
        "gender rule": (rows[held]["Sex"] == "female").cast(pl.Float64).to_numpy(),
    }


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="Write results/titanic.md.")
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"there is no {DATA}")
    rows = pl.read_csv(DATA, schema_overrides=TYPES).with_columns(pl.col("Fare").cast(pl.Float64))
    target = rows["Survived"].cast(pl.Float64).to_numpy()
    said: dict[str, list[np.ndarray]] = {}
    began = time.process_time()
    for seed in range(options.repeats):
        once: dict[str, np.ndarray] = {}
        folds = RowFolds.of(options.folds, target.size, None, None, target.astype(int))
        for held in (fold.held for fold in folds.each(seed)):
            for name, found in fold_of(rows, target, held, seed).items():
                once.setdefault(name, np.empty(rows.height))[held] = found
        for name, found in once.items():
            said.setdefault(name, []).append(found)
        print(f"repeat {seed + 1} of {options.repeats}", file=sys.stderr)
    print(table(said, target, options, time.process_time() - began))
    if options.write:
        text = table(said, target, options, time.process_time() - began)
        RESULTS.write_text(f"# Titanic\n\n{text}", encoding="utf-8")


def table(said: dict[str, list[np.ndarray]], target: np.ndarray, options: argparse.Namespace, seconds: float) -> str:
    """The figures as Markdown: means over repeats; the error is that of a mean over the rows."""
    lines = [
        f"`python benchmarks/titanic.py --repeats {options.repeats} --folds {options.folds}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {target.size} rows, {seconds:,.0f} CPU seconds. The error of an accuracy is "
        "that of a mean over the rows, the spread the standard deviation between repeats.",
        "",
        "| | accuracy | spread | log loss | Brier | AUC |",
        "|---|---|---|---|---|---|",
    ]
    for name, repeats in said.items():
        found = [metrics.of_probabilities(target, each) for each in repeats]
        mean = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
        right = np.mean([(each >= 0.5) == (target == 1) for each in repeats], axis=0)
        error, spread = right.std() / np.sqrt(target.size), np.std([each["accuracy"] for each in found])
        loss = "-" if name == "gender rule" else f"{mean['log_loss']:.4f}"
        lines.append(
            f"| {name} | {mean['accuracy']:.4f} ± {error:.4f} | {spread:.4f} | {loss} | {mean['brier']:.4f} "
            f"| {mean['auc']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
