"""kill -9 at each phase of what an alarm causes, and two runs at once: it is done once, as if nothing had been."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.effort import THOROUGH
from tests.faults.acting_worker import ACTING, ALARM, LATER, PHASES, WORLD

from headrace.home import Home
from headrace.loading import load_system
from headrace.loop import actions
from headrace.loop.alerts import alerts
from headrace.settings import Settings

pytestmark = pytest.mark.fault


def outcome(folder):
    """What the alarm caused, what stands, and what waits to be told."""
    home, system = Home(Settings(home=folder)), load_system(WORLD, ACTING)
    facts = actions.read(home, "acting")
    versions = [(v.version, v.as_of, v.because, v.state, v.digest) for v in home.registry.versions("acting")]
    found = [(c.version, c.digest, c.as_of, c.won) for c in home.configurations("acting").all()]
    table = home.table("acting", "predictions")
    predictions = table.collect(table.scan()).select("series", "time", "as_of", "value", "model_version")
    told = sorted((*notice.key, notice.text) for notice, _ in home.ledger.notices.read("acting"))
    return facts, versions, found, told, alerts(system, home), predictions.sort("as_of", "series", "time").rows()


def caused(folder):
    """What the alarm caused and what is served."""
    facts, versions, found, _, raised, predictions = outcome(folder)
    served = [row for row in predictions if row[2] > ALARM]
    return facts, versions, found, [alert.id for alert in raised], served


def test_a_retuning_that_is_killed_or_under_way_twice_is_done_once(tmp_path):
    worker = Path(__file__).with_name("acting_worker.py")
    phases = PHASES if THOROUGH else ("registered", "judged", "untold")
    command = [sys.executable, str(worker), str(tmp_path), *phases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = outcome(tmp_path / "clean")
    ((fact,), versions, found, told, *_) = expected
    assert (fact.action, fact.as_of, len(versions), len(found)) == ("retune", ALARM, 2, 1)
    assert [event for _, _, event, *_ in told] == ["raised"]
    for name in ("together", *phases):
        assert outcome(tmp_path / name) == expected, name
    # The next run need not be the same one: it finishes what was begun, as of then, also while that is under way.
    expected = caused(tmp_path / "clean-later")
    assert len(expected[4]) > 0
    for name in ("overlapping", *(f"{phase}-later" for phase in phases if phase in LATER)):
        assert caused(tmp_path / name) == expected, name
