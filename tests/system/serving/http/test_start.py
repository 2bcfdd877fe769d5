"""What is said when a server opens, and at its front door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.servers import LIVE, TITANIC, Server, passengers, serving


@pytest.mark.parametrize("workers", [1, 2])
def test_the_address_and_what_is_served_are_told_at_the_start(home: Path, workers: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", "headrace", "serve", TITANIC, LIVE, "--home", str(home), "--port", str(port)]
    with subprocess.Popen(
        [*command, "--workers", str(workers)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(5)]
        process.terminate()  # perhaps before it listens for signals: it ends in order all the same
        assert process.wait(60) == 0
    assert lines[0].split() == ["address", f"http://127.0.0.1:{port}"]
    assert lines[1].split() == ["docs", f"http://127.0.0.1:{port}/docs"]
    assert lines[2].split() == ["home", str(home)]
    assert lines[3].split() == ["system", "titanic,", "version", "1"]
    assert lines[4].endswith("live_metrics, no model yet: headrace run live_metrics")


def test_the_start_is_one_document(home: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "headrace", "serve", TITANIC, "--home", str(home), "--port", str(port), "--json"]
    grpc = str(free_port())
    command += ["--grpc-port", grpc] if find_spec("grpc") else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n") or text.count("{") != text.count("}"):
            text += process.stdout.readline()
        process.terminate()
    told = json.loads(text)
    assert told["address"] == f"http://127.0.0.1:{port}"
    assert told.get("grpc") == (f"127.0.0.1:{grpc}" if find_spec("grpc") else None)
    assert told["systems"] == [{"name": "titanic", "version": 1, "says": None}]


def test_the_front_door_says_where_things_are(titanic: Server) -> None:
    told = titanic.get("/").json()
    for path in ("systems", "docs", "openapi"):
        assert titanic.get(told[path]).status_code == 200
    browser = titanic.get("/", headers={"accept": "text/html,*/*"})
    assert (browser.status_code, browser.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "headrace" in browser.text


def test_workers_serve_a_system_with_code_of_its_own(home: Path, tmp_path: Path) -> None:
    """The declaration is found again by each worker, with the settings that were given."""
    folder = tmp_path / "shop of mine" / "titanic"
    folder.mkdir(parents=True)
    text = (Path(TITANIC) / "system.py").read_text().replace("simulate=simulated.passengers", "simulate=mine")
    text = text.replace("system = System(", "def mine(as_of, rows=3):\n    return None\n\n\nsystem = System(")
    (folder / "system.py").write_text(text)
    with serving(home, "--workers", "2", systems=(str(folder),)) as server:
        assert server.post(passengers(1)[0]).status_code == 200


def test_several_processes_count_as_one_server(tmp_path: Path) -> None:
    """Each has its own figures of the process in place of the client's, which have the same names."""
    code = """if True:
        from prometheus_client import REGISTRY
        from headrace.serving.http.telemetry import Telemetry
        made = Telemetry(REGISTRY)
        made.fold()
        print(made.text(several=True))
    """
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "process_cpu_seconds_total" in done.stdout
