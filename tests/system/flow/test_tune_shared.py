"""Trials in a database that several homes share: whose process is gone there, by beats in place of locks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import Postgres, new_database

from headrace.tuning import Tuning, beats
from headrace.tuning.study import DONE, FAILED, RUNNING, Study

TUNING = Tuning(space={"x": {"low": -5.0, "high": 5.0}}, trials=3)
GRACE = 3
KILLED = """
import os, sys
from pathlib import Path
from headrace.tuning import Tuning
from headrace.tuning.study import Study
tuning = Tuning(space={"x": {"low": -5.0, "high": 5.0}}, trials=3)
Study("shared", tuning, Path(sys.argv[1]), sys.argv[2]).run(lambda values, report: os.kill(os.getpid(), 9))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    made = Postgres()
    yield made
    made.close()


@pytest.fixture
def uri(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(beats, "EVERY", 1)
    monkeypatch.setattr(beats, "GRACE", GRACE)
    return new_database(server.uri)


def parabola(values: Mapping[str, Any], report: Any) -> float:
    return float(values["x"] ** 2)


def test_a_trial_of_another_machine_is_not_given_up_while_it_beats(tmp_path: Path, uri: str) -> None:
    here, there = (Study("shared", TUNING, tmp_path / name, uri) for name in ("here", "there"))

    def long(values: Mapping[str, Any], report: Any) -> float:
        time.sleep(GRACE + 1.5)
        assert (there.reap(), there.running, there.left()) == (0, 1, 2)
        return 1.0

    assert here.run(long).state == DONE
    there.run(parabola)
    assert [trial.state for trial in here.trials()] == [DONE, DONE]
    assert here.left() == 1


def test_a_trial_of_a_machine_that_is_gone_is_given_up_after_the_grace(tmp_path: Path, uri: str) -> None:
    here = Study("shared", TUNING, tmp_path / "here", uri)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "there"), uri], check=False)
    assert killed.returncode == -9
    assert [(trial.state) for trial in here.trials()] == [RUNNING]
    assert (here.reap(), here.left()) == (0, 2)  # nobody can know yet
    time.sleep(GRACE + 1)
    assert (here.running, here.left(), here.reap()) == (0, 3, 1)
    assert [trial.state for trial in here.trials()] == [FAILED]
