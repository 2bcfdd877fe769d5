"""What a test of this room may not do, it cannot."""

from __future__ import annotations

import builtins
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest


def pooled() -> None:
    multiprocessing.get_context("spawn").Process(target=int).start()


def listening() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def started() -> None:
    subprocess.run([sys.executable, "-c", ""], check=False)


@pytest.mark.parametrize("do", [started, pooled, os.fork, listening])
def test_no_process_and_no_server_begins_here(do: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="move it to tests/system"):
        do()


def test_everything_that_is_imported_leaves_python_as_it_is() -> None:
    names: dict[str, object] = {}
    exec("from headrace import *", names)
    assert "System" in names
    assert not {name for name in names if hasattr(builtins, name)} - {"__builtins__"}
