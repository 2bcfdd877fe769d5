"""CPU and memory of `headrace ingest` of listings, which have no event time, from tab-separated text.

    python benchmarks/ingest.py LISTINGS.tsv.gz [--write]

The rows of the file, in the columns of price_alchemy, are drawn with replacement and numbered anew, up to 1.48 million.
Each ingest is a process of its own into a new home.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ingest.md"
SIZES = (120_000, 480_000, 1_480_000)


def drawn(listings: Path, rows: int, path: Path) -> None:
    """Write so many rows; in a process of its own, whose memory would count as that of the ingest that it starts."""
    sample = pl.read_csv(listings, separator="\t", infer_schema=False, quote_char=None)
    chosen = sample[np.random.default_rng(0).integers(0, sample.height, rows)]
    numbered = chosen.with_columns(train_id=pl.int_range(rows).cast(pl.String))
    numbered.write_csv(path, separator="\t", quote_style="never")


def measured(path: Path, home: Path) -> tuple[float, float]:
    """CPU seconds and peak MB of one ingest."""
    command = [sys.executable, "-m", "headrace", "ingest", str(ROOT / "systems" / "price_alchemy")]
    command += ["--home", str(home), "--source", f"file:{path}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, status
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("listings", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = ["| rows | MB of text | CPU s | peak MB |", "|---|---|---|---|"]
    for rows in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "listings.tsv"
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(drawn, options.listings, rows, path).result()
            cpu, peak = measured(path, Path(folder) / "home")
            lines.append(f"| {rows:,} | {path.stat().st_size / 1e6:.0f} | {cpu:.1f} | {peak:.0f} |")
        print(lines[-1], flush=True)
    if options.write:
        about = "`python benchmarks/ingest.py train.tsv.gz`, Mercari's listings, one run on two busy cores."
        kept = RESULTS.read_text().partition("\nThe same")  # PostgreSQL was measured by hand
        text = "\n".join(["# Ingest of rows without event time", "", about, "", *lines, ""])
        RESULTS.write_text(text + "".join(kept[1:]))


if __name__ == "__main__":
    main()
