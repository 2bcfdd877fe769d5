"""kill -9 of who passes predictions on, at any moment: each is at the target once, and in order."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests import kafka
from tests.postgres import Postgres
from tests.targets import PostgresTarget, SQLiteTarget, TopicTarget, Webhook

pytestmark = [pytest.mark.fault, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
COUNT = 105


@pytest.fixture(params=["sqlite", "postgresql", "webhook", "topic"])
def target(request, tmp_path, tmp_path_factory):
    closing = []
    if request.param == "sqlite":
        made = SQLiteTarget(tmp_path)
    elif request.param == "postgresql":
        server = Postgres()
        closing.append(server.close)
        made = PostgresTarget(server.uri)
    elif request.param == "webhook":
        draw = random.Random(11)
        choices = [(500, {}), (429, {"retry-after": "0"}), (0, {}), (-1, {}), *[None] * 8]
        made = Webhook(lambda number, headers: draw.choice(choices))
        closing.append(made.close)
    else:
        cluster = kafka.cluster(tmp_path_factory.mktemp("kafka"))
        closing.append(cluster.stop)
        made = TopicTarget(cluster.bootstrap)
    yield made
    for close in closing:
        close()


def test_killed_over_and_over_each_is_there_once(target, tmp_path):
    draw, kills = random.Random(3), 0
    command = [sys.executable, "-m", "tests.faults.sink_worker", target.uri, str(tmp_path), str(COUNT)]
    code = None
    while code is None:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        process.stdout.readline()  # it has begun, or has ended
        try:
            code = process.wait(draw.uniform(0.005, 0.12) if kills < 3 else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.01)
    assert code == 0
    assert kills >= 1
    assert target.held() == {f"id-{n}": 1 for n in range(COUNT)}
    for key in range(3):
        assert [n for store, n in target.order() if store == f"store {key}"] == list(range(key, COUNT, 3))
