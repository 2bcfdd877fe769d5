"""Searches for better settings of titanic: ours beside Hyperopt's TPE, at the same budget, by the same loss.

    python benchmarks/tuning.py --peer PYTHON [--trials 40] [--seeds 5] [--write]
    python benchmarks/tuning.py --workers-speed [--rounds 3] [--trials 20] [--write]

PYTHON is that of an environment made from ``peers/hyperopt.lock``. Every search minimises the held-out loss of the same
rows by the same folds in this process; neither begins with the present values. The best of each is then fitted on what
the search saw, and judged on the rows that it did not see. Differences are paired by seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from headrace.api.workspace import Workspace
from headrace.loading import adjusted, load_system
from headrace.settings import Settings
from headrace.tasks import task_of
from headrace.tuning.study import Study
from headrace.tuning.values import settings_of

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "titanic" / "train.csv"
RESULTS = Path(__file__).parent / "results" / "tuning.md"
PEER = Path(__file__).parent / "peers" / "hyperopt_tpe.py"
SYSTEM = str(ROOT / "systems" / "titanic")
HEADRACE = [sys.executable, "-m", "headrace"]
WORKERS = "## Two workers"
SLOW = ("model.folds=10", "model.repeats=10", "tuning.pruner=none")
"""Trials of seconds: what a start of processes costs is little beside them."""
SETTINGS = ("model.folds=4", "model.repeats=1", "tuning.pruner=none")
METHOD = (__doc__ or "").split("\n\n", 2)[2].replace("PYTHON is that", "`--peer` is the Python").replace("``", "`")
Loss = Callable[[Mapping[str, Any]], float]


def ours(sampler: str, loss: Loss, trials: int, seed: int) -> Mapping[str, Any]:
    """The best values of a study."""
    tuning = load_system(SYSTEM, [*SETTINGS, f"tuning.sampler={sampler}", f"tuning.seed={seed}"]).tuning
    with tempfile.TemporaryDirectory() as folder:
        study = Study("benchmark", tuning, Path(folder))
        for _ in range(trials):
            study.run(lambda values, report: loss(values))
        best = study.best()
        study.workers.leave()
    assert best is not None
    return best.values


def hyperopt(python: Path, loss: Loss, trials: int, seed: int) -> Mapping[str, Any]:
    """The best values of Hyperopt."""
    space = load_system(SYSTEM, SETTINGS).tuning.model_dump(mode="json")["space"]
    command = [str(python), str(PEER), json.dumps(space), str(trials), str(seed)]
    losses: list[tuple[float, Mapping[str, Any]]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            values = json.loads(line)
            losses.append((loss(values), values))
            process.stdin.write(f"{losses[-1][0]}\n")
            process.stdin.flush()
    if process.returncode or len(losses) != trials:
        raise SystemExit(f"hyperopt ended with {process.returncode} after {len(losses)} trials")
    return min(losses, key=lambda pair: pair[0])[1]


def paired(values: np.ndarray) -> str:
    """The mean of differences by seed, and its standard error."""
    return f"{values.mean():+.4f} ({values.std(ddof=1) / np.sqrt(values.size):.4f})"


def workers_speed(rounds: int, trials: int, *, write: bool) -> None:
    """Wall and CPU seconds of the same search with one and with two workers, taking turns, each in a new home; beside
    them, how much more of the same losses two bare processes get through than one: what the cores have to give."""
    seconds: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    cores, lines = list[float](), list[str]()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", file=sys.stderr)
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            ingest = [*HEADRACE, "ingest", SYSTEM, "--home", home, "--json", "--source", f"file:{DATA}"]
            subprocess.run(ingest, check=True, capture_output=True)
            cores.append(2 * bare_seconds(home, 1) / bare_seconds(home, 2))
            for workers in (1, 2) if number % 2 == 0 else (2, 1):
                with tempfile.TemporaryDirectory() as folder:
                    own = shutil.copytree(home, Path(folder, "home"))
                    wall, used, each = search_seconds(own, trials, workers)
                seconds[workers].append((wall, used))
                lines.append(f"{workers} workers: {trials} trials of {each:.2f} s, {wall:.1f} s wall, {used:.1f} s CPU")
                print(lines[-1], file=sys.stderr, flush=True)
    ratios = [one[0] / two[0] for one, two in zip(seconds[1], seconds[2], strict=True)]
    middle = {
        n: tuple(statistics.median(column) for column in zip(*pairs, strict=True)) for n, pairs in seconds.items()
    }
    (one, one_cpu), (two, two_cpu) = middle[1], middle[2]
    text = (
        f"Two workers search {statistics.median(ratios):.2f} times as fast as one ({rounds} pairs, the median: "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}): {one:.0f} s wall and {one_cpu:.0f} s CPU with one, "
        f"{two:.0f} s and {two_cpu:.0f} s with two, of {trials} trials. Two bare processes that do "
        f"nothing but such losses get through {statistics.median(cores):.2f} times what one does on these "
        f"{os.cpu_count()} cores ({', '.join(f'{core:.2f}' for core in cores)}). {datetime.now(UTC):%Y-%m-%d}.\n"
    )
    print(text)
    if write:
        kept = RESULTS.read_text().partition(WORKERS)[0].rstrip()
        RESULTS.write_text(f"{kept}\n\n{WORKERS}\n\n{text}")


def search_seconds(home: Path, trials: int, workers: int) -> tuple[float, float, float]:
    """Wall and CPU seconds of a search, and the wall seconds of a trial of it."""
    settings = [part for text in SLOW for part in ("--set", text)]
    budget = ["--trials", str(trials), "--workers", str(workers)]
    began, cpu = time.monotonic(), children_seconds()
    command = [*HEADRACE, "tune", SYSTEM, "--home", str(home), "--json", *budget, *settings]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall, used = time.monotonic() - began, children_seconds() - cpu
    if json.loads(done.stdout)["trials"] != trials:
        raise SystemExit(f"it did other than {trials} trials: {done.stdout}")
    return wall, used, statistics.median(trial["seconds"] for trial in finished(home))


def bare_seconds(home: str, processes: int, losses: int = 4) -> float:
    """Wall seconds in which so many processes do so many losses each, once all of them have begun."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes), context.Queue()
    started = [context.Process(target=bare_losses, args=(home, losses, barrier, answers)) for _ in range(processes)]
    for process in started:
        process.start()
    slowest = max(answers.get() for _ in started)
    for process in started:
        process.join()
    return float(slowest)


