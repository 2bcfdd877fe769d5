"""A room without processes and servers: a test that starts a process or binds a socket fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

import pytest

FORBIDDEN = {
    "os.exec": "replaces its process",
    "os.fork": "forks",
    "os.posix_spawn": "starts a process",
    "os.system": "starts a process",
    "socket.bind": "binds a socket",
    "subprocess.Popen": "starts a process",
}
watched = False
"""Hooks of the interpreter cannot be taken away again: this one looks only while a test of the room runs."""


def forbid(event: str, arguments: tuple[object, ...]) -> None:
    if watched and event in FORBIDDEN:
        raise AssertionError(f"a test in tests/unit {FORBIDDEN[event]}: {arguments!r:.200}; move it to tests/system")


sys.addaudithook(forbid)


def refuse(process: BaseProcess) -> None:
    raise AssertionError(f"a test in tests/unit starts a process: {process!r:.200}; move it to tests/system")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    global watched  # noqa: PLW0603
    monkeypatch.setattr(BaseProcess, "start", refuse)  # spawning tells no hook
    watched = True
    yield
    watched = False
