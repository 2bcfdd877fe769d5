"""Rules over the batch, and the reports of what they found."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from headrace.contract import (
    Column,
    Contract,
    Finding,
    Gaps,
    MinimumRows,
    Share,
    Staleness,
    Validation,
    ZScore,
    check,
)
from headrace.grid import Grid

START = datetime(2023, 1, 1, tzinfo=UTC)


def series(values: list[float | None], key: str = "a") -> pl.DataFrame:
    times = [START + timedelta(hours=place) for place in range(len(values))]
    columns: dict[str, Any] = {"time": times, "key": [key] * len(values), "x": values}
    return pl.DataFrame(columns, schema_overrides={"x": pl.Float64, "time": pl.Datetime("us", "UTC")})


def judged(frame: pl.DataFrame, *rules: Any, **changes: Any) -> Validation:
    contract = Contract(
        columns=(Column("time", "time"), Column("key", "category"), Column("x", "float", nullable=True)),
        rules=rules,
        **changes,
    )
    moment = START + timedelta(days=10)
    return check(contract, frame, keys=("key",), time="time", grid=Grid(timedelta(hours=1)), as_of=moment, now=moment)


def only(found: Validation) -> Finding:
    assert len(found.findings) == 1
    return found.findings[0]


@pytest.mark.parametrize(("condition", "share"), [("null", 0.25), ("zero", 0.25), ("negative", 0.5), ("empty", 0.25)])
def test_shares(condition: Any, share: float) -> None:
    frame = series([None, 0, -1, -2])
    exact = only(judged(frame, Share(column="x", condition=condition, at_most=share)))
    assert exact.passed
    assert exact.numbers["share"] == share
    past = judged(frame, Share(column="x", condition=condition, at_most=share - 0.01, severity="stop"))
    assert past.broken
    assert not judged(frame, Share(column="x", condition=condition, at_most=0)).broken


@pytest.mark.parametrize("robust", [False, True])
def test_z_scores_by_series(robust: bool) -> None:
    quiet, loud = [1.0, 2.0] * 30, [1000.0, 2000.0] * 30
    frame = pl.concat([series([*quiet, 1500.0]), series([*loud, 1500.0], "b")])
    rule = ZScore(column="x", limit=6, robust=robust, severity="quarantine")
    found = judged(frame, rule)
    assert found.bad["reasons"].to_list() == [["x: 1500.0 is more than 6 standard deviations from its series"]]
    assert found.good.height == frame.height - 1
    assert not only(found).passed
    warned = judged(frame, rule.model_copy(update={"severity": "warn"}))
    assert (warned.bad.height, only(warned).numbers["count"]) == (0, 1)
    assert judged(frame, rule.model_copy(update={"severity": "stop"})).broken
    assert only(judged(series([5.0] * 50), rule)).passed, "no spread, no judgement"


def test_gaps() -> None:
    frame = series([1.0] * 10).filter(pl.col("time").dt.hour() != 4)
    frame = pl.concat([frame, series([1.0] * 10, "b")])
    found = only(judged(frame, Gaps()))
    assert not found.passed
    assert (found.numbers["missing"], found.numbers["expected"], found.numbers["worst"]) == (1, 20, "a")
    assert only(judged(frame, Gaps(at_most=0.05))).passed


def test_staleness_and_minimum() -> None:
    frame = series([1.0] * 24)
    assert not only(judged(frame, Staleness(at_most="3d"))).passed
    assert not only(judged(frame, staleness="3d")).passed
    assert only(judged(frame, staleness="12d")).passed
    assert judged(frame, MinimumRows(min_rows=25)).broken
    assert not judged(frame, MinimumRows(min_rows=24)).broken


def test_rules_over_nothing() -> None:
    rules = (ZScore(column="x"), Gaps(), Share(column="x", condition="zero", at_most=0.1))
    found = judged(series([]), *rules, staleness="3d", allow_empty=True)
    assert not found.broken
    assert all(each.passed for each in found.findings)


def test_reports() -> None:
    evil = "<script>alert('x')</script>[red]"
    contract = Contract(
        columns=(Column("s", "text", pattern="^ok$"), Column("x", "float")), rules=(MinimumRows(min_rows=9),)
    )
    frame = pl.DataFrame({"s": [evil, "ok"], "x": [1.0, float("inf")], "<b>": [1, 2]})
    found = check(contract, frame, as_of=START, now=START)
    told = found.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["rows"], told["good"], told["bad"], told["broken"]) == (2, 0, 2, True)
    page = found.as_html(title="energy & co")
    assert "<script" not in page
    assert "<b>:" not in page
    assert "energy &amp; co" in page
    assert "http" not in page
    console = Console(width=100, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(found.as_table(title="[energy]"))
    text = console.export_text()
    assert "[energy]: the contract is broken" in text
    assert "s: does not match the pattern ^ok$" in text


@pytest.mark.parametrize(
    ("rules", "verdict"), [(0, "holds"), (1, "holds, with 1 warning"), (2, "holds, with 2 warnings")]
)
def test_a_report_counts_the_warnings(rules: int, verdict: str) -> None:
    warned = tuple(MinimumRows(min_rows=9 + n, severity="warn") for n in range(rules))
    contract = Contract(columns=(Column("x", "float"),), rules=(*warned, MinimumRows(min_rows=1)))
    found = check(contract, pl.DataFrame({"x": [1.0]}), as_of=START, now=START)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(found.as_table(title="energy"))
    assert console.export_text().strip().splitlines()[0].strip() == f"energy: the contract {verdict}"
    assert f">{verdict}</span>" in found.as_html(title="energy")


def test_a_million_typed_rows_take_well_under_two_seconds() -> None:
    rows = 1_000_000
    place = pl.int_range(rows, eager=True)
    frame = pl.DataFrame(
        {
            "time": (place // 76 * 3_600_000_000).cast(pl.Datetime("us", "UTC")),
            "key": (place % 76).cast(pl.String),
            "x": (place % 97).cast(pl.Float64),
        }
    )
    import time

    start = time.process_time()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    contract = Contract(columns=(Column("time", "time"), Column("key", "category"), Column("x", "float", minimum=0)))
    found = check(contract, frame, keys=("key",), time="time", grid=Grid(timedelta(hours=1)), as_of=moment, now=moment)
    assert found.good.height == rows
    assert time.process_time() - start < 2
