"""What many rows with texts cost: ingest, train and predict, and n-grams beside scikit-learn's TfidfVectorizer.

    python benchmarks/text_scale.py [--rows 20000,120000,480000,1480000] [--work FOLDER] [--write]

Simulated listings with Mercari's columns. Every figure is a whole process: CPU seconds (user and system), peak memory.
Of n-grams the texts are read before the clock starts. A model of rows in files is compared with one of the same rows in
memory, file by file. Homes are kept in the folder --work, so what was ingested is not ingested again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
SYSTEM, RESULTS = HERE / "text_scale_system", HERE / "results" / "text_scale.md"
AS_OF = "2026-06-01T00:00:00Z"
PEAK, SHARE, FIT = 1000, 1 / 8, 60
"""Targets: MB, n-grams' CPU beside scikit-learn's, and CPU seconds of one fit of a ridge."""
VECTORISED = 120_000
"""Rows whose n-grams are counted beside scikit-learn."""


class Cost(NamedTuple):
    """What a process cost, and what it printed."""

    cpu: float
    wall: float
    peak: float
    said: Any


def measured(*command: str) -> Cost:
    """Run a Python process that prints JSON."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, *command], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        out.seek(0)
        said = json.loads(out.read())
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024, said)


def headrace(command: str, home: Path, *arguments: str) -> Cost:
    """A command on the system."""
    return measured("-m", "headrace", command, str(SYSTEM), "--home", str(home), "--as-of", AS_OF, "--json", *arguments)


def texts(home: Path, rows: int) -> Any:
    """The descriptions of the first rows."""
    from headrace.home import RAW, Home
    from headrace.settings import Settings

    table = Home(Settings(home=home)).table("text_scale", RAW)
    return table.read(identity=["train_id"])["item_description"].fill_null("").head(rows)


def vectorised(kind: str, home: Path) -> None:
    """The CPU seconds that the weights of words and pairs of words take; in a process of its own."""
    series = texts(home, VECTORISED)
    plain = series.to_list() if kind == "sklearn" else []
    if kind == "sklearn":
        from sklearn.feature_extraction.text import TfidfVectorizer
    else:
        from headrace.features import ngrams
        from headrace.models.ngrams import NgramWeights
    began = time.process_time()
    if kind == "sklearn":
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=2**18).fit_transform(plain)
    else:
        NgramWeights.fit(ngrams("item_description"), series)
    print(json.dumps({"cpu": time.process_time() - began, "rows": len(series)}))


def fitted(kind: str, home: Path) -> None:
    """Fit the system's model on rows in memory or in files; the digest of its files, in a process of its own."""
    from headrace.home import RAW, Home
    from headrace.lineage import digest_of
    from headrace.loading import load_system
    from headrace.settings import Settings
    from headrace.tasks.rows.fitting import Rows, fit
    from headrace.tasks.rows.outputs.declared import output_with
    from headrace.tasks.rows.spooled import Spooling, spooled

    system = load_system(str(SYSTEM))
    frame = Home(Settings(home=home)).table(system.name, RAW).read(identity=["train_id"]).drop_nulls("price")
    types = {column.name: column.type for column in system.contract.columns if column.name != system.target}
    model = system.model.model_copy(update={"max_rows": 1000})
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        rows: Any = Rows(frame, system.target, types)
        if kind == "files":
            parts = (Rows(part, system.target, types) for part in frame.iter_slices(7_000))
            how = Spooling(system.features, Path(folder), ["train_id"], [system.target], model.max_rows)
            rows = spooled(parts, how)
        result = fit(model, output_with(system, ()), system.features, rows)
    with tempfile.TemporaryDirectory() as folder:
        result.model.save(Path(folder))
        files = {path.name: path.read_bytes().hex() for path in sorted(Path(folder).iterdir())}
    print(json.dumps({"digest": digest_of(files, 16), "cpu": time.process_time() - began}))


