"""Policies tried over HTTP: one at a time, in a process of its own, and whatever ends one is said in words."""

import json
import os
import shutil
import signal
import threading
from datetime import UTC, datetime
from multiprocessing import active_children
from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import serving
from tests.templates import template
from tests.waiting import until

from headrace.executors import Handover
from headrace.home import Home
from headrace.ledger.simulations import QueuedSimulation
from headrace.loading import load_system
from headrace.serving.http.simulating import Simulator
from headrace.settings import Settings

SHIFTED = str(Path(__file__).parents[3] / "worlds" / "shifted")
PATH = "/v1/systems/shifted/simulations"
ASKED = {"start": "2026-01-11T00:00:00Z", "end": "2026-01-12T00:00:00Z", "every": "12h"}
POLICIES = {"policies": {"often": {"schedule": {"train": "1d"}}}, "beside": ["never"]}
TOKENS = {"w": {"may": ["*:read", "*:write"], "name": "anna"}, "r": {"may": ["*:read"], "name": "bob"}}
OVER = ("done", "failed", "cancelled")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()

    def make(folder: Path) -> None:
        source = ("--source", "simulated:?at=12", "--as-of", "2026-02-20T00:00:00Z")
        assert headrace("ingest", SHIFTED, "--home", folder / "home", "--json", *source).code == 0

    return template(base, "shifted", make) / "home"


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    copy = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(home, copy)
    given = {"HEADRACE_TOKENS": json.dumps(TOKENS), "TMPDIR": str(copy.parent)}
    with serving(copy, systems=(SHIFTED,), ready=False, **given) as found:
        yield found


def ask(server, method, path, body=None, token="w", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"authorization": f"Bearer {token}"}
    with server.client() as client:
        return client.request(method, path, json=body, headers=named)


def ended(server, path):
    until(lambda: ask(server, "GET", path).json()["state"] in OVER)
    return ask(server, "GET", path).json()


def test_it_gives_what_the_command_does_once(server, home, tmp_path):
    answer = ask(server, "POST", PATH, ASKED | POLICIES, idempotency_key="k")
    assert (answer.status_code, answer.json()["names"]) == (202, ["often", "never again"])
    path = answer.headers["location"]
    assert ask(server, "POST", PATH, ASKED | POLICIES, idempotency_key="k").json()["id"] == answer.json()["id"]
    assert ask(server, "POST", PATH, ASKED, idempotency_key="k").status_code == 409
    done = ended(server, path)
    assert (done["state"], done["by"], done["runs"]) == ("done", "anna", 3)
    assert done["progress"]["total"] == 3
    policy = tmp_path / "often.yaml"
    policy.write_text(json.dumps(POLICIES["policies"]["often"]), encoding="utf-8")
    span = [word for name, value in ASKED.items() for word in (f"--{name}", value)]
    command = headrace(
        *("simulate", SHIFTED, "--home", home, "--json", *span, "--workers", 1),
        *("--compare", policy, "--beside", "never"),
    )
    spent = ("cpu_seconds", "seconds")
    for one, other in zip(done["result"], json.loads(command.out), strict=True):
        for document in (one, other):
            for training in document["trainings"]:
                del training["cpu_seconds"]
        assert {k: v for k, v in one.items() if k not in spent} == {k: v for k, v in other.items() if k not in spent}
    listed = ask(server, "GET", PATH, token="r").json()["simulations"]
    assert [each["id"] for each in listed] == [done["id"]]
    assert "result" not in listed[0]
    entries = ask(server, "GET", "/v1/audit").json()["entries"]
    assert [(each["action"], each["target"], each["by"], each["outcome"]) for each in entries] == [
        ("simulate", done["id"], "anna", "done")
    ]
    assert ask(server, "DELETE", path).status_code == 409


def slow(place, name, *, request, on_progress):
    """Stands for a simulation: it ends by itself where it is asked to."""
    on_progress("predict", 1, 9)
    if request["every"] == "for ever":
        threading.Event().wait()
    return [{"policy": name, "home": str(place.home.path)}]


def queued(queue, name, every):
    queue.put(QueuedSimulation(name, "shifted", "anna", {"every": every}, "queued", datetime.now(UTC)))


def state(queue, name):
    one = queue.get("shifted", name, datetime.now(UTC))
    return one.state, one.reason


def test_a_process_gives_way_and_whatever_ends_it_is_said(tmp_path):
    settings = Settings(home=tmp_path)
    home = Home(settings)
    queue, handed = home.ledger.simulations, Handover.of(settings, load_system(SHIFTED))
    simulator = Simulator(handed, home, slow)
    simulator.start()

    def begun(name):
        """The process that does it."""
        queued(queue, name, "for ever")
        until(lambda: queue.get("shifted", name, datetime.now(UTC)).count == 1)
        process = next(each for each in active_children() if each.is_alive())
        assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 15
        return process

    process = begun("cancelled")
    queued(queue, "waits", "1d")
    assert state(queue, "waits") == ("queued", None)
    queue.cancel("shifted", "cancelled", datetime.now(UTC), "anna")
    until(lambda: state(queue, "waits")[0] == "done")
    assert not process.is_alive()
    assert json.loads(queue.result("shifted", "waits")) == [{"policy": "shifted", "home": str(tmp_path)}]
    os.kill(begun("killed").pid, signal.SIGKILL)
    until(lambda: state(queue, "killed")[0] == "failed")
    begun("interrupted")
    simulator.close()
    assert state(queue, "cancelled") == ("cancelled", "by anna")
    assert state(queue, "killed") == ("failed", "interrupted: its process ended with -9")
    assert state(queue, "interrupted") == ("failed", "interrupted: the server ended")
    home.ledger.close()


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({**ASKED, "end": "2025-01-01T00:00:00Z"}, "end", "before the start"),
        ({**ASKED, "start": "soon"}, "start", "not a time"),
        ({**ASKED, "every": "1m", "end": "2026-02-11T00:00:00Z"}, "every", "more than 10,000"),
        ({**ASKED, "policies": {"p": {"schedule": {"trian": "1d"}}}}, "p: schedule.trian", "no such setting"),
        ({**ASKED, "policies": {"p": {"model": {"kind": "onnx"}}}}, "policies", "p has model"),
        ({**ASKED, "beside": ["sometimes"]}, "beside", "duration"),
        ({"start": ASKED["start"]}, "end", "missing"),
    ],
)
def test_what_cannot_be_simulated_is_refused_at_once(server, body, place, words):
    answer = ask(server, "POST", PATH, body)
    assert answer.status_code == 422
    faults = answer.json()["errors"]
    assert any(fault["loc"] == ["body", place] for fault in faults), faults
    assert words in answer.text
