"""Which deaths of workers are outlived, and which end all; and names that cannot be another home's."""

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from headrace.errors import BrokerUnavailableError, FencedError, NotFoundError, StreamError
from headrace.executors import executor_of
from headrace.serving.stream import supervisor as module
from headrace.serving.stream.identity import Identity, fenced
from headrace.serving.stream.log import logger
from headrace.serving.stream.supervisor import Ended, Supervisor


def crashes_once(folder, number, stop):
    """A worker that is killed on its first run, and ends well on its second."""
    path = Path(folder) / f"ran-{number}"
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Ended(done={"answers": 3})


def is_replaced(folder, number, stop):
    with (Path(folder) / "starts").open("a") as file:
        file.write("x")
    return Ended(error=fenced("pod-0"))


def never_works(folder, number, stop):
    return Ended(error=StreamError("refused"), worked=False)


def has_no_cluster(folder, number, stop):
    return Ended(error=BrokerUnavailableError("away"), worked=True)


def has_no_model(folder, number, stop):
    return Ended(error=NotFoundError("no model version 3"), worked=True)


def cannot_start(folder, number, stop):
    with (Path(folder) / "starts").open("a") as file:
        file.write("x")
    os._exit(1)


@pytest.fixture
def supervise(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(module, "MOST", 2)
    made = [logger("metrics", "supervisor")]
    return lambda entry, workers=1: Supervisor(
        executor_of("local"), entry, str(tmp_path), workers, *made, ends=True
    ).run(threading.Event())


def test_a_worker_that_is_killed_is_started_again(supervise):
    assert supervise(crashes_once, 2) == {"answers": 6, "workers": 2, "restarts": 2}


def test_workers_that_replace_one_another_end(supervise, tmp_path):
    with pytest.raises(FencedError, match=f"{module.MOST} times in a row") as told:
        supervise(is_replaced)
    assert "HEADRACE_REPLICA" in str(told.value)
    assert (tmp_path / "starts").read_text() == "x" * module.MOST


def test_workers_that_end_without_a_word_again_and_again_end_all(supervise, tmp_path):
    with pytest.raises(StreamError, match=f"code 1 and did not say why; {module.MOST} times in a row"):
        supervise(cannot_start)
    assert (tmp_path / "starts").read_text() == "x" * module.MOST


@pytest.mark.parametrize(
    ("entry", "said"), [(never_works, "refused"), (has_no_cluster, "away"), (has_no_model, "no model version 3")]
)
def test_what_no_new_process_helps_against_is_told_at_once(supervise, entry, said):
    with pytest.raises((StreamError, NotFoundError), match=said):
        supervise(entry)


def test_a_default_name_is_of_one_home_alone(tmp_path):
    one = Identity(tmp_path / "one", None, 0)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    names = [one.name, Identity(tmp_path / "copy", None, 0).name, Identity(tmp_path / "two", None, 0).name]
    second = Identity(tmp_path / "one", None, 0)
    assert len({*names, second.name}) == 4
    assert second.name.removesuffix("-1") == one.name.removesuffix("-0")
    assert Identity(tmp_path, "pod-7", 2).name == "pod-7-2"