def ridge(home: Path) -> None:
    """The CPU seconds of one fit of the ridge on all rows, features in files; in a process of its own."""
    import numpy as np

    from headrace.home import RAW, Home
    from headrace.loading import load_system
    from headrace.models.linear import Linear
    from headrace.settings import Settings
    from headrace.tasks.rows.fitting import Rows
    from headrace.tasks.rows.portions import Portions
    from headrace.tasks.rows.spooled import Spooling, spooled
    from headrace.tasks.rows.table import Asked

    system, opened = load_system(str(SYSTEM)), Home(Settings(home=home))
    columns = tuple(column.name for column in system.contract.columns)
    table = opened.table(system.name, RAW)
    portions = Portions(system, opened, columns, datetime.fromisoformat(AS_OF), table.version())
    types = {column.name: column.type for column in system.contract.columns if column.name != system.target}
    with tempfile.TemporaryDirectory(dir=home) as folder:
        began = time.process_time()
        parts = (Rows(portion.rows, system.target, types) for portion in portions)
        rows = spooled(parts, Spooling(system.features, Path(folder), ["train_id"], [system.target], 1000))
        assert rows is not None
        target, read = np.log1p(rows.frame[system.target].to_numpy()), time.process_time()
        rows.spool.fitted([Linear()], Asked(target, "regression", 0), np.arange(target.size), 0)
        done = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": target.size, "read": read - began, "fit": done - read, "peak": peak}))


def home_of(work: Path, rows: int) -> tuple[Path, Cost | None]:
    """A home with so many listings, and what its ingestion cost if it was made now."""
    home = work / str(rows)
    if home.exists():
        return home, None
    return home, headrace("ingest", home, "--source", f"simulated:?rows={rows}&per_day=100000")


def table(work: Path, counts: list[int]) -> list[str]:
    """The lines of the result, printed as they come."""
    lines = [
        "# Many rows with texts",
        "",
        f"- Command: `python benchmarks/text_scale.py --rows {','.join(map(str, counts))}`",
        f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        f"- Machine: {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "- Whole processes: CPU is user and system time. Some of the rows are not sold yet, and have no target.",
        "",
        "| rows | command | CPU s | peak MB | what came of it |",
        "| ---: | --- | ---: | ---: | --- |",
    ]
    print("\n".join(lines), flush=True)

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    peaks = []
    for rows in counts:
        home, ingested = home_of(work, rows)
        if ingested is not None:
            say(f"| {rows:,} | ingest | {ingested.cpu:.1f} | {ingested.peak:.0f} | |")
        trained = headrace("train", home)
        metrics = trained.said["model"]["metrics"]
        say(f"| {rows:,} | train | {trained.cpu:.1f} | {trained.peak:.0f} | RMSLE {metrics['rmsle']:.4f} |")
        one = measured(__file__, "--ridge", str(home)).said
        note = f"of {one['rows']:,} rows in files, after {one['read']:.1f} s to read them and count n-grams"
        say(f"| {rows:,} | one fit of the ridge | {one['fit']:.1f} | {one['peak']:.0f} | {note} |")
        predicted = headrace("predict", home)
        count = predicted.said["predictions"]
        say(f"| {rows:,} | predict | {predicted.cpu:.1f} | {predicted.peak:.0f} | {count:,} rows |")
        peaks += [cost.peak for cost in (trained, predicted)]
    say("")
    say(f"- {_met(max(peaks) <= PEAK)} peak of train and predict: {max(peaks):.0f} MB (at most {PEAK:,})")
    told = f"{one['fit']:.1f} CPU s at {counts[-1]:,} rows (at most {FIT})"
    say(f"- {_met(one['fit'] <= FIT)} one fit of the ridge: {told}")
    own, other = (measured(__file__, "--vectorise", kind, str(home)).said for kind in ("own", "sklearn"))
    share = own["cpu"] / other["cpu"]
    figures = f"{own['cpu']:.2f} against {other['cpu']:.2f} CPU s of {own['rows']:,} descriptions"
    told = f"1/{1 / share:.1f} ({figures}; at most 1/{1 / SHARE:.0f})"
    say(f"- {_met(share <= SHARE)} n-grams beside TfidfVectorizer: {told}")
    small = str(work / str(counts[0]))
    memory, files = (measured(__file__, "--fit", kind, small).said for kind in ("memory", "files"))
    equal = memory["digest"] == files["digest"]
    say(
        f"- {_met(equal)} models of {counts[0]:,} rows in files and in memory: {'the same' if equal else 'other'} bytes"
    )
    return lines


def _met(good: bool) -> str:
    return "met:" if good else "MISSED:"


def main() -> None:
    """Measure, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="20000,120000,480000,1480000")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "headrace-text-scale")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--vectorise", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--fit", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--ridge", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.vectorise:
        vectorised(arguments.vectorise[0], Path(arguments.vectorise[1]))
    elif arguments.fit:
        fitted(arguments.fit[0], Path(arguments.fit[1]))
    elif arguments.ridge:
        ridge(arguments.ridge)
    else:
        lines = table(arguments.work, sorted(map(int, arguments.rows.split(","))))
        if arguments.write:
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
