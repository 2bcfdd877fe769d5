"""The stream over TLS with a log-in: the password comes from the environment, and is told to nobody."""

import json
from datetime import timedelta

import pytest
from tests import kafka

pytestmark = pytest.mark.slow

PASSWORD = "open-sesame-4711"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = kafka.guarded(tmp_path_factory.mktemp("guarded"), PASSWORD)
    yield made
    made.stop()


@pytest.fixture
def command(world, home, broker):
    """Runs a command of the stream at the guarded door; returns its status, output and errors."""
    host, port = broker.bootstrap.split(":")
    sets = [each for setting in world.SETTINGS for each in ("--set", setting)]
    common = [str(world.ROOT / "systems" / "live_metrics"), "--home", home.path, "--json", *sets]

    def run(name, *more, password=PASSWORD):
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "headrace",
            "sasl.password": password,
            "ssl.ca.location": str(broker.folder / "ca.pem"),
        }
        door = ("--bootstrap", f"{host}:{int(port) + 2}")
        process = kafka.headrace(name, *common, *door, *more, HEADRACE_KAFKA=json.dumps(options))
        return *reversed(process.communicate(timeout=300)), process.returncode

    return run


def test_events_are_answered_behind_a_log_in(world, broker, command):
    ends = [(world.TRAINED + timedelta(hours=h)).isoformat() for h in (1, 12)]
    source = world.SOURCE.replace("days=20", "days=30")
    errors, out, status = command("produce", "--source", source, "--speed", 0, "--start", ends[0], "--end", ends[1])
    assert status == 0, errors
    assert json.loads(out)["sent"] == 8 * 12
    told, out, status = command("stream", "--stop-when-idle", "2s")
    assert status == 0, told
    assert json.loads(out)["predictions"] == 8 * 12
    assert len(kafka.committed(broker.bootstrap, "live_metrics.predictions")) == 8 * 12
    assert PASSWORD not in errors + told + out
    assert PASSWORD not in (broker.folder / "server.properties").read_text()


def test_a_wrong_password_is_refused_and_not_told(command):
    errors, out, status = command("dead-letters", password="not-the-password")
    assert status == 1
    assert "not-the-password" not in errors + out
