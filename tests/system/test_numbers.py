"""A system of numbers from a file: rows that cannot be true, columns without a value, answers that come to say more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import Boosting, Column, Contract, Linear, Regressor, Rules, Source, System
from headrace.console import evaluation_report, run_report
from headrace.features import col
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.home import QUARANTINE, Home
from headrace.models.base import Learner
from headrace.pipelines.comparison import compare
from headrace.pipelines.predictions import replay
from headrace.reporting import write_report
from headrace.settings import Settings
from headrace.tasks import task_of
from headrace.tasks.paired import PairRequest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MORE = {"tell_members": True, "notes": {"kind": "priced by weight", "brand": "priced by kind"}, "intervals_by": "kind"}


def declared(member: Learner | None = None, **settings: Any) -> System:
    return System(
        name="prices",
        source=Source(uri="file:prices.csv"),
        contract=Contract(
            columns=(
                Column("item", "text"),
                Column("kind", "category"),
                Column("brand", "category", nullable=True),
                Column("weight", "float"),
                Column("price", "float", minimum=0, nullable=True),
            )
        ),
        keys=("item",),
        target="price",
        features={name: col(name) for name in ("kind", "brand", "weight")},
        model=Regressor(
            members=(member or Linear(),),
            baselines=(Rules(levels=("kind",), by=("brand",)),),
            folds=2,
            repeats=1,
            scale="log",
            learn_from=col("price") > 0,
            **settings,
        ),
    )


def rows(count: int = 120, seed: int = 0, kinds: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    weight = random.uniform(1, 9, count).round(2)
    return pl.DataFrame(
        {
            "item": [f"i{seed}-{place}" for place in range(count)],
            "kind": [f"k{n}" for n in random.integers(0, kinds, count)],
            "brand": pl.Series([None] * count, dtype=pl.String),
            "weight": weight,
            "price": np.exp(0.3 * weight + 0.2 * random.normal(size=count)).round(2).astype(str),
        }
    )


def written(frame: pl.DataFrame, path: Path) -> str:
    frame.write_csv(path)
    return f"file:{path}"


def waiting(**changes: Any) -> pl.DataFrame:
    frame = rows(2, seed=8).with_columns(price=pl.lit(None, pl.String))
    return frame.with_columns(**{name: pl.lit(value) for name, value in changes.items()})


def test_targets_that_cannot_be_true_are_quarantined_or_set_apart_and_both_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One category only, and a column that has no value at all: neither is in the way."""
    home, good = Home(Settings(home=tmp_path / "home")), rows()
    bad = rows(4, seed=1).with_columns(price=pl.Series(["0", "-3", "cheap", "0.0"]))
    system = declared()
    done = run(system, home, RunRequest(NOW, NOW, written(pl.concat([good, bad, waiting()]), tmp_path / "a.csv")))
    assert (done.rows["ingested"], done.rows["quarantined"]) == (124, 2)
    table = home.table("prices", QUARANTINE)
    reasons = " ".join(map(str, table.collect(table.scan())["reasons"].to_list()))
    assert "price" in reasons
    print(reasons)
    assert done.as_dict()["model"]["apart"] == 2
    assert done.as_dict()["model"]["metrics"]["rmsle_se"] > 0
    assert "the rules" in done.trained.verdict["baselines"]
    run_report(system, home, done)
    said = capsys.readouterr().out
    assert "learnt without 2 rows that learn_from sets apart" in said
    assert " ± " in said
    held = pl.concat([rows(30, seed=5), rows(2, seed=6).with_columns(price=pl.lit("0"))])
    scored = evaluate(system, home, EvaluateRequest(None, NOW, data=written(held, tmp_path / "held.csv")))
    figures = scored.as_dict()
    assert (figures["rows"], figures["without_set_apart"]["rows"], figures["without_set_apart"]["apart"]) == (32, 30, 2)
    assert figures["without_set_apart"]["metrics"]["rmsle"] < figures["metrics"]["rmsle"]
    assert set(figures["baselines"]) == {"mean_of_training", "median_of_training", "rules"}
    report = write_report(system, home, as_of=None, now=NOW, out=tmp_path / "report.html")
    assert "What version 1 was chosen from, by held-out RMSLE" in Path(report.path).read_text()
    evaluation_report(scored, as_json=False)
    assert "without 2 rows that a training sets apart" in capsys.readouterr().out


def test_answers_come_to_say_more_and_those_of_before_are_still_read(tmp_path: Path) -> None:
    home, later = Home(Settings(home=tmp_path / "home")), NOW + timedelta(days=1)
    data = written(pl.concat([rows(200, kinds=2), waiting()]), tmp_path / "a.csv")
    run(declared(), home, RunRequest(NOW, NOW, data))
    system = declared(**MORE)
    before = task_of(system).read(home)
    assert before["members"].to_list() == before["notes"].to_list() == [None, None]
    odd = written(waiting(kind="new").with_columns(item=pl.col("item") + "x"), tmp_path / "b.csv")
    done = run(system, home, RunRequest(later, later, odd))
    assert done.trained.promoted, "no error says that answers are to hold more"
    assert (
        "answers as declared now (notes, tell_members, intervals_by), not worse than version 1" in done.trained.reason
    )
    told = task_of(system).read(home).filter((pl.col("model_version") == 2) & pl.col("item").str.ends_with("x"))
    assert set(told["notes"]) == {'["unseen kind: priced by weight"]'}
    every_id = task_of(system).read(home)["id"].to_list()
    assert all(replay(home, name)["identical"] for name in every_id)
    compared = compare(system, home, PairRequest(1, 2, replay=True))
    assert compared.as_dict()["rows"] == 0
    figures = evaluate(
        system, home, EvaluateRequest(None, later, data=written(rows(80, seed=4, kinds=2), tmp_path / "c.csv"))
    ).as_dict()
    assert {name: one["rows"] > 20 for name, one in figures["by"]["kind"].items()} == {"k0": True, "k1": True}


def test_rules_that_are_clearly_better_are_served_and_that_is_said(tmp_path: Path) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    level = pl.col("kind").replace_strict({f"k{n}": 3.0**n for n in range(5)}, return_dtype=pl.Float64)
    data = rows(200, kinds=5).with_columns(price=(level + pl.col("price").cast(float) / 100).round(3).cast(pl.String))
    blind = Boosting(n_estimators=1, learning_rate=1e-6)
    done = run(declared(blind), home, RunRequest(NOW, NOW, written(pl.concat([data, waiting()]), tmp_path / "a.csv")))
    assert done.trained.promoted
    assert "the rules are served: better than every member and blend by more than noise" in done.trained.reason
    told = task_of(declared(blind)).read(home)
    kept = data.filter(pl.col("kind") == "k0")["price"].cast(float).median()
    assert kept is not None
    assert told["price"].to_list() == pytest.approx([kept] * 2, rel=0.05)
    assert all(replay(home, name)["identical"] for name in told["id"])
