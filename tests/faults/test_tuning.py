"""kill -9 of a search: it loses the trials that ran, no other; and several at once share one study."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.servers import titanic_template

from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.tuning.study import DONE, FAILED, RUNNING, Study, TrialRecord

pytestmark = pytest.mark.fault

TITANIC = str(Path(__file__).resolve().parents[2] / "systems" / "titanic")
SMALL = ["model.folds=2", "model.repeats=1", "tuning.pruner=none"]
WORKERS = 2


def command(home: Path, trials: int, workers: int) -> list[str]:
    settings = [part for text in SMALL for part in ("--set", text)]
    budget = ["--trials", str(trials), "--workers", str(workers)]
    return [sys.executable, "-m", "headrace", "tune", TITANIC, *budget, "--home", str(home), "--json", *settings]


def start(home: Path, trials: int, workers: int = WORKERS) -> subprocess.Popen[str]:
    return subprocess.Popen(command(home, trials, workers), stdout=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str], status: int = 0) -> dict[str, Any]:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == status
    document: dict[str, Any] = json.loads(out)
    return document


def study_of(home: Path) -> Study | None:
    """The one study of a home, looked at from outside."""
    journals = list((home / "tuning" / "titanic").glob("*.journal"))
    if not journals:
        return None
    return Home(Settings(home=home)).study("titanic", load_system(TITANIC, SMALL).tuning, journals[0].stem, 2)


def trials(home: Path) -> list[TrialRecord]:
    study = study_of(home)
    return [] if study is None else study.trials()


def complete(home: Path) -> list[TrialRecord]:
    return [trial for trial in trials(home) if trial.state == DONE]


def begun(home: Path) -> subprocess.Popen[str]:
    """A search without end that has completed some trials."""
    process = start(home, 1000)
    while len(complete(home)) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    return process


@pytest.fixture
def home(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))


def test_a_kill_loses_no_more_than_the_trials_that_ran_and_two_commands_share_the_rest(home: Path) -> None:
    process = begun(home)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = trials(home)
    running = [trial for trial in before if trial.state == RUNNING]
    kept = [trial for trial in before if trial.state == DONE]
    assert len(kept) >= 2
    assert len(running) <= WORKERS
    budget = len(kept) + 4
    both = [start(home, budget, workers=1) for _ in range(2)]
    first, second = (ended(process) for process in both)
    after = {trial.number: trial for trial in trials(home)}
    assert [after[trial.number] for trial in kept] == kept
    assert all(after[trial.number].state == FAILED for trial in running)
    assert first["reaped"] + second["reaped"] == len(running)
    assert budget <= len(complete(home)) <= budget + 2  # each may have begun a last one at the same moment
    for told in ("study", "best", "config_version"):
        assert first[told] == second[told]


def test_an_interrupt_keeps_what_is_complete_and_compares_it(home: Path) -> None:
    process = begun(home)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    document = ended(process, 130)
    assert document["interrupted"]
    assert 2 <= document["trials"] < 1000
    assert document["best"] is not None
