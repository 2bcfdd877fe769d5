"""A PostgreSQL server for tests, from the programs that the machine has; killed and started again at will.

`HEADRACE_TEST_POSTGRES` names a server to use instead (a URI whose user may make databases); it is never killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.services import missing


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3].split(".")[0]))
    other = shutil.which("postgres")
    return found[-1].parent if found else Path(other).parent if other else None


class Postgres:
    """One server of one folder."""

    def __init__(self, *options: str) -> None:
        found = programs()
        if found is None:
            missing("needs PostgreSQL: apt-get install postgresql, or set HEADRACE_TEST_POSTGRES")
        self._programs = found
        self._options = options
        # Not pytest's folder: only its owner may enter that one, and root may not run PostgreSQL.
        self._folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
        self._user: dict[str, object] = {}
        if os.geteuid() == 0:
            other = pwd.getpwnam("nobody")
            os.chown(self._folder, other.pw_uid, other.pw_gid)
            self._user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
        self.port = free_port()
        self._run("initdb", "-D", "data", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments], cwd=self._folder, check=True, capture_output=True, **self._user
        )

    @property
    def uri(self) -> str:
        """Of the server, with a password that must never be shown."""
        return f"postgresql://test:sesame@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start, and wait until it answers; what a killed one left behind may take a moment to go."""
        command = [self._programs / "postgres", "-D", "data", "-k", self._folder, "-h", "127.0.0.1"]
        command += ["-p", str(self.port), *(part for option in self._options for part in ("-c", option))]
        for _ in range(100):
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, **self._user
                )
            while self._process.poll() is None:
                if self._ready():
                    return
                time.sleep(0.05)
            time.sleep(0.1)
        pytest.fail((self._folder / "log").read_text())

    def _ready(self) -> bool:
        command = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self) -> None:
        """kill -9 the server and all its processes."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its processes; it stands still meanwhile, and so starts no others."""
        server = self._process.pid
        os.kill(server, signal.SIGSTOP)
        for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(int(child), number)
        os.kill(server, number)

    def close(self) -> None:
        """Kill it and remove its folder."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def new_database(server: str) -> str:
    """The URI of a new, empty database of a server."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server.rstrip('/')}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server.rstrip('/')}/{name}"
