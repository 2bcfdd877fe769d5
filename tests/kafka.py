"""A real broker for tests: the one at KAFKA_BOOTSTRAP, or one of scripts/kafka for this module alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests import commands
from tests.ports import free_port
from tests.services import missing

ROOT = Path(__file__).resolve().parents[1]


class Cluster:
    """A broker that can be stopped and started again."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder, self.bootstrap = folder, os.environ.get("KAFKA_BOOTSTRAP", "")
        self.own = not self.bootstrap
        if self.own:
            self._env = {
                **os.environ,
                "KAFKA_DIR": str(folder),
                "KAFKA_PORT": str(free_port(3)),  # the controller and SASL_SSL take the next ones
                "KAFKA_JIT": "1",
                "KAFKA_HEAP": "384m",
                "KAFKA_LIBS": str(ROOT / ".kafka" / "libs"),
                **more,
            }
            self.start()

    def start(self) -> None:
        self.bootstrap = self._script("start")

    def kill(self) -> None:
        """As a crash ends it."""
        os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)

    def stop(self) -> None:
        if self.own:
            self._script("stop")

    def _script(self, command: str) -> str:
        script, catch = [str(ROOT / "scripts" / "kafka"), command], {"capture_output": True, "text": True}
        done = subprocess.run(script, env=self._env, timeout=600, check=False, **catch)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def cluster(folder: Path) -> Cluster:
    """A broker, or a skipped test that says what is missing."""
    if not os.environ.get("KAFKA_BOOTSTRAP"):
        _need("java", "mvn")
    return Cluster(folder)


def guarded(folder: Path, password: str) -> Cluster:
    """A broker of its own that also listens for SASL_SSL, two ports further."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        pytest.skip("needs a Kafka broker of its own, not the one at KAFKA_BOOTSTRAP")
    _need("java", "mvn", "keytool")
    return Cluster(folder, KAFKA_PASSWORD=password)


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            missing(f"needs a Kafka broker: neither KAFKA_BOOTSTRAP nor the program {program} is there")


def delete(bootstrap: str, system: str) -> None:
    """Delete a system's topics, where they are there."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(f"{system}.")]
    for future in admin.delete_topics(names).values() if names else ():
        try:
            future.result(60)
        except KafkaException as error:
            print(f"not deleted: {error}")


def clear(bootstrap: str, system: str) -> None:
    """Delete a system's topics and its group, and wait until they are gone."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    group = f"headrace.{system}"

    def gone() -> bool:
        if any(name.startswith(f"{system}.") for name in admin.list_topics(timeout=30).topics):
            delete(bootstrap, system)  # once more: a broker that has just begun may have refused
            return False
        try:
            admin.delete_consumer_groups([group])[group].result(20)
        except TimeoutError:  # it may have no coordinator yet, either
            return False
        except KafkaException as error:
            return error.args[0].name() == "GROUP_ID_NOT_FOUND"
        return True

    eventually(gone)


def committed(bootstrap: str, topic: str) -> list:
    """Every committed message of a topic."""
    from headrace.sources.broker import BEGINNING, Broker

    broker = Broker(bootstrap)
    count = broker.partitions().get(topic, 0)
    return list(broker.read(topic, dict.fromkeys(range(count), BEGINNING))) if count else []


def headrace(*arguments: object, **environment: str) -> subprocess.Popen:
    """A command in a process of its own."""
    command, piped = [sys.executable, "-m", "headrace", *map(str, arguments)], subprocess.PIPE
    return subprocess.Popen(command, stdout=piped, stderr=piped, text=True, env={**os.environ, **environment})


def ran(*arguments: object, **environment: str) -> Any:
    """The document that a command prints, run in this process: starting another takes a second of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        done = commands.headrace(*arguments)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert done.code == 0, done.err
    return done.json


def finish(process: subprocess.Popen, within: float = 300) -> dict:
    """The document that a command printed."""
    out, err = process.communicate(timeout=within)
    assert process.returncode == 0, err
    return json.loads(out)


def eventually(check, within: float = 120.0, every: float = 0.2):
    """The first true value that `check` gives."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        found = check()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"not within {within} s: {check}")
