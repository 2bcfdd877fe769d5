"""Metrics of predictions without their truth: how near estimates are to what came, beside NannyML's.

    python benchmarks/estimated.py --peer PYTHON [--write]

PYTHON is that of an environment made from ``peers/nannyml.lock``. Models are headrace's own, fitted on a part of the
rows; estimates are of windows of the others. Windows of the kind ``same`` are rows like those of the training,
``others`` are chosen by what the model knows of them (women, the third class, warm hours): only the mix of rows
changed. ``later`` rows are of a time that the training had not seen: what rows mean may have changed too, which no
estimate can see.

``was`` is the metric itself; every other figure is the mean distance from it. ``naive`` says that a window is as good
as the held-out rows, which is what is believed without an estimate. ``chance`` is how far a window as long lies from
its expectation by itself: nothing can be nearer for long. Both estimates get the same probabilities, predictions and
held-out rows. CPU is of fitting and estimating all that the table names; reading files and importing libraries are
not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl

from datasets import SHARED
from headrace import Boosting, Classifier, Column, Contract, Linear, Schedule, Source, System
from headrace.estimation.calibration import one_hot
from headrace.estimation.confidence import Answers, expected, metrics_of
from headrace.estimation.reference import HeldOutReference
from headrace.features import col
from headrace.loading import load_system
from headrace.policy.monitoring import EstimatedPerformance
from headrace.policy.monitoring.rules import HIGHER_IS_BETTER
from headrace.sources import simulated
from headrace.tasks.rows.training import fit
from headrace.tasks.rows.trials import known

HERE = Path(__file__).parent
PEER, RESULTS = HERE / "peers" / "nannyml_cbpe.py", HERE / "results" / "estimated.md"
NAMES = {"auc": "roc_auc", "macro_f1": "f1"}
"""What NannyML calls a metric, where it has another name."""
TYPES = {"Survived": pl.Int64, "Pclass": pl.Int64, "SibSp": pl.Int64, "Parch": pl.Int64, "Age": pl.Float64}
KINDS = ("same", "others", "later")
Choice = tuple[str, pl.Expr]


@dataclass
class Scenario:
    """Held-out predictions of a model, and windows of others that it makes.

    Attributes:
        name: What the rows are.
        size: Of a window.
        values: The classes.
        held, truth: Held-out predictions, and what was true of them.
        windows: Kind, predictions and truth.
    """

    name: str
    size: int
    values: tuple[Any, ...]
    held: Answers
    truth: np.ndarray
    windows: list[tuple[str, Answers, np.ndarray]] = field(default_factory=list)


def scenario(
    name: str, system: System, rows: pl.DataFrame, size: int
) -> tuple[Scenario, Callable[[str, pl.DataFrame], None]]:
    """Fit a model; and a function that adds a window of rows to the scenario."""
    fitted = fit(system, rows)
    output, judged = fitted.output, known(fitted.held_out)
    places = {value: place for place, value in enumerate(output.classes)}

    def answers(numbers: np.ndarray) -> Answers:
        frame = output.frame(output.answers(numbers), rows.schema[system.target])
        predicted = np.array([places[value] for value in frame[system.target]])
        return Answers(output.stated(frame, output.classes), predicted)

    truth = fitted.actual[judged].astype(np.intp)
    found = Scenario(name, size, output.classes, answers(fitted.held_out[judged]), truth)

    def add(kind: str, window: pl.DataFrame) -> None:
        truth = np.array([places[value] for value in window[system.target]])
        found.windows.append((kind, answers(fitted.model.numbers(window)), truth))

    return found, add


def drawn(rng: np.random.Generator, rows: pl.DataFrame, size: int, count: int) -> list[pl.DataFrame]:
    """Windows of rows, each drawn without putting back; none where there are too few."""
    return [rows[np.sort(rng.permutation(rows.height)[:size])] for _ in range(count)] if rows.height >= size else []


def parted(
    name: str,
    system: System,
    rows: pl.DataFrame,
    sizes: tuple[int, int],
    choices: Sequence[Choice],
    counts: tuple[int, int],
) -> tuple[Scenario, Callable[[str, pl.DataFrame], None]]:
    """A model of some of the rows, and windows of the others: like them, and by each choice."""
    learnt, size = sizes
    rng = np.random.default_rng(learnt + rows.height + len(name))
    order = rng.permutation(rows.height)
    found, add = scenario(name, system, rows[np.sort(order[:learnt])], size)
    others = rows[np.sort(order[learnt:])]
    for window in drawn(rng, others, size, counts[0]):
        add("same", window)
    for _, chosen in choices:
        for window in drawn(rng, others.filter(chosen), size, counts[1]):
            add("others", window)
    return found, add


def titanic() -> list[Scenario]:
    """Real passengers in five partings, and simulated ones."""
    root = HERE.parent / "systems" / "titanic"
    system = load_system(str(root))
    choices = [
        ("women", pl.col("Sex") == "female"),
        ("men", pl.col("Sex") == "male"),
        ("third class", pl.col("Pclass") == 3),
        ("other classes", pl.col("Pclass") < 3),
    ]
    rows = simulated.passengers(as_of=datetime(2026, 3, 1, tzinfo=UTC), rows=9000).filter(
        pl.col("Survived").is_not_null()
    )
    rows = rows.with_columns(pl.col(name).cast(kind) for name, kind in TYPES.items())
    found = [parted("titanic, simulated", system, rows, (800, 200), choices, (40, 10))[0]]
    path = SHARED / "titanic" / "train.csv"
    if path.exists():
        real = pl.read_csv(path, schema_overrides=TYPES).with_columns(pl.col("Fare").cast(pl.Float64))
        for parting in range(5):
            shuffled = real.sample(fraction=1, shuffle=True, seed=parting)
            found.append(parted("titanic", system, shuffled, (450, 100), choices, (4, 2))[0])
    return found


def classes(name: str, columns: Sequence[Column], target: Column, features: Mapping[str, Any]) -> System:
    """A system of classes with boosted trees and a linear model."""
    return System(
        name=name,
        source=Source(),
        contract=Contract(columns=(Column("id", "integer"), *columns, target)),
        keys=("id",),
        target=target.name,
        features=features,
        model=Classifier(members=(Boosting(n_estimators=60, num_leaves=15), Linear())),
        schedule=Schedule(predict="never", train="never"),
    )


def steel() -> list[Scenario]:
    """Load types of a steel works: three classes; the training is of the first four months."""
    path = SHARED / "steel_industry" / "Steel_industry_data.csv.gz"
    if not path.exists():
        return []
    rows = pl.read_csv(path, infer_schema_length=None).rename(
        {"Usage_kWh": "usage", "NSM": "second", "Load_Type": "load", "WeekStatus": "week"}
    )
    rows = rows.rename({"Lagging_Current_Reactive.Power_kVarh": "lagging", "Lagging_Current_Power_Factor": "factor"})
    rows = rows.select("usage", "second", "lagging", "factor", "week", "load").with_row_index("id")
    rows = rows.with_columns(
        pl.col("id", "second").cast(pl.Int64), pl.col("usage", "lagging", "factor").cast(pl.Float64)
    )
    numbers = ("usage", "second", "lagging", "factor")
    columns = [Column(name, "integer" if name == "second" else "float") for name in numbers]
    target = Column("load", "category", values=("Light_Load", "Medium_Load", "Maximum_Load"))
    # Without the time of day the classes cannot be told for certain: with it this would be too easy.
    features = {"usage": col("usage"), "lagging": col("lagging"), "factor": col("factor"), "week": col("week")}
    system = classes("steel", [*columns, Column("week", "category")], target, features)
    choices = [
        ("much", pl.col("usage") > 20),
        ("working days", pl.col("week") == "Weekday"),
        ("low factor", pl.col("factor") < 70),
    ]
    days = 96
    found, add = parted("steel", system, rows[: 120 * days], (3000, 7 * days), choices, (10, 6))
    for begin in range(120 * days, rows.height - 7 * days + 1, 7 * days):
        add("later", rows[begin : begin + 7 * days])
    return [found]


def bikes() -> list[Scenario]:
    """Whether an hour is busy, of a bike hire that grew by two thirds from its first year to its second."""
    path = SHARED / "bike_sharing" / "hour.csv.gz"
    if not path.exists():
        return []
    rows = pl.read_csv(path, infer_schema_length=None).with_columns(
        busy=(pl.col("cnt") > 150).cast(pl.Int64), id=pl.col("instant").cast(pl.Int64)
    )
    names = ("hr", "workingday", "weathersit", "temp", "hum", "windspeed")
    whole = names[:3]
    columns = [Column(name, "integer" if name in whole else "float") for name in names]
    system = classes("bikes", columns, Column("busy", "integer", values=(0, 1)), {name: col(name) for name in names})
    rows = rows.with_columns(pl.col(name).cast(pl.Int64 if name in whole else pl.Float64) for name in names)
    choices = [
        ("free days", pl.col("workingday") == 0),
        ("warm", pl.col("temp") > 0.6),
        ("by day", pl.col("hr").is_between(8, 20)),
        ("bad weather", pl.col("weathersit") >= 2),
    ]
    found, add = parted("bikes", system, rows.filter(pl.col("yr") == 0), (3000, 500), choices, (10, 5))
    later = rows.filter(pl.col("yr") == 1)
    for begin in range(0, later.height - 499, 500):
        add("later", later[begin : begin + 500])
    return [found]


def ours(found: Scenario) -> tuple[HeldOutReference, list[dict[str, float]], float]:
    """The reference, the estimates of every window, and CPU seconds."""
    began = time.process_time()
    reference = HeldOutReference.of(found.values, found.truth, found.held)
    estimates = [expected(answers, reference.chances(answers.stated)) for _, answers, _ in found.windows]
    return reference, estimates, time.process_time() - began


def peers(scenarios: Sequence[Scenario], python: str) -> list[dict[str, Any]]:
    """NannyML's estimates of the same."""
    with tempfile.TemporaryDirectory() as folder:
        for place, each in enumerate(scenarios):
            name = f"{folder}/{place:03}"
            _frame(each.held, each.truth).write_parquet(f"{name}.reference.parquet")
            windows = [_frame(answers, truth) for _, answers, truth in each.windows]
            pl.concat(windows).write_parquet(f"{name}.current.parquet")
            Path(f"{name}.json").write_text(json.dumps({"size": each.size}), encoding="utf-8")
        done = subprocess.run([python, str(PEER), folder], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    return [told[f"{place:03}"] for place in range(len(scenarios))]


def _frame(answers: Answers, truth: np.ndarray) -> pl.DataFrame:
    chances = {f"chance_{place}": answers.stated[:, place] for place in range(answers.stated.shape[1])}
    return pl.DataFrame({**chances, "predicted": answers.predicted, "truth": truth})


def measured(found: Scenario, told: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], float]:
    """A row for each window and metric, and our CPU seconds."""
    reference, estimates, cpu = ours(found)
    rows = []
    for place, ((kind, answers, truth), estimate) in enumerate(zip(found.windows, estimates, strict=True)):
        realised = expected(answers, one_hot(truth, len(found.values)))
        for metric in metrics_of(len(found.values)):
            theirs = None if told is None else told["metrics"].get(NAMES.get(metric, metric))
            row = {"set": found.name, "kind": kind, "metric": metric, "realised": realised[metric]}
            row |= {"estimated": estimate[metric], "peer": None if theirs is None else theirs[place]}
            row |= {"held_out": reference.held_out[metric], "limit": limit(reference, metric, found.size)}
            deviation = reference.deviations[metric] / math.sqrt(found.size)
            rows.append(row | {"chance": deviation * math.sqrt(2 / math.pi)})
    return rows, cpu


