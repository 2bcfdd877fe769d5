"""What batch forecasting costs, beside a hand-written script and the forecasting libraries: whole processes throughout.

    python benchmarks/batch.py [--only refresh,backfill,features,fit] [--series 76,1000,10000] [--repeat 3] [--write]

CPU seconds (user and system, children included), wall seconds and the peak memory of the largest process: the median
of the repeats, with the least and the most. Imports, reading and writing are part of every figure; bytecode is compiled
beforehand for all. Commands that are compared take turns. A peer with an environment of its own is skipped when its
interpreter is not given (--mlforecast, --sktime). What is prepared (data, trained models) is kept in the folder --work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS, RESULTS = HERE / "peers", HERE / "results" / "batch.md"
FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAYS, AHEAD = 60, 24
"""Days of history, and how many hourly refreshes are prepared."""
BACKFILLED, ORIGINS = 66, 1440
EQUAL = 1e-6
"""The hand-written script must say the same as headrace, to this relative difference."""
MEASURES = ("refresh", "backfill", "features", "fit")
PACKAGES = ("numpy", "polars", "lightgbm", "deltalake", "mlforecast", "sktime", "pandas", "scikit-learn", "pyarrow")


@dataclass(frozen=True)
class Cost:
    """What one process cost, and what it printed."""

    cpu: float
    wall: float
    peak: float
    said: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        found: dict[str, Any] = json.loads(self.said)
        return found


@dataclass
class Report:
    """The rows of the table and the targets, printed as they come."""

    lines: list[str] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)

    def section(self, title: str) -> None:
        """Begin a table."""
        self.say(f"\n## {title}\n")
        self.say(f"| {'':<66} | {'CPU s':>24} | {'wall s':>24} | {'peak MB':>17} | {'CPU, times ours':>15} |")
        self.say(f"| {'-' * 66} | {'-' * 23}: | {'-' * 23}: | {'-' * 16}: | {'-' * 14}: |")

    def row(self, what: str, costs: Sequence[Cost], beside: float | None = None) -> float:
        """One line of the table; returns the median CPU seconds."""
        cpu = statistics.median(c.cpu for c in costs)
        cells = [
            _range([c.cpu for c in costs], 2),
            _range([c.wall for c in costs], 2),
            _range([c.peak for c in costs], 0),
            f"{cpu / beside:.2f}" if beside else "",
        ]
        self.say(f"| {what:<66} | {cells[0]:>24} | {cells[1]:>24} | {cells[2]:>17} | {cells[3]:>15} |")
        return cpu

    def target(self, what: str, value: float, limit: float, *, most: bool = True, digits: int = 2) -> None:
        """Whether a figure keeps its limit."""
        met = value <= limit if most else value >= limit
        sign = "at most" if most else "at least"
        self.say(f"- {'met' if met else 'MISSED'}: {what}: {value:,.{digits}f} ({sign} {limit:,g})")


def _range(values: Sequence[float], digits: int) -> str:
    median = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1 or not median.strip("0."):
        return median
    return f"{median} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def measure(command: Sequence[str | Path], *, alone: bool = False) -> Cost:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        alone: On one core, with one thread in every library: two threads that share a core, or wait for one another
            in a loop, cost more CPU seconds for the same work.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if alone:
        names = ("HEADRACE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        environment |= dict.fromkeys(names, "1")
        command = ["taskset", "--cpu-list", "0", *command] if shutil.which("taskset") else command
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=err, env=environment, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
        if process.returncode:
            err.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said[-1000:]}{err.read()[-3000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, said)


def in_turn(commands: dict[str, Callable[[int], Sequence[str | Path]]], repeat: int) -> dict[str, list[Cost]]:
    """Every command `repeat` times, one after the other, so that a busy moment of the machine falls on all."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for i in range(1, repeat + 1):
        for name, command in commands.items():
            costs[name].append(measure(command(i)))
    return costs


