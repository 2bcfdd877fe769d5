"""What alarms cause in a simulation: what a home of its own would have done, and what it took."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.system.loop.test_acting import BEGIN, DAY, SHIFT, WORLD, read, rows

import headrace as hr
from headrace.flow.simulated import PolicyOutcome
from headrace.home import Home
from headrace.registry.configurations import Configuration, digest
from headrace.settings import Settings
from headrace.tasks.evaluation import ErrorsOverTime

ACTING = {"monitoring": {"on_alarm": "retune"}}
SPAN = (BEGIN + 12 * DAY, BEGIN + 16.5 * DAY, timedelta(hours=12))


def opened(path, *settings):
    workspace = hr.open(path, clock=lambda: datetime(2026, 6, 1, tzinfo=UTC), quiet=True)
    return workspace.system(WORLD, ["tuning.trials=2", *settings])


def tuned(home, declared, as_of, days):
    """A configuration that a search found as of a time."""
    values = {"model.params.days": days}
    of_it = (digest(declared, values), declared, values)
    home.configurations("acting").add(Configuration("acting", 0, *of_it, as_of, as_of, {}, won=True))


def test_it_acts_as_a_home_of_its_own_does_and_beside_one_that_only_tells(tmp_path):
    real = opened(tmp_path / "real", "monitoring.on_alarm=retune")
    home = Home(Settings(home=tmp_path / "real", threads=1))
    tuned(home, real.declaration.config_digest, SPAN[0], 2)  # what is in use when it begins
    done = real.backfill(*SPAN, source=SHIFT, workers=1)
    tried = opened(tmp_path / "real").simulate(
        *SPAN, source=SHIFT, workers=1, compare={"acts": ACTING, "tells": {}}, keep=tmp_path / "kept"
    )
    acts, tells = tried
    kept = Home(Settings(home=tmp_path / "kept" / "acts", threads=1))
    ours, theirs = read(kept, real.declaration), read(home, real.declaration)
    assert ours[0].equals(theirs[0], null_equal=True)
    assert ours[1:] == theirs[1:]
    assert rows(kept, "predictions").equals(rows(home, "predictions"), null_equal=True)
    assert list(acts.outcome.alerts) == theirs[1]
    document, other = acts.as_dict(), tells.as_dict()
    (action,), (tuning,), (alert,) = done.actions, document["tunings"], document["alerts"]
    assert 0 < tuning.pop("cpu_seconds") < document["cpu_seconds"]
    assert action.pop("cpu_seconds") > 0
    assert (action["alert"], action["action"], action["outcome"]) == (alert["id"], "retune", "promoted")
    assert tuning == {name: value for name, value in action.items() if name != "alert"} | {"alerts": [alert["id"]]}
    assert [{"alert": alert["id"], **caused} for caused in alert["actions"]] == [action]
    assert (document["retunings"], document["retrainings"], document["promotions"][-1]["version"]) == (1, 1, 2)
    assert (other["retunings"], other["retrainings"], other["actions"]) == (0, 0, [])
    assert [(alert["id"], alert["actions"]) for alert in other["alerts"]] == [(action["alert"], [])]
    assert document["metrics"]["wape"] < other["metrics"]["wape"]


@pytest.mark.parametrize("outcome", ["no_budget", "cooldown"])
def test_what_was_put_off_was_not_done_and_one_search_answers_several_alarms(outcome):
    row = {"as_of": "2026-01-02T00:00:00Z", "action": "retune", "outcome": "failed", "version": None}
    actions = [
        *({**row, "alert": alert, "cpu_seconds": 2.0} for alert in ("a", "b")),
        {**row, "alert": "a", "as_of": "2026-01-03T00:00:00Z", "outcome": outcome, "cpu_seconds": 0.0},
        {**row, "alert": "c", "action": "fallback", "outcome": "promoted", "version": 2, "cpu_seconds": 0.5},
    ]
    trainings = [{"version": version} for version in (1, 2)]
    result = PolicyOutcome(trainings, [], ErrorsOverTime({}, {}, []), actions=actions)
    assert result.retunings == [{**row, "cpu_seconds": 2.0, "alerts": ["a", "b"]}]
    assert result.counts() == {"retrainings": 0, "retunings": 1, "promotions": 0}
