"""The faults of the HTTP door: each does something to a room and gives back how it is undone.

Two faults of one round never touch the same thing.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from tests.faults.campaign.rooms import Room
from tests.faults.campaign.tally import Tally
from tests.postgres import Postgres

from headrace.errors import HeadraceError
from headrace.store.wal import spare_log

Undo = Callable[[], Any]


@dataclass(frozen=True)
class Scene:
    """What a fault may use."""

    room: Room
    server: Postgres | None
    chance: random.Random
    tally: Tally


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        touches: Of what no other fault of the round may touch.
        does: Does it; returns how it is undone.
        where: ``sqlite``, ``postgresql`` or empty: with any ledger.
        refuses: Whether nothing can be acknowledged until it is undone.
    """

    name: str
    touches: str
    does: Callable[[Scene], Undo]
    where: str = ""
    refuses: bool = False


def _nothing() -> None:
    return None


def kill_server(scene: Scene) -> Undo:
    scene.room.kill()
    return _nothing


def kill_worker(scene: Scene) -> Undo:
    children = scene.room.processes[1:]
    if children:
        with suppress(ProcessLookupError):
            os.kill(scene.chance.choice(children), signal.SIGKILL)
    return _nothing


def end_server(scene: Scene) -> Undo:
    """Workers may ignore it no longer than they have something under way."""
    scene.room.process.terminate()
    try:
        status = scene.room.process.wait(30)
    except Exception:  # noqa: BLE001 - whatever it was, the server did not end
        scene.tally.bad("stuck", "SIGTERM did not end the server within 30 s")
        scene.room.kill()
        return _nothing
    if status:
        scene.tally.bad("silent", f"SIGTERM: exit status {status}")
    return _nothing


def freeze_server(scene: Scene) -> Undo:
    processes = scene.room.processes

    def signalled(number: signal.Signals) -> None:
        for each in processes:
            with suppress(ProcessLookupError):
                os.kill(each, number)

    signalled(signal.SIGSTOP)
    return lambda: signalled(signal.SIGCONT)


def home_moved(scene: Scene) -> Undo:
    home, away = scene.room.home, scene.room.folder / "away"
    home.rename(away)

    def undo() -> None:
        shutil.rmtree(home, ignore_errors=True)
        away.rename(home)

    return undo


def home_restored(scene: Scene) -> Undo:
    """A backup, from before anything was answered, takes the place: whole at once, whoever looks meanwhile."""
    shutil.copytree(scene.room.backup, scene.room.folder / "restored")
    undo = home_moved(scene)
    (scene.room.folder / "restored").rename(scene.room.home)
    return undo


def _aside(scene: Scene, pattern: str, folder: str = ".") -> Undo:
    files, away = list((scene.room.home / folder).glob(pattern)), scene.room.folder / "aside"
    away.mkdir()
    moved = [(each, away / each.name) for each in files]
    for there, here in moved:
        there.rename(here)

    def undo() -> None:
        for there, here in moved:
            shutil.rmtree(there, ignore_errors=True)
            here.rename(there)
        away.rmdir()

    return undo


def ledger_moved(scene: Scene) -> Undo:
    return _aside(scene, "ledger.db*")


def ledger_restored(scene: Scene) -> Undo:
    undo = _aside(scene, "ledger.db*")
    for each in scene.room.backup.glob("ledger.db*"):
        shutil.copy(each, scene.room.home)

    def back() -> None:
        for each in scene.room.home.glob("ledger.db*"):
            each.unlink()
        undo()

    return back


def ledger_emptied(scene: Scene) -> Undo:
    undo = _aside(scene, "ledger.db")
    (scene.room.home / "ledger.db").touch()

    def back() -> None:
        (scene.room.home / "ledger.db").unlink()
        undo()

    return back


def log_moved(scene: Scene) -> Undo:
    return _aside(scene, "ledger.db-wal")


def store_moved(scene: Scene) -> Undo:
    return _aside(scene, "store")


def online_moved(scene: Scene) -> Undo:
    return _aside(scene, "online.db*")