class Prepared:
    """The data and the trained model of some series, made once and kept in the work folder."""

    def __init__(self, work: Path, series: int) -> None:
        self.series = series
        self.system = _system(work)
        self.folder = work / f"series-{series}"
        self.source = f"simulated:?series={series}&days={DAYS}"
        self.trained, self.ahead = self.folder / "trained", self.folder / "ahead"

    def make(self) -> None:
        """Train on what is known at `FIRST`; ingest a day more beside it; export it for the peers."""
        self._once("trained", self._train)
        self._once("ahead", self._ingest)
        self._once("exported", self._export)

    def _once(self, name: str, make: Callable[[], None]) -> None:
        done = self.folder / f"{name}.done"
        if not done.exists():
            print(f"preparing {self.series} series: {name}", flush=True)
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            make()
            done.touch()

    def _train(self) -> None:
        cost = measure(self.headrace("run", self.trained, FIRST, "--source", self.source))
        print(f"  {cost.cpu:.0f} s CPU, {cost.peak:.0f} MB at the peak", flush=True)

    def _ingest(self) -> None:
        shutil.copytree(self.trained, self.ahead)
        measure(self.headrace("ingest", self.ahead, _hours(AHEAD), "--source", self.source))

    def _export(self) -> None:
        measure([*self.ours("export", self.ahead, _hours(1)), "--out", self.folder / "exported"])

    @property
    def facts(self) -> Path:
        """What was known and when, for the hand-written script."""
        return self.folder / "exported" / "facts.parquet"

    @property
    def latest(self) -> Path:
        """The last value of every hour without gaps, for mlforecast and sktime."""
        return self.folder / "exported" / "latest.parquet"

    @property
    def model(self) -> Path:
        """The files of the trained model."""
        (folder,) = (each for each in (self.ahead / "models").iterdir() if each.is_dir())
        return folder

    def copy(self, home: Path, name: str) -> Path:
        """A home to spoil."""
        target = self.folder / f"scratch-{name}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(home, target)
        return target

    def headrace(self, command: str, home: Path, as_of: datetime, *more: str) -> list[str | Path]:
        """A command of headrace as of a time."""
        always = ["--home", home, "--as-of", as_of.isoformat(), "--json"]
        return [sys.executable, "-m", "headrace", command, self.system, *always, *more]

    def ours(self, what: str, home: Path, as_of: datetime) -> list[str | Path]:
        """A part of headrace as a script."""
        always = ["--system", self.system, "--home", home, "--as-of", as_of.isoformat()]
        return [sys.executable, PEERS / "ours.py", what, *always]


def _system(work: Path) -> Path:
    """The energy system, for any number of series: the codes of made-up industries are no three digits."""
    source, folder = ROOT / "systems" / "energy", work / "energy"
    folder.mkdir(parents=True, exist_ok=True)
    text = (source / "system.py").read_text(encoding="utf-8")
    (folder / "system.py").write_text(text.replace(r"^\d{3}$", r"^\w{3,6}$"), encoding="utf-8")
    shutil.copy(source / "config.yaml", folder)
    return folder