def limit(reference: HeldOutReference, metric: str, rows: int) -> float:
    """Beyond which `EstimatedPerformance` warns where no threshold is declared."""
    rule, held = EstimatedPerformance(), reference.held_out[metric]
    higher = metric in HIGHER_IS_BETTER
    distance = max(rule.sure * reference.deviation(metric, rows), rule.least * (1 - held if higher else held))
    return held - distance if higher else held + distance


def tables(frame: pl.DataFrame) -> str:
    """The figures as Markdown."""
    apart = {
        "naive": (pl.col("held_out") - pl.col("realised")).abs().mean(),
        "headrace": (pl.col("estimated") - pl.col("realised")).abs().mean(),
        "NannyML": (pl.col("peer") - pl.col("realised")).abs().mean(),
        "chance": pl.col("chance").mean(),
        "between": (pl.col("estimated") - pl.col("peer")).abs().mean(),
    }
    order = pl.col("kind").replace_strict({kind: place for place, kind in enumerate(KINDS)}, return_dtype=pl.Int64)
    lines = [
        "| rows | windows | kind | metric | was | naive | headrace | NannyML | chance |",
        "|---|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    chosen = frame.filter(pl.col("metric").is_in(["accuracy", "log_loss", "auc", "macro_f1"]))
    groups = chosen.group_by("set", "kind", "metric", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("realised").mean(), **apart
    )
    for row in groups.sort("set", order, maintain_order=True).iter_rows(named=True):
        names = ("realised", "naive", "headrace", "NannyML", "chance")
        figures = " | ".join("-" if row[name] is None else f"{row[name]:.3f}" for name in names)
        lines.append(f"| {row['set']} | {row['n']} | {row['kind']} | {row['metric']} | {figures} |")
    unlike = frame.filter((pl.col("kind") != "later") & pl.col("peer").is_not_null())
    agreement = unlike.group_by("metric", maintain_order=True).agg(pl.len().alias("n"), **apart)
    lines += ["", "All windows of the kinds `same` and `others`, by metric:", ""]
    lines += ["| metric | windows | between the two | headrace | NannyML |", "|---|---:|---:|---:|---:|"]
    for row in agreement.iter_rows(named=True):
        figures = " | ".join(f"{row[name]:.4f}" for name in ("between", "headrace", "NannyML"))
        lines.append(f"| {row['metric']} | {row['n']} | {figures} |")
    return "\n".join(lines) + "\n\n" + warnings(frame, order)


def warnings(frame: pl.DataFrame, order: pl.Expr) -> str:
    """How many windows are beyond the limit of the rule that watches by itself, by the estimate and by the truth."""
    rule = frame.filter(pl.col("metric") == "log_loss").with_columns(
        told=pl.col("estimated") > pl.col("limit"), true=pl.col("realised") > pl.col("limit")
    )
    both = (pl.col("told") & pl.col("true")).sum()
    counts = rule.group_by("set", "kind", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("told", "true").sum(), both=both
    )
    lines = [
        "Windows beyond the limit of `EstimatedPerformance()`, by their log loss (an alert needs two in a row):",
        "",
        "| rows | kind | windows | by the estimate | by the truth | by both |",
        "|---|---|---:|---:|---:|---:|",
    ]
    rows = counts.sort("set", order, maintain_order=True).select("set", "kind", "n", "told", "true", "both").rows()
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of an environment made from peers/nannyml.lock.")
    parser.add_argument("--write", action="store_true", help="Write results/estimated.md.")
    options = parser.parse_args()
    scenarios = [*titanic(), *steel(), *bikes()]
    if not SHARED.exists():
        print(f"there is no {SHARED}: simulated rows alone are measured", file=sys.stderr)
    told: Sequence[Mapping[str, Any] | None] = [None] * len(scenarios)
    if options.peer:
        told = peers(scenarios, options.peer)
    pairs = [measured(found, each) for found, each in zip(scenarios, told, strict=True)]
    frame = pl.DataFrame([row for rows, _ in pairs for row in rows], infer_schema_length=None)
    cpu, windows = sum(seconds for _, seconds in pairs), sum(len(each.windows) for each in scenarios)
    line = f"CPU of {len(scenarios)} references and {windows} windows: headrace {cpu:.2f} s"
    if options.peer:
        theirs = sum(each["cpu"] for each in told if each is not None)
        line += f", NannyML {theirs:.2f} s, {theirs / cpu:.0f} x as much"
    text = f"{tables(frame)}\n\n{line}."
    print(text)
    if options.write:
        method = (__doc__ or "").split("\n\n", 2)[2].strip()
        RESULTS.write_text(f"# Estimated performance\n\n{method}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