def disk_full(scene: Scene) -> Undo:
    def limit(size: int) -> None:
        for each in scene.room.processes:
            with suppress(ProcessLookupError, PermissionError):
                resource.prlimit(each, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    limit(1)
    return lambda: limit(resource.RLIM_INFINITY)


def disk_filled(scene: Scene) -> Undo:
    """The whole file system, to the last byte."""
    filler = scene.room.folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return filler.unlink


def ledger_locked(scene: Scene) -> Undo:
    """Another fault may have taken it away. An empty file is not opened: SQLite would delete the log beside it."""
    where = f"file:{scene.room.home}/ledger.db?mode=rw"
    try:
        spare_log(scene.room.home / "ledger.db")
        connection = sqlite3.connect(where, uri=True, isolation_level=None, timeout=5, check_same_thread=False)
    except sqlite3.OperationalError:
        return _nothing
    with suppress(sqlite3.OperationalError):
        connection.execute("BEGIN IMMEDIATE")
    return connection.close


def postgres_killed(scene: Scene) -> Undo:
    assert scene.server is not None
    scene.server.kill()
    return scene.server.start


def postgres_frozen(scene: Scene) -> Undo:
    server = scene.server
    assert server is not None
    server.signal(signal.SIGSTOP)
    return lambda: server.signal(signal.SIGCONT)


def _said(scene: Scene, *statements: str) -> None:
    """Again for as long as the server is away: another fault may have taken it."""
    assert scene.room.database is not None
    end = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(scene.room.database, autocommit=True, connect_timeout=3) as connection:
                for each in statements:
                    connection.execute(each)  # type: ignore[call-overload]
            return
        except psycopg.Error:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


_OTHERS = """select pg_terminate_backend(pid) from pg_stat_activity
    where pid <> pg_backend_pid() and backend_type = 'client backend'"""


def postgres_terminated(scene: Scene) -> Undo:
    for _ in range(3):
        _said(scene, _OTHERS)
        time.sleep(0.1)
    return _nothing


def postgres_renamed(scene: Scene) -> Undo:
    """Its tables are others for a while: a restore that went wrong."""
    _said(scene, "alter table predictions rename to kept", _OTHERS)
    return lambda: _said(scene, "alter table kept rename to predictions")


def promoted(scene: Scene) -> Undo:
    with suppress(HeadraceError, OSError, LookupError):  # its home may be away
        scene.room.promote(3 - scene.room.champion())
    return _nothing


def clock_jumped(scene: Scene) -> Undo:
    scene.room.tell(scene.chance.choice(["+2d", "-3d", "-400d", "+3600"]))
    return lambda: scene.room.tell("+0")


def _raw(scene: Scene, data: bytes, *, half: bool = False, wait: float = 20.0) -> bytes:
    """What comes back to some bytes; nothing where the server went meanwhile."""
    found = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", scene.room.port), timeout=wait) as connection:
        connection.sendall(data)
        if half:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            found += part
    return found


def _post(scene: Scene, *more: str) -> bytes:
    import json

    body = json.dumps(scene.room.fresh()).encode()
    head = [f"POST {scene.room.path} HTTP/1.1", "host: x", "content-type: application/json", *more]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body


def _answered(scene: Scene, what: str, data: bytes, *, half: bool = False) -> None:
    """A whole request gets an answer of its own, unless the server went; whatever follows it."""
    found = _raw(scene, data, half=half)
    if found and not found.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")):
        scene.tally.bad("silent", f"{what}: {found!r:.300}")


def garbage(scene: Scene) -> Undo:
    for _ in range(5):
        _answered(scene, "garbage after a request", _post(scene) + b"garbage\r\n\r\n")
        _raw(scene, scene.chance.randbytes(300) + b"\r\n\r\n", half=True)
    return _nothing


def half_closed(scene: Scene) -> Undo:
    for _ in range(5):
        _answered(scene, "half-closed", _post(scene), half=True)
    return _nothing


def upgrades(scene: Scene) -> Undo:
    for offer in ("h2c", "websocket", "TLS/1.2"):
        _answered(
            scene, f"offer of {offer}", _post(scene, "connection: upgrade, close", f"upgrade: {offer}"), half=True
        )
    return _nothing


def slow(scene: Scene) -> Undo:
    """Heads that never end, half a body, nothing at all."""
    found = []
    for data in (b"GET /health HTTP/1.1\r\nx: ", _post(scene)[:-5], b"") * 20:
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", scene.room.port), timeout=5)
            found.append(connection)
            connection.sendall(data)
    return lambda: [each.close() for each in found]


def large_heads(scene: Scene) -> Undo:
    for _ in range(3):
        found = _raw(scene, b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 300_000, half=True)
        if b"HTTP/1.1 200" in found:
            scene.tally.bad("silent", "a head of 300 KB was taken")
    return _nothing


ALL = [
    Fault("server killed", "process", kill_server),
    Fault("worker killed", "process", kill_worker),
    Fault("SIGTERM", "process", end_server),
    Fault("server frozen", "process", freeze_server),
    Fault("home moved", "home", home_moved, "sqlite", refuses=True),
    Fault("home replaced by a backup", "home", home_restored, "sqlite", refuses=True),
    Fault("ledger moved", "home", ledger_moved, "sqlite", refuses=True),
    Fault("ledger replaced by a backup", "home", ledger_restored, "sqlite", refuses=True),
    Fault("ledger emptied", "home", ledger_emptied, "sqlite", refuses=True),
    Fault("write-ahead log moved", "home", log_moved, "sqlite", refuses=True),
    Fault("home moved", "home", home_moved, "postgresql"),
    Fault("home replaced by a backup", "home", home_restored, "postgresql"),
    Fault("tables moved", "home", store_moved),
    Fault("online side moved", "home", online_moved),
    Fault("no file may grow", "disk", disk_full, "sqlite", refuses=True),
    Fault("disk full", "disk", disk_filled, "sqlite"),
    Fault("ledger locked", "lock", ledger_locked, "sqlite"),
    Fault("PostgreSQL killed", "database", postgres_killed, "postgresql", refuses=True),
    Fault("PostgreSQL frozen", "database", postgres_frozen, "postgresql", refuses=True),
    Fault("connections ended", "connections", postgres_terminated, "postgresql"),
    Fault("table renamed", "connections", postgres_renamed, "postgresql", refuses=True),
    Fault("promoted", "model", promoted),
    Fault("clock jumped", "clock", clock_jumped),
    Fault("garbage", "client", garbage),
    Fault("half-closed", "client", half_closed),
    Fault("upgrade offered", "client", upgrades),
    Fault("slow clients", "slow", slow),
    Fault("large heads", "slow", large_heads),
]


def drawn(scene: Scene, count: int) -> list[Fault]:
    """Faults that fit a room, each touching something else."""
    kind = "postgresql" if scene.room.database else "sqlite"
    fit = [each for each in ALL if each.where in ("", kind)]
    fit = [each for each in fit if scene.room.clock is not None or each.touches != "clock"]
    fit = [each for each in fit if scene.room.workers > 1 or each.does is not kill_worker]
    found: list[Fault] = []
    while len(found) < count:
        each = scene.chance.choice(fit)
        if each.touches not in {other.touches for other in found}:
            found.append(each)
    return found
