"""`headrace` for the scripts of pages: a process that has imported what commands import forks one for each.

A page has some ten commands, and most of a short one's time goes into importing. A command runs as it would alone: its
own process with the arguments, folder, environment and files of whoever called it. Signals reach it, and it ends when
its caller is killed.
"""

from __future__ import annotations

import array
import atexit
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = (
    "headrace.cli",
    "headrace.api.bound",
    "headrace.console",
    "headrace.flow.run",
    "headrace.serving.http",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.linear_model",
    "lightgbm",
)
CALLER = """#!{python} -ISs
import array, json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
files = array.array("i", [0, 1, 2])
connection.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
connection.sendall(request)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: connection.send(bytes([number])))
code = int.from_bytes(connection.recv(2), "big", signed=True)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@contextmanager
def commands(folder: Path) -> Iterator[Path]:
    """A folder for `PATH` with a quick `headrace`."""
    address = folder / "commands.sock"
    script = folder / "headrace"
    script.write_text(CALLER.format(python=sys.executable, address=str(address)))
    script.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "tests.docs.commands", str(address)], cwd=folder, env=environment)
    try:
        until(address.exists, process)
        yield folder
    finally:
        process.kill()
        process.wait()


def serve(address: str) -> None:
    """Fork a command for each caller, until killed."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a process with threads must not fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch over a command
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(64)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            watch(connection)
        connection.close()


def watch(connection: socket.socket) -> None:
    """Run the command of one caller: hand signals on, and say how it ended."""
    head, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", ancillary[0][2])
    (length,) = struct.unpack(">I", head)
    text = b""
    while len(text) < length:
        text += connection.recv(length - len(text))
    child = os.fork()
    if child == 0:
        connection.close()
        run(files, *json.loads(text))
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            break
        number = connection.recv(1)
        with suppress(ProcessLookupError):
            os.killpg(child, number[0] if number else signal.SIGKILL)
        if not number:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it left running
    with suppress(OSError):
        connection.sendall(code.to_bytes(2, "big", signed=True))
    os._exit(0)


def run(files: array.array[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Become the command."""
    os.setpgid(0, 0)
    for target, file in enumerate(files):
        os.dup2(file, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(file, mode) for file, mode in ((0, "r"), (1, "w"), (2, "w")))
    sys.path[0] = str(Path(sys.executable).parent)
    from headrace.cli import main

    code = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        code = 130
    except Exception:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
