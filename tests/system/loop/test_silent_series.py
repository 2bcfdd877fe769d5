"""Series that stop while others go on: told of one by one, the same live and backfilled, until they have ended."""

import pytest
from tests.worlds.flow import last, system_of, world

import headrace
from headrace import Monitoring
from headrace.config import override
from headrace.errors import DeclarationError
from headrace.loop.evaluate import policy_of
from headrace.loop.readings import read
from headrace.policy.monitoring import StaleSource

RULE = StaleSource(by="series", ended="4d", pauses=5)
SYSTEM = system_of().model_copy(update={"monitoring": Monitoring(baselines=("12h", "24h"), window="3d", rules=(RULE,))})
TIMES = [last(24 * day) for day in range(6, -1, -1)]


def outcome(bound):
    home = bound.workspace.reading
    return read(home, "world", policy_of(SYSTEM)), [alert.as_dict() for alert in bound.alerts()]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Of four series one ends for good a day before runs begin, two stop on the third day."""
    path = tmp_path_factory.mktemp("silent") / "rows.parquet"
    lives = {1: (None, 100), 2: (None, 210), 3: (None, 210)}
    world(3, places=4, ahead=False, lives=lives).write_parquet(path)
    return path


def opened(home, file, upto=TIMES[-1]):
    bound = headrace.open(home).system(SYSTEM)
    bound.ingest(upto, source=f"file:{file}")
    return bound


def test_series_that_stopped_are_told_of_and_one_that_ended_is_not(file, tmp_path):
    live = opened(tmp_path / "live", file, TIMES[0])
    for time in TIMES:
        live.run(time, source=f"file:{file}")
    ended = outcome(live)
    alerts = {alert["scope"]["place"]: alert for alert in ended[1]}
    assert set(alerts) == {"p1", "p2", "p3"}
    assert alerts["p1"]["closed_at"] is not None
    stopped = [alerts["p2"], alerts["p3"]]
    assert all(alert["closed_at"] is None and alert["severity"] == "alarm" for alert in stopped)
    assert "series have no observation since 2026-01-" in alerts["p2"]["says"]
    past = opened(tmp_path / "past", file)
    past.backfill(TIMES[0], TIMES[-1], "1d", workers=1)
    assert outcome(past) == ended


def test_it_is_declared_and_configured():
    assert override(Monitoring(), {"rules": [{"kind": "stale_source", "by": "series"}]}).rules == (
        StaleSource(by="series"),
    )
    assert StaleSource(by="system").called == "stale source"
    with pytest.raises(DeclarationError):
        StaleSource(by="place")
    with pytest.raises(DeclarationError, match="twice at_least"):
        StaleSource(by="series", ended="6h").check(SYSTEM.contract)
