"""What n-grams of generated listings cost beside scikit-learn's vectorisers, and what one row costs.

    python benchmarks/text.py [--rows 120000] [--write]

Word 1-2-grams of a name and of a description, 2^18 columns each; one thread, CPU of fit and transform, one run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

from headrace.features import ngrams
from headrace.models.ngrams import NgramWeights

RESULTS = Path(__file__).parent / "results" / "text.md"
WORDS, EXPONENT, SHIFT = 60_000, 1.6, 90
COLUMNS = 2**18


def generated(rows: int, mean: int, seed: int) -> pl.Series:
    """Texts of so many words on average, whose frequencies follow Zipf and Mandelbrot."""
    rng = np.random.default_rng(seed)
    shares = (np.arange(1, WORDS + 1) + SHIFT) ** -EXPONENT
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    names = np.array(["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, WORDS)])
    counts = 1 + rng.poisson(mean - 1, rows)
    words = names[rng.choice(WORDS, counts.sum(), p=shares / shares.sum())]
    return pl.Series([" ".join(part) for part in np.split(words, np.cumsum(counts)[:-1])])


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    function()
    return time.process_time() - began


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    texts = [generated(options.rows, 3, 1), generated(options.rows, 18, 2)]
    expression = ngrams("text", buckets=COLUMNS)
    vectorisers = {
        "TfidfVectorizer": lambda: TfidfVectorizer(ngram_range=(1, 2), max_features=COLUMNS, sublinear_tf=True),
        "HashingVectorizer": lambda: HashingVectorizer(ngram_range=(1, 2), n_features=COLUMNS),
    }
    lines = [f"| features of {options.rows:,} rows | CPU us a row | ratio |", "|---|---|---|"]
    costs = {
        name: sum(seconds(lambda make=make, part=part: make().fit_transform(part.to_list())) for part in texts)
        for name, make in vectorisers.items()
    }
    costs["ngrams"] = sum(seconds(lambda part=part: NgramWeights.fit(expression, part)) for part in texts)
    whole = costs["TfidfVectorizer"]
    lines += [f"| {name} | {cost / options.rows * 1e6:.1f} | {cost / whole:.3f} |" for name, cost in costs.items()]
    weights, _ = NgramWeights.fit(expression, texts[1])
    single = texts[1].head(2_000).to_list()
    cost = seconds(lambda: [weights.row(text) for text in single]) / len(single)
    lines.append(f"\nOne description by itself: {cost * 1e6:.0f} us.")
    report = "\n".join(lines)
    print(report)
    if options.write:
        RESULTS.write_text(f"# N-grams of texts\n\n`python benchmarks/text.py`, one run, one thread.\n\n{report}\n")


if __name__ == "__main__":
    main()
