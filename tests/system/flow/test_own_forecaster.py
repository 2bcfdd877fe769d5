"""A forecaster of one's own in a system's folder, through every door and after its file was edited."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from headrace.errors import ArtefactError
from headrace.flow import run as runs
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.run import run
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.loading import load_system
from headrace.models import pickles
from headrace.pipelines.predictions import replay
from headrace.settings import Settings

END = datetime(2026, 3, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYSTEM = """
from datetime import datetime, timedelta

import polars as pl

from headrace import Column, Contract, Monitoring, Schedule, Source, System

from .mine import Naive


def load(as_of: datetime, series: int = 2, days: int = 12, lag: int = 0):
    hours = pl.datetime_range(as_of - timedelta(days=days), as_of, "1h", eager=True, time_zone="UTC")
    hours = hours.dt.truncate("1h").unique().sort()
    return pl.concat(
        pl.DataFrame({"series": [f"s{n}"] * len(hours), "time": hours}).with_columns(
            value=10.0 * n + pl.col("time").dt.hour() + pl.col("time").dt.day() % 3
        )
        for n in range(series)
    )


system = System(
    name="own",
    source=Source(simulate=load),
    contract=Contract(columns=(Column("series", "category"), Column("time", "time"), Column("value", "float"))),
    keys=("series",),
    time="time",
    step="1h",
    target="value",
    model=Naive(),
    horizon="6h",
    schedule=Schedule(predict="1h", train="never"),
    monitoring=Monitoring(baselines=("24h",)),
)
"""
MINE = """
import polars as pl

from .shift import SHIFT


class Naive:
    def fit(self, frame):
        self.rows = len(frame)

    def predict(self, frame, horizon):
        day = frame.group_by("unique_id", maintain_order=True).tail(24).group_by("unique_id", maintain_order=True)
        return day.head(horizon).with_columns(pl.col("ds") + pl.duration(days=1), naive=pl.col("y") + SHIFT).drop("y")
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "own system"
    folder.mkdir()
    (folder / "system.py").write_text(SYSTEM)
    (folder / "mine.py").write_text(MINE)
    (folder / "shift.py").write_text("SHIFT = 0.5\n")
    return folder


def home_of(tmp_path, name):
    return Home(Settings(home=tmp_path / name))


def test_it_runs_and_an_edited_file_changes_no_model_that_is_there(folder, tmp_path):
    system, home = load_system(str(folder)), home_of(tmp_path, "home")
    result = run(system, home, runs.RunRequest(END, END, "simulated:"))
    frame = result.predicted.frame
    assert frame.height == 12
    assert frame["served"].unique().to_list() == ["model"]
    assert (frame["lower"] < frame["upper"]).all()
    stored = frame["id"][0]
    assert replay(home, stored)["identical"]
    champion = home.registry.champion("own")
    files = home.registry.fetch(champion)
    assert [str(file) for file in pickles.sources(files / "own")] == ["code/mine.py", "code/shift.py"]

    (folder / "shift.py").write_text("SHIFT = 7.5\n")
    edited = load_system(str(folder))
    assert edited.config_digest != system.config_digest
    for name in [each for each in sys.modules if each.startswith("_headrace_code_")]:
        del sys.modules[name]
    assert replay(home_of(tmp_path, "home"), stored)["identical"]
    again = run(edited, home, runs.RunRequest(END + HOUR, END + HOUR, "simulated:"))
    assert "model" in again.warnings[0]
    assert "version 1" in again.warnings[0]
    assert again.predicted.frame["value"][0] == frame["value"][1]  # by the code of version 1
    assert replay(home, stored)["identical"]

    (files / "own" / "code" / "shift.py").unlink()
    with pytest.raises(ArtefactError):
        pickles.load(files / "own")


def test_two_workers_backfill_what_one_does(folder, tmp_path):
    span, told = DateRange(END - 3 * HOUR, END, HOUR), []
    for workers in (1, 2):
        system, home = load_system(str(folder)), home_of(tmp_path, f"home{workers}")
        done = backfill(system, home, BackfillRequest(span, END, "simulated:", workers=workers))
        assert (done.runs, done.predictions, done.failed) == (4, 4 * 2 * 6, [])
        table = home.table("own", "predictions")
        told.append(table.collect(table.scan().select("series", "time", "as_of", "value", "lower").sort(pl_all())))
    assert told[0].equals(told[1])


def pl_all():
    import polars as pl

    return pl.all()
