"""The command line and Python do the same: a command has a method of its name, and both give the same answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from tests.commands import ENERGY, SMALL, headrace

import headrace as hr
from headrace.cli.contents import CONTENTS
from headrace.console.output import plain
from headrace.errors import UsageError

BEGIN = "2023-01-20T16:00:00Z"
PROCESSES = {"dashboard", "serve", "stream", "materialize", "dead-letters", "archive", "produce", "sink"}
"""They go on until they are stopped, or belong to a cluster: the command line's alone."""
PROJECT = {"init", "doctor"}
"""They look at the machine and the folder, not at a home."""


def test_every_command_about_a_home_has_a_method_of_its_name() -> None:
    commands = {name for names in CONTENTS.values() for name in names}
    methods = {name for cls in (hr.Workspace, hr.BoundSystem) for name in dir(cls)}
    assert commands - methods == PROCESSES | PROJECT


def test_reading_gives_what_the_command_gives(s: hr.BoundSystem) -> None:
    at, one = ("--home", s.workspace.path, "--json"), s.predictions()["id"][0]
    assert headrace("plan", ENERGY, *at).json == s.plan().as_dict()
    assert headrace("trace", one, *at).json["pins"] == plain(s.trace(one)["pins"])
    assert headrace("replay", one, *at).json == plain(s.replay(one))
    assert [row["id"] for row in headrace("predictions", ENERGY, *at, *SMALL).json] == s.predictions()["id"].to_list()
    assert [v["digest"] for v in headrace("models", ENERGY, *at).json["versions"]] == [v.digest[:8] for v in s.models]
    assert headrace("disk", "energy", *at).json == s.workspace.disk("energy").to_dicts()
    assert headrace("quarantine", ENERGY, *at).json == s.quarantine.to_dicts() == []
    assert headrace("verify", "energy", *at).json == s.workspace.verify("energy")
    assert [run["run_id"] for run in headrace("runs", ENERGY, *at).json["runs"]] == s.runs["run_id"].to_list()


def test_a_plan_is_a_table_in_the_terminal_and_in_a_notebook(s: hr.BoundSystem, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = headrace("plan", ENERGY, "--home", s.workspace.path).out
    assert max(map(len, out.splitlines())) <= 80
    (line,) = [line for line in out.splitlines() if line.startswith("│ predict ")]
    assert [cell.strip() for cell in line.strip("│").split("│")][:3] == ["predict", "raw, models", "predictions"]
    assert "<td>raw, models</td>" in s.plan()._repr_html_()
    assert s.plan().frame().columns == ["step", "reads", "writes", "after"]
    assert "<th>champion</th><td>1</td>" in s.promote(1)._repr_html_()


def test_a_command_says_how_many_rows_there_are_or_that_there_are_none(s: hr.BoundSystem, tmp_path: Path) -> None:
    at, out = ("--home", s.workspace.path), tmp_path / "one.csv"
    assert headrace("quarantine", ENERGY, *at).out == "energy: no row is in quarantine\n"
    assert headrace("predictions", ENERGY, *at, "--limit", 1).out.startswith("energy: 1 prediction, newest first")
    assert headrace("predictions", ENERGY, *at, "--limit", 1, "--out", out).out == f"1 row in {out}\n"


def test_every_frame_becomes_one_of_pandas_with_its_zones(s: hr.BoundSystem) -> None:
    home, run = s.workspace, s.predict(BEGIN)
    scores = s.evaluate("2023-01-19T00:00:00Z", "2023-01-19T12:00:00Z", "12h")
    frames = {
        "predictions": s.predictions(with_actual=True),
        "facts": s.facts(),
        "runs": s.runs,
        "quarantine": s.quarantine,
        "models": s.models.frame(),
        "scores": scores.frame("area"),
        "plan": s.plan().frame(),
        "list": home.list(),
        "disk": home.disk(),
        "prune": home.prune("90d"),
    }
    for name, frame in frames.items():
        _same(frame, frame.to_pandas(), name)
    for name, answer, frame in (
        ("run", run, run.predictions),
        ("models", s.models, s.models.frame()),
        ("scores", scores, scores.frame()),
        ("plan", s.plan(), s.plan().frame()),
    ):
        _same(frame, answer.to_pandas(), name)
    times = s.predictions().to_pandas()["as_of"]
    assert times.iloc[0] == pd.Timestamp(BEGIN)


def _same(frame: pl.DataFrame, pandas: pd.DataFrame, name: str) -> None:
    assert isinstance(pandas, pd.DataFrame), name
    assert (list(pandas.columns), len(pandas)) == (frame.columns, frame.height), name
    for column, dtype in frame.schema.items():
        if isinstance(dtype, pl.Datetime):
            assert str(pandas[column].dt.tz) == dtype.time_zone == "UTC", f"{name}.{column}"


def test_a_zone_that_is_not_utc_is_kept() -> None:
    from headrace.api.results import to_pandas

    begin = datetime(2024, 3, 30, 23, tzinfo=UTC)
    hours = pl.datetime_range(begin, begin + timedelta(hours=4), "1h", eager=True)
    hours = hours.dt.convert_time_zone("Europe/Copenhagen")
    pandas = to_pandas(pl.DataFrame({"at": hours}))
    assert str(pandas["at"].dt.tz) == "Europe/Copenhagen"
    assert [moment.hour for moment in pandas["at"]] == [0, 1, 3, 4, 5]


def test_without_pandas_the_error_says_what_to_install(s: hr.BoundSystem, monkeypatch) -> None:
    def missing(frame: pl.DataFrame) -> None:
        raise ModuleNotFoundError("No module named 'pandas'", name="pandas")

    monkeypatch.setattr(pl.DataFrame, "to_pandas", missing)
    with pytest.raises(UsageError, match="pandas is not installed") as refusal:
        s.models.to_pandas()
    assert refusal.value.hint == "pip install pandas pyarrow"
