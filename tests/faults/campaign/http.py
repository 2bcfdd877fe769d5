"""Rounds at the HTTP door: clients post without end, three faults come at once, all is mended, and every answer is
looked for in the ledger and compared with batch.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psycopg
from tests.faults.campaign.clients import WAIT, Client
from tests.faults.campaign.http_faults import Fault, Scene, drawn
from tests.faults.campaign.rooms import Events, Room, Rows
from tests.faults.campaign.tally import ROUNDS, Campaign, Tally
from tests.postgres import Postgres, new_database, programs

from headrace.errors import HeadraceError

CLIENTS = 3


def run(rounds: int, seed: int, first: int) -> int:
    """So many rounds, from the `first` on; the exit status."""
    campaign = Campaign(seed, first)
    with tempfile.TemporaryDirectory(prefix="headrace-faults-") as name:
        folder = Path(name)
        # A file system of its own, so that it can be full.
        mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "none", name], check=False).returncode
        server = Postgres() if programs() is not None else None
        try:
            templates = {each: each.template(folder / "templates") for each in (Rows, Events)}
            for place in range((first - 1) // ROUNDS, -(-(first - 1 + rounds) // ROUNDS)):
                chance = random.Random(f"{seed}/{place}")
                here = folder / f"room{place}"
                here.mkdir()
                database = new_database(server.uri) if server is not None and chance.random() < 0.5 else None
                kind = (Rows, Events)[place % 2]
                room = kind(here, templates[kind], chance.choice([1, 2]), database, chance.random() < 0.1)
                try:
                    _room(campaign, room, server, chance, min(ROUNDS, first - 1 + rounds - place * ROUNDS))
                finally:
                    room.kill()
                subprocess.run(["rm", "-rf", str(here)], check=True)
        finally:
            if server is not None:
                server.close()
            if mounted:
                subprocess.run(["umount", "-l", name], check=False)
            for each in (f"{name}.log", f"{name}.clock"):
                Path(each).unlink(missing_ok=True)
    return campaign.end()


def _room(campaign: Campaign, room: Room, server: Postgres | None, chance: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        began, tally = time.monotonic(), Tally()
        scene = Scene(room, server, random.Random(chance.random()), tally)  # chance itself is for this thread alone
        faults = drawn(scene, 3)
        try:
            _round(scene, faults)
        except (sqlite3.Error, psycopg.Error, OSError) as error:
            tally.bad("stuck", f"the ledger cannot be read: {error!r}")
        campaign.told(str(room), [each.name for each in faults], tally, time.monotonic() - began)
        if tally.failed:
            for line in room.troubles()[-5:]:
                print(f"    the server said: {line[-1500:]}")
        if tally.counts["stuck"]:  # the next round is judged by itself
            room.kill()
            room.start()
    last = Tally()
    try:
        room.check_tables(last)
    except (AssertionError, HeadraceError) as error:
        last.bad("wrong", f"the tables cannot be made: {error}")
    campaign.also(last)


def _round(scene: Scene, faults: list[Fault]) -> None:
    room, tally, chance = scene.room, scene.tally, scene.chance
    clients = [
        Client(room.port, room.path, room.asks(n, chance), random.Random(chance.random()), tally)
        for n in range(CLIENTS)
    ]
    for each in clients:
        each.start()
    windows = _broken(scene, faults)
    if room.process.poll() is not None:
        room.start()
    if not room.ready():
        tally.bad("stuck", "not ready within a minute after all was mended")
    time.sleep(0.1)
    for each in clients:
        each.deadline = time.monotonic() + WAIT
        each.halt.set()
    for each in clients:
        each.join(WAIT + 20)
    _silent(clients, windows, tally)
    _stored(room, clients, tally)
    if any(each.name == "promoted" for each in faults) and room.kind == "titanic":
        _champion(room, tally)


def _broken(scene: Scene, faults: list[Fault]) -> list[tuple[Fault, float, float]]:
    """Do all faults, each for a while at a moment of its own; what was from when to when."""
    windows: list[tuple[Fault, float, float]] = []
    done: list[Fault] = []
    plan = [(fault, scene.chance.uniform(0.05, 0.5), scene.chance.uniform(0.3, 0.8)) for fault in faults]
    lock = threading.Lock()

    def one(fault: Fault, wait: float, length: float) -> None:
        time.sleep(wait)
        undo = fault.does(scene)
        since = time.monotonic()
        time.sleep(length)
        with lock:
            windows.append((fault, since, time.monotonic()))
        undo()
        with lock:
            done.append(fault)

    threads = [threading.Thread(target=one, args=each) for each in plan]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for fault in faults:
        if fault not in done:
            scene.tally.bad("stuck", f"{fault.name} failed; its traceback stands above")
    return windows


def _silent(clients: list[Client], windows: list[tuple[Fault, float, float]], tally: Tally) -> None:
    """Nothing is acknowledged while nothing can be kept."""
    for fault, since, until in windows:
        if not fault.refuses:
            continue
        taken = [a for c in clients for a in c.acknowledged if since < a.sent and a.came < until and a.ask.same is None]
        if taken:
            tally.bad("silent", f"{fault.name}: {len(taken)} answers of status 200 meanwhile")


def _stored(room: Room, clients: list[Client], tally: Tally) -> None:
    """Every answer is in the ledger as it was given, each key once."""
    logged, answers = room.logged(), {}
    by_id = {json.loads(answer)["id"]: json.loads(answer) for _, answer in logged}
    for each in (a for client in clients for a in client.acknowledged):
        content = json.loads(each.content)
        for answer in content.get("predictions", [content]) if isinstance(each.ask.body, list) else [content]:
            answers[answer["id"]] = answer
            if answer["id"] not in by_id:
                tally.bad("lost", f"{answer['id']} of {each.ask.body!r:.100} is not in the ledger")
            elif by_id[answer["id"]] != answer:
                tally.bad("wrong", f"{answer['id']} stands in the ledger with another answer")
    known = set(room.ids)
    if not known <= set(by_id):
        tally.bad("lost", f"{len(known - set(by_id))} of earlier rounds are not in the ledger any more")
    room.ids = dict.fromkeys(by_id, b"")
    keys = Counter(key for key, _ in logged)
    if len(by_id) != len(logged) or len(keys) != len(logged):
        tally.bad("doubled", f"{len(logged)} rows, {len(keys)} keys, {len(by_id)} ids")
    room.check_numbers({name: by_id[name] for name in by_id.keys() - known}, tally)


def _champion(room: Room, tally: Tally) -> None:
    """The one that was promoted answers soon."""
    now, end, found = room.champion(), time.monotonic() + 15, None
    while time.monotonic() < end:
        with suppress(OSError):
            found = room.post(room.fresh())["model_version"]
        if found == now:
            return
        time.sleep(0.1)
    tally.bad("silent", f"version {found} answers, {now} is the champion")