def bare_losses(home: str, losses: int, barrier: Any, answers: Any) -> None:
    """In a process: the loss of the present values, again and again."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    workspace = Workspace(Settings(home=Path(home), threads=1), quiet=True)
    system = load_system(SYSTEM, SLOW)
    version = workspace.home.raw(system).version()
    objective = task_of(system).objective(workspace.home, as_of=workspace.now(), data_version=version)
    objective.loss(system, lambda fold, value: None)
    barrier.wait()
    began = time.monotonic()
    for _ in range(losses):
        objective.loss(system, lambda fold, value: None)
    answers.put(time.monotonic() - began)


def children_seconds() -> float:
    """CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finished(home: Path) -> list[dict[str, Any]]:
    """The complete trials of the one study of a home."""
    (journal,) = (home / "tuning" / "titanic").glob("*.journal")
    study = Study(journal.stem, load_system(SYSTEM, SLOW).tuning, journal.parent)
    return [trial.as_dict() for trial in study.trials() if trial.state == "complete"]


def main() -> None:
    """Search with every sampler and seed, or measure how much faster two workers are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--workers-speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.workers_speed:
        workers_speed(options.rounds, options.trials or 20, write=options.write)
        return
    if options.peer is None:
        parser.error("--peer PYTHON, or --workers-speed")
    options.trials = options.trials or 40
    beside_peer(options)


def beside_peer(options: argparse.Namespace) -> None:
    """Search with every sampler and seed."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Settings(home=Path(folder), threads=1), quiet=True)
        bound = workspace.system(SYSTEM, SETTINGS)
        bound.ingest(source=f"file:{DATA}")
        system, home = bound.declaration, workspace.home
        version = home.raw(system).version()
        objective = task_of(system).objective(home, as_of=workspace.now(), data_version=version)

        def loss(values: Mapping[str, Any]) -> float:
            return objective.loss(adjusted(system, settings_of(values)), lambda fold, value: None)

        searches: dict[str, Callable[[int], Mapping[str, Any]]] = {
            "Hyperopt TPE": lambda seed: hyperopt(options.peer, loss, options.trials, seed),
            "headrace, tpe": lambda seed: ours("tpe", loss, options.trials, seed),
            "headrace, cmaes": lambda seed: ours("cmaes", loss, options.trials, seed),
        }
        figures = {name: np.zeros((options.seeds, 3)) for name in searches}
        for seed in range(options.seeds):
            for name, search in searches.items():
                began = time.process_time()
                best = search(seed)
                seconds = time.process_time() - began
                chosen = adjusted(system, settings_of(best))
                figures[name][seed] = (
                    loss(best),
                    objective.compare([objective.unseen(system), objective.unseen(chosen)]).tuned,
                    seconds,
                )
                print(f"seed {seed} {name}: {figures[name][seed].round(5)}", file=sys.stderr, flush=True)
    reference = figures["Hyperopt TPE"]
    text = (
        f"{options.trials} trials, {options.seeds} seeds, log loss; less is better. {datetime.now(UTC):%Y-%m-%d}.\n\n"
    )
    beside = "less Hyperopt's, paired (se)"
    text += f"| search | held-out loss of the best (sd) | {beside} | better at | unseen rows | {beside} | CPU s |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for name, values in figures.items():
        difference = values[:, 0] - reference[:, 0]
        less = "" if name == "Hyperopt TPE" else f"{paired(difference)} | {int((difference < 0).sum())}"
        text += f"| {name} | {values[:, 0].mean():.4f} ({values[:, 0].std(ddof=1):.4f}) | {less or ' | '} | "
        unseen = "" if name == "Hyperopt TPE" else paired(values[:, 1] - reference[:, 1])
        text += f"{values[:, 1].mean():.4f} | {unseen} | {values[:, 2].mean():.0f} |\n"
    print(text)
    if options.write:
        _, mark, workers = RESULTS.read_text().partition(WORKERS)
        RESULTS.write_text(f"# Searches beside Hyperopt's\n\n{METHOD}\n{text}\n{mark}{workers}".rstrip() + "\n")


if __name__ == "__main__":
    main()
