"""Worker processes: what they are handed, and what is said when one dies."""

import os
import pickle
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headrace.errors import DeclarationError, HeadraceError, UsageError
from headrace.executors import executor_of
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings

END = datetime(2026, 3, 1, 5, tzinfo=UTC)
SYSTEM = """
from datetime import datetime, timedelta

import polars as pl

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import seasonal_features

from .mine import level, more


def load(as_of: datetime, series: int = 2, days: int = 12, lag: int = 0):
    hours = pl.datetime_range(as_of - timedelta(days=days), as_of, "1h", eager=True, time_zone="UTC")
    hours = hours.dt.truncate("1h").unique().sort()
    return pl.concat(
        pl.DataFrame({"series": [f"s{n}"] * len(hours), "time": hours}).with_columns(
            value=level(n) + pl.col("time").dt.hour() + pl.col("time").dt.day() % 3
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
    features=seasonal_features("value", step="1h", seasons=("24h",)) | more(),
    model=Forecaster(seasons=("24h",), n_estimators=3, num_leaves=4, min_child_samples=20),
    horizon="6h",
    schedule=Schedule(predict="1h", train="never"),
    monitoring=Monitoring(baselines=("24h",)),
)
"""
MINE = """
from headrace.features import lag


def level(number):
    return 50.0 + 10.0 * number


def more():
    return {"before": lag("value", "3h")}
"""


@pytest.fixture
def folder(tmp_path):
    """A system with code of its own, in a folder that nothing can import."""
    made = tmp_path / "own system"
    made.mkdir()
    (made / "system.py").write_text(SYSTEM)
    (made / "mine.py").write_text(MINE)
    return made


def test_a_backfill_of_a_system_with_code_of_its_own(folder, tmp_path):
    told = []
    stretch = DateRange(END - timedelta(hours=5), END, timedelta(hours=1))
    for workers in (1, 2):
        system, home = (
            load_system(str(folder), ["model.n_estimators=4"]),
            Home(Settings(home=tmp_path / f"home{workers}")),
        )
        done = backfill(system, home, BackfillRequest(stretch, END, "simulated:?days=13", workers=workers))
        assert (done.runs, done.predictions, done.failed) == (6, 6 * 2 * 6, [])
        table = home.table("own", "predictions")
        told.append(table.collect(table.scan().select("id", "value", "lower", "upper").sort("id")))
        assert json_of(system)["model"]["n_estimators"] == 4
    assert told[0].drop("id").equals(told[1].drop("id"))


def json_of(system):
    return pickle.loads(pickle.dumps(system)).config()


def test_a_system_is_handed_over_by_where_it_was_found(folder):
    system = load_system(str(folder), ["horizon=3h"])
    other = pickle.loads(pickle.dumps(system))
    assert (other.config_digest, other.folder) == (system.config_digest, system.folder)
    assert other.source.simulate is not system.source.simulate


def test_a_system_that_a_program_changed_is_handed_over_as_it_is(folder):
    changed = load_system(str(folder)).model_copy(update={"horizon": timedelta(hours=2)})
    assert pickle.loads(pickle.dumps(changed)).horizon == timedelta(hours=2)


def test_a_declaration_that_changes_under_way_is_refused(folder):
    packed = pickle.dumps(load_system(str(folder)))
    (folder / "system.py").write_text(SYSTEM.replace("n_estimators=3", "n_estimators=5"))
    with pytest.raises(DeclarationError, match="changed"):
        pickle.loads(packed)


def test_what_cannot_be_loaded_there_is_an_error_of_its_own(folder):
    system = load_system(str(folder), ["horizon=4h"])
    (folder / "mine.py").unlink()
    with executor_of("local").pool(2) as workers, pytest.raises(DeclarationError, match="mine"):
        list(workers.map(json_of, [system]))
    with executor_of("local").pool(2) as workers, pytest.raises(UsageError, match="cannot be sent"):
        list(workers.map(json_of, [lambda: 0]))


@pytest.mark.parametrize(
    ("end", "message", "hint"),
    [
        (signal.SIGKILL, "killed", "memory"),
        (signal.SIGSEGV, "SIGSEGV", "--workers 1"),
        (3, "ended by itself", "above"),
    ],
)
def test_a_death_is_told_as_what_it_was(end, message, hint):
    with executor_of("local").pool(2) as workers, pytest.raises(HeadraceError, match=message) as told:
        list(workers.map(die, [end]))
    assert hint in str(told.value.hint)


def die(end):
    os.kill(os.getpid(), end) if isinstance(end, signal.Signals) else os._exit(end)


def test_options_that_a_function_takes_are_its_own(folder, tmp_path):
    system = load_system(str(folder))
    for workers, uri in enumerate(("simulated:?days=3&series=1&lag=2", "simulated")):
        home = Home(Settings(home=tmp_path / f"options{workers}"))
        stretch = DateRange(END - timedelta(hours=30), END, timedelta(hours=30))
        backfill(system, home, BackfillRequest(stretch, END, uri))
        table = home.table("own", "raw")
        first = table.collect(table.scan().select(pl.col("time").min())).item()
        assert first == END - timedelta(days=12 if workers else 3)
    assert Path(system.folder) == folder