def _threads(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _hours(count: int) -> datetime:
    return FIRST + timedelta(hours=count)


class Batch:
    """The measures."""

    def __init__(self, options: argparse.Namespace, report: Report) -> None:
        self.options, self.report = options, report
        self.work: Path = options.work
        self.repeat: int = options.repeat
        self._later: list[tuple[str, float, float]] = []

    def mlforecast(self, what: str, history: Path, *more: str | Path) -> list[str | Path]:
        """A command of the peer mlforecast."""
        script = PEERS / "mlforecast_refresh.py"
        return [self.options.mlforecast, script, what, "--history", history, *more]

    def mlforecast_model(self) -> Path:
        """Its model, fitted once: on 76 series, because it too learns from 120,000 rows at most."""
        model = self.work / "mlforecast-model"
        if not model.exists():
            few = Prepared(self.work, 76)
            few.make()
            measure(self.mlforecast("fit", few.latest, "--model", model))
        return model

    # --- the hourly refresh -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """One hour's refresh with a trained model, for every number of series."""
        per_series: dict[int, float] = {}
        for series in self.options.series:
            prepared = Prepared(self.work, series)
            prepared.make()
            predicted, peak = self._refresh(prepared)
            per_series[series] = predicted / series
            if series >= 10_000:
                self.report.target(f"peak MB of predict, {series:,} series", peak, 700, digits=0)
        if {1000, 10_000} <= per_series.keys():
            ratio = per_series[10_000] / per_series[1000]
            self.report.target("CPU per series at 10,000 series, times that at 1,000", ratio, 1.2)

    def _refresh(self, prepared: Prepared) -> tuple[float, float]:
        """Median CPU seconds and peak MB of headrace's predict."""
        report, series = self.report, prepared.series
        run, predict = prepared.copy(prepared.trained, "run"), prepared.copy(prepared.ahead, "predict")
        scratch = prepared.folder / "scratch-predictions.parquet"
        source = ["--source", prepared.source]
        hand = [sys.executable, PEERS / "handwritten.py", "--facts", prepared.facts, "--model", prepared.model]
        commands: dict[str, Callable[[int], Sequence[str | Path]]] = {
            "headrace predict": lambda i: prepared.headrace("predict", predict, _hours(i)),
            "hand-written polars + LightGBM": lambda i: [*hand, "--as-of", _hours(i).isoformat(), "--out", scratch],
            "headrace run: ingest, check, predict, monitor": lambda i: prepared.headrace(
                "run", run, _hours(i), *source
            ),
        }
        if self.options.mlforecast:
            model = self.mlforecast_model()
            peer = self.mlforecast("refresh", prepared.latest, "--model", model, "--out", f"{scratch}.mlforecast")
            commands["mlforecast"] = lambda i: peer
        costs = in_turn(commands, self.repeat)
        report.section(f"Refresh of {series:,} series, {DAYS} days of hourly history, the next {AHEAD} hours")
        predicted = costs.pop("headrace predict")
        ours = report.row("headrace predict", predicted)
        cpu = {name: report.row(name, each, ours) for name, each in costs.items()}
        report.say()
        self._same_numbers(prepared, predict, scratch)
        if series >= 1000:
            ratio = ours / cpu["hand-written polars + LightGBM"]
            report.target(f"CPU, times that of the hand-written script, {series:,} series", ratio, 1.3)
        if "mlforecast" in cpu and series == 76:
            report.target("mlforecast's CPU, times ours, 76 series", cpu["mlforecast"] / ours, 3, most=False)
        for home in (run, predict):
            shutil.rmtree(home)
        return ours, statistics.median(c.peak for c in predicted)

    def _same_numbers(self, prepared: Prepared, home: Path, path: Path) -> None:
        """The hand-written script does the same work, or the comparison is worth nothing."""
        told = measure([*prepared.ours("compare", home, _hours(self.repeat)), "--with", path]).told
        worst = max(told["worst"].values())
        if not told["ours"] == told["theirs"] == told["both"]:
            raise SystemExit(f"the hand-written script predicts {told['theirs']} rows, headrace {told['ours']}")
        if not worst <= EQUAL:
            raise SystemExit(f"the hand-written script differs by {worst:.2g}: {told['worst']}")
        self.report.say(
            f"Both say the same: {told['both']:,} predictions, intervals and baselines, "
            f"greatest relative difference {worst:.1g}."
        )
        self.report.say()

    # --- the backfill -------------------------------------------------------------------------------------------

    def backfill(self) -> None:
        """60 days of hourly forecasts of 66 series, each from what was known at its time."""
        report, end = self.report, FIRST + timedelta(hours=ORIGINS - 1)
        prepared = Prepared(self.work / "backfill", BACKFILLED)
        prepared.source = f"simulated:?series={BACKFILLED}&days={2 * DAYS + 5}"
        exported = prepared.folder / "exported"
        if not prepared.latest.exists():
            measure(prepared.headrace("ingest", prepared.ahead, end, "--source", prepared.source))
            measure([*prepared.ours("export", prepared.ahead, end), "--out", exported])
        report.section(f"Backfill of {ORIGINS:,} hourly origins, {BACKFILLED} series")
        ours = self._our_backfill(prepared, end, 1)
        self._our_backfill(prepared, end, 2)
        if self.options.mlforecast:
            few, model, out = 24, self.mlforecast_model(), exported / "scratch.parquet"
            more = ["--model", model, "--out", out, "--origins", str(few), "--threads"]
            peers = {n: self.mlforecast("backfill", prepared.latest, *more, str(n)) for n in (1, 2)}
            self._scaled("mlforecast, a predict per origin", peers, few, ours, 5)
        if self.options.sktime:
            model, script = self.work / "sktime-model.joblib", PEERS / "sktime_reduction.py"
            told = ["--history", prepared.latest, "--model", model]
            if not model.exists():
                measure([self.options.sktime, script, "fit", *told])
            peers = {1: [self.options.sktime, script, "backfill", *told, "--threads", "1"]}
            self._scaled("sktime, an update and predict per origin", peers, 1, ours, 1000)
        report.say()
        report.say("Ours ingests, trains once, checks, stores with lineage and scores what matured; the others predict")
        report.say("only, with a model that is there. Their figures are scaled from the origins measured, start-up")
        report.say("counted once. With one thread, every command has one core to itself.")
        report.say()
        for what, value, least in self._later:
            report.target(what, value, least, most=False)

    def _our_backfill(self, prepared: Prepared, end: datetime, workers: int) -> float:
        home = prepared.folder / "scratch-backfill"
        shutil.rmtree(home, ignore_errors=True)
        command = [sys.executable, "-m", "headrace", "backfill", prepared.system, "--home", home]
        command += ["--source", prepared.source, "--start", FIRST.isoformat(), "--end", end.isoformat()]
        command += ["--every", "1h", "--workers", str(workers), "--json", "--set", "schedule.train=never"]
        cost = measure(command, alone=workers == 1)
        if cost.told["runs"] != ORIGINS:
            raise SystemExit(f"{cost.told['runs']} of {ORIGINS} runs have predictions")
        shutil.rmtree(home)
        return self.report.row(f"headrace backfill, {_threads(workers, 'process', 'processes')}", [cost])

    def _scaled(self, what: str, peers: dict[int, list[str | Path]], origins: int, ours: float, least: float) -> None:
        """A peer's loop by number of threads, measured over some origins and scaled linearly to all of them."""
        factor = (ORIGINS - origins) / origins
        for threads, command in peers.items():
            cost = measure(command, alone=threads == 1)
            loop = cost.told["cpu"]
            whole = Cost(cost.cpu + loop * factor, cost.wall + cost.wall * loop / cost.cpu * factor, cost.peak)
            name = f"{what}, {_threads(threads, 'thread', 'threads')}"
            self.report.row(f"{name} ({origins} measured)", [whole], ours)
            if threads == 1:
                self._later.append(
                    (f"{what.partition(',')[0]}'s CPU on one thread, times ours", whole.cpu / ours, least)
                )

    # --- features and fit ---------------------------------------------------------------------------------------

    def features(self) -> None:
        """The matrix that a model learns from."""
        prepared = Prepared(self.work, 76)
        prepared.make()
        commands = {"headrace: one member's matrix of its sample": self._part(prepared, "features")}
        if self.options.mlforecast:
            peer = self.mlforecast("features", prepared.latest)
            commands["mlforecast: preprocess"] = lambda i: peer
        self._parts(f"Features of 76 series, {DAYS} days of hourly history", commands)
        self.report.say()
        self.report.say("Ours: every row draws its own step ahead, and is in units of its series. mlforecast's: one")
        self.report.say("step ahead, calendars of two columns.")

    def fit(self) -> None:
        """Training."""
        prepared = Prepared(self.work, 76)
        prepared.make()
        home = prepared.copy(prepared.ahead, "train")
        commands = {
            "headrace: fit, four boosters and a backtest": self._part(prepared, "fit"),
            "headrace train: the command": lambda i: prepared.headrace("train", home, _hours(i)),
        }
        if self.options.mlforecast:
            peer = self.mlforecast("fit", prepared.latest, "--model", self.work / "scratch-model")
            commands["mlforecast: fit, one booster"] = lambda i: peer
        self._parts("Fit of 300 trees, 31 leaves on up to 120,000 rows", commands)
        self.report.say()
        self.report.say("Ours fits two members, each twice: once without the newest part, to measure honest intervals")
        self.report.say("and scores on it, and once on all. mlforecast's fit has no intervals and no scores.")
        shutil.rmtree(home)

    def _part(self, prepared: Prepared, what: str) -> Callable[[int], Sequence[str | Path]]:
        return lambda i: prepared.ours(what, prepared.ahead, _hours(i))

    def _parts(self, title: str, commands: dict[str, Callable[[int], Sequence[str | Path]]]) -> None:
        """Whole processes, and below each what the part itself cost, without imports and reading."""
        report, first = self.report, None
        report.section(title)
        notes = []
        for name, costs in in_turn(commands, self.repeat).items():
            cpu = report.row(name, costs, first)
            first = first or cpu
            told = [c.told for c in costs]
            if "cpu" in told[0]:
                alone, one = statistics.median(t["cpu"] for t in told), told[0]
                per = f", {alone / one['units']:.2f} s a booster" if one.get("units", 1) > 1 else ""
                notes.append(
                    f"- {name}, without imports and reading: {alone:.2f} s CPU{per}; "
                    f"{one['rows']:,} rows, {one['columns']} columns"
                )
        report.say()
        for note in notes:
            report.say(note)


def compile_all(pythons: Sequence[str | Path]) -> None:
    """Bytecode for all packages of all environments and for headrace: nobody is to compile while measured."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    for python in pythons:
        folder = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
        compiled = [python, "-m", "compileall", "-q", folder, ROOT / "src", PEERS]
        subprocess.run(compiled, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def versions(python: str | Path) -> str:
    """The packages of an environment that matter here."""
    script = (
        "import platform, importlib.metadata as m\n"
        "print('Python', platform.python_version(), end='')\n"
        f"for name in {PACKAGES}:\n"
        "    try: print(',', name, m.version(name), end='')\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout


def machine() -> str:
    """Processor, cores, memory and system."""
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = found[1] if found else platform.processor()
    return f"{processor}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.machine()}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(MEASURES), help="measures, separated by commas")
    parser.add_argument("--series", default="76,1000,10000", help="numbers of series of the refresh")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--mlforecast", metavar="PYTHON", help="interpreter of an environment with mlforecast")
    parser.add_argument("--sktime", metavar="PYTHON", help="interpreter of an environment with sktime")
    parser.add_argument("--work", type=Path, help="folder of what is prepared; default: a new one, removed at the end")
    parser.add_argument("--write", action="store_true", help=f"save to {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    options.series = [int(each) for each in options.series.split(",")]
    unknown = [each for each in options.only if each not in MEASURES]
    if unknown:
        parser.error(f"no measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    for name in ("mlforecast", "sktime"):
        python = getattr(options, name)
        if python is None or shutil.which(python) is None:
            print(f"skipped: {name}; give --{name} PYTHON, an interpreter that has it", flush=True)
            setattr(options, name, None)
        else:
            setattr(options, name, str(Path(python).absolute()))
    return options


def main() -> None:
    """Run it."""
    options = parse()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        options.work = (options.work or Path(folder)).absolute()
        pythons = {"headrace, hand-written": sys.executable, "mlforecast": options.mlforecast, "sktime": options.sktime}
        pythons = {name: python for name, python in pythons.items() if python}
        compile_all(list(pythons.values()))
        report.say("# Batch forecasting: whole processes beside a hand-written script and libraries\n")
        report.say(f"- Command: `python benchmarks/batch.py {_plain(sys.argv[1:])}`")
        report.say(f"- Date: {datetime.now(UTC):%Y-%m-%d}")
        report.say(f"- Machine: {machine()}; load at the start {os.getloadavg()[0]:.1f}")
        for name, python in pythons.items():
            report.say(f"- {name}: {versions(python)}")
        report.say(f"- Median of {options.repeat} runs (least-most); the backfill is run once. {_what_is_measured()}")
        batch = Batch(options, report)
        for name in options.only:
            getattr(batch, name)()
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(report.lines) + "\n", encoding="utf-8")


def _what_is_measured() -> str:
    return "CPU is user and system time, children included; the peak is the largest process's."


def _plain(arguments: Sequence[str]) -> str:
    """The arguments without the folders of this machine."""
    text = re.sub(r"(--work)[ =]\S+", r"\1 FOLDER", " ".join(arguments))
    return re.sub(r"(--mlforecast|--sktime)[ =]\S+", r"\1 PYTHON", text)


if __name__ == "__main__":
    main()
