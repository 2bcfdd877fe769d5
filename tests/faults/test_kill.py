"""kill -9 anywhere, several at once, and contracts that break: nothing is lost, nothing is doubled."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.effort import THOROUGH, rounds

from headrace.home import Home
from headrace.settings import Settings

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "simulated:?series=4&days=40&bad=0.002"
SETTINGS = ["--set", "model.n_estimators=5", "--set", "model.max_rows=2000"]
AS_OF = datetime(2026, 3, 2, 12, tzinfo=UTC)


def start(home, as_of=AS_OF, *more):
    command = [sys.executable, "-m", "headrace", "run", str(ROOT / "systems" / "energy"), "--home", str(home), "--json"]
    command += ["--source", SOURCE, "--as-of", as_of.isoformat(), *SETTINGS, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def contents(home, name, drop=("run_id", "created_at", "_version", "data_version", "known_at")):
    table = Home(Settings(home=home)).table("energy", name)
    if not table.exists():
        return pl.DataFrame()
    frame = table.collect(table.scan())
    if name == "metrics":  # a mark says how far scoring came, once more for each time that it went on from there
        frame = frame.filter(pl.col("scope") != "mark")
    frame = frame.drop(drop, strict=False)
    return frame.sort([c for c in frame.columns if not isinstance(frame.schema[c], pl.List)])


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A home after one run that nothing disturbed, and how long the run took."""
    home = tmp_path_factory.mktemp("clean")
    began = time.perf_counter()
    finish(start(home))
    return home, time.perf_counter() - began


def same(home, reference):
    for name in ("raw", "quarantine", "predictions"):
        expected = contents(reference, name)
        assert expected.height > 0, name
        assert contents(home, name).equals(expected, null_equal=True), name


def test_killed_over_and_over_then_run_once(clean, tmp_path):
    reference, seconds = clean
    chance, killed, home = random.Random(7), 0, tmp_path / "0"
    while killed < rounds(3, 20):
        process = start(home)
        try:
            process.wait(chance.uniform(0.2, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        else:  # it was quicker than the kill: what it left must be right, and the next one starts anew
            same(home, reference)
            home = tmp_path / str(killed)
        process.communicate()
    finish(start(home))
    same(home, reference)


def test_four_at_once_equal_one_after_another(clean, tmp_path):
    times = [AS_OF + timedelta(hours=h) for h in range(1, 5)]
    for home in ("together", "apart"):
        shutil.copytree(clean[0], tmp_path / home)
    for process in [start(tmp_path / "together", each) for each in times]:
        assert finish(process)["predictions"] == 96
    for each in times:
        finish(start(tmp_path / "apart", each))
    together, apart = (contents(tmp_path / home, "predictions") for home in ("together", "apart"))
    assert together.height == 5 * 96
    assert together.equals(apart, null_equal=True)
    assert contents(tmp_path / "together", "raw").equals(contents(tmp_path / "apart", "raw"), null_equal=True)


HOURS = 36 if THOROUGH else 18


def start_backfill(home):
    command = [sys.executable, "-m", "headrace", "backfill", str(ROOT / "systems" / "energy"), "--home", str(home)]
    command += ["--start", AS_OF.isoformat(), "--end", (AS_OF + timedelta(hours=HOURS)).isoformat(), "--every", "1h"]
    command += ["--workers", "2", "--source", SOURCE, "--json", *SETTINGS, "--set", f"schedule.train={HOURS // 3}h"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_backfill_that_is_killed_goes_on_where_it_was(tmp_path):
    began = time.perf_counter()
    expected = finish(start_backfill(tmp_path / "clean"))
    seconds = time.perf_counter() - began
    assert (expected["runs"], expected["predictions"], expected["trained"]) == (
        HOURS + 1,
        (HOURS + 1) * 96,
        [1, 2, 3, 4],
    )
    chance, home = random.Random(11), tmp_path / "killed"
    for at in (0.3, 0.5, 0.7, 0.85) if THOROUGH else (0.6,):
        process = start_backfill(home)
        try:
            process.wait(seconds * at * chance.uniform(0.9, 1.1))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)  # its workers are left to themselves
        process.communicate()
        assert gone(process.pid), "a worker outlived the backfill"
    done = finish(start_backfill(home))
    assert (done["runs"], done["predictions"], done["failed"]) == (HOURS + 1, (HOURS + 1) * 96, [])
    for name in ("raw", "predictions", "metrics"):
        ours, theirs = (contents(place, name, DROP_OF_METRICS) for place in (home, tmp_path / "clean"))
        assert ours.height > 0, name
        assert ours.equals(theirs, null_equal=True), name
    again = finish(start_backfill(home))
    assert (again["repeated"], again["stored"], again["scored"], again["ingested"]) == (HOURS + 1, 0, 0, 0)


DROP_OF_METRICS = ("run_id", "created_at", "_version", "data_version", "predictions_version", "model_version")


def gone(group, within=60):
    """Whether no process of the group is left."""
    for _ in range(within * 10):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_broken_contract_stores_nothing_but_the_quarantine_and_why_it_failed(tmp_path):
    process = start(tmp_path, AS_OF, "--set", "contract.max_invalid_fraction=0.0001")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert json.loads(out)["error"] == "ContractBroken"
    assert contents(tmp_path, "quarantine").height > 0
    for name in ("raw", "predictions"):
        assert contents(tmp_path, name).is_empty()
    (told,) = contents(tmp_path, "runs").to_dicts()
    assert (told["status"], told["predictions"]) == ("failed", None)
    assert "ContractBroken" in told["error"]
