"""Folders for what nobody keeps: none is left, whatever happens to who made it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace.scratch import scratch


def folders(home: Path) -> list[Path]:
    return [path for path in (home / "scratch").iterdir() if path.is_dir()]


def test_it_is_gone_when_it_is_left(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "rows").write_bytes(b"1")
        assert folders(tmp_path) == [folder]
    assert folders(tmp_path) == []


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch(tmp_path):
        raise KeyError
    assert folders(tmp_path) == []


def test_two_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    with scratch(tmp_path) as one, scratch(tmp_path) as other:
        assert sorted(folders(tmp_path)) == sorted([one, other])


def test_what_a_killed_process_left_is_gone_at_the_next_start(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from headrace.scratch import scratch
        with scratch(Path({str(tmp_path)!r})) as folder:
            (folder / "rows").write_bytes(b"1")
            print("ready", flush=True)
            input()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (left,) = folders(tmp_path)
        with scratch(tmp_path):
            assert left.exists()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert left.exists()
    with scratch(tmp_path) as folder:
        assert folders(tmp_path) == [folder]
