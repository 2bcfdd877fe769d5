"""What alarms want, and what they get: from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from headrace.policy.acting import ActionFact, ActionLimits, ActionState, put_off, untold, wishes
from headrace.policy.alerts import Alert

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = ActionLimits({"retune": 1, "retrain": 2}, per=7 * DAY, retry=DAY, cooldown=timedelta())


def alarm(name="a", day=0, **other):
    values = {"severity": "alarm", "rule": "mape", "scope": {}, "value": 0.4, "threshold": 0.3}
    return Alert(name, **{**values, "raised_at": BEGIN + day * DAY, "alarm_at": BEGIN + day * DAY, **other})


def fact(alert="a", day=0, action="retune", outcome="promoted"):
    time = BEGIN + day * DAY
    return ActionFact(alert, "mape", action, outcome, "", time, time + timedelta(hours=1))


def state(day, *done, trained=None, since=None):
    time = BEGIN + day * DAY
    times = [None if d is None else BEGIN + d * DAY for d in (trained, since)]
    return ActionState(time, time + timedelta(hours=1), done, *times)


def wished(alerts, at, actions="retune", about_model=True):
    return [
        (wish.action, [alert.id for alert in wish.alerts])
        for wish in wishes(
            alerts, lambda alert: actions if isinstance(actions, str) else actions[alert.id], lambda _: about_model,
            at, LIMITS,
        )
    ]  # fmt: skip


def test_an_open_alarm_wants_its_action_and_nothing_else_does():
    assert wished([alarm()], state(0)) == [("retune", ["a"])]
    assert wished([alarm()], state(0), "raise") == []
    assert wished([alarm(closed_at=BEGIN)], state(0)) == []
    assert wished([alarm(severity="warning", alarm_at=None)], state(0)) == []
    assert wished([alarm(day=1)], state(0)) == []  # it became one after this time


def test_alarms_of_one_action_share_it_and_what_answers_soonest_comes_first():
    alerts = [alarm("b", 1), alarm("a"), alarm("c", 1), alarm("d", 1)]
    actions = {"a": "retrain", "b": "fallback", "c": "retrain", "d": "rollback"}
    assert wished(alerts, state(1), actions) == [("rollback", ["d"]), ("fallback", ["b"]), ("retrain", ["a", "c"])]


@pytest.mark.parametrize(
    ("outcome", "day", "wants"),
    [
        ("promoted", 6, False),  # it had its action
        ("rejected", 6, False),
        ("rejected", 7, True),  # and is open all the same
        ("failed", 0, False),
        ("failed", 1, True),
        ("no_budget", 0, True),  # which was not tried
        ("cooldown", 0, True),
    ],
)
def test_what_was_tried_rests(outcome, day, wants):
    assert bool(wished([alarm()], state(day, fact(outcome=outcome)))) is wants


def test_an_alarm_whose_action_came_to_nothing_rests_twice_as_long_each_time():
    def asks(outcomes):
        """The days on which an alarm that stays open wants its action, which always ends as told."""
        done = []
        for day in range(7 * 40):
            if wished([alarm()], state(day, *done)):
                done.append(fact(day=day, outcome=outcomes(len(done))))
        return [(each.time - BEGIN) // (7 * DAY) for each in done]

    assert asks(lambda _: "rejected") == [0, 1, 3, 7, 15, 23, 31, 39]
    assert asks(lambda _: "promoted")[:4] == [0, 1, 2, 3]
    assert asks(lambda n: "promoted" if n == 2 else "rejected")[:6] == [0, 1, 3, 4, 5, 7]
    assert wished([alarm("b", 8)], state(8, fact("a", 0, outcome="rejected"), fact("a", 7, outcome="rejected"))) != []


def test_an_alarm_about_a_model_that_was_replaced_waits_for_readings_of_the_new_one():
    assert wished([alarm()], state(3, since=1)) == []
    assert wished([alarm()], state(8, since=1)) == [("retune", ["a"])]
    assert wished([alarm()], state(3, since=1), about_model=False) == [("retune", ["a"])]
    assert wished([alarm()], state(3, since=-4)) == [("retune", ["a"])]


def test_the_budget_counts_what_was_tried_once_a_time_and_forgets_what_is_long_ago():
    (wish,) = wishes([alarm("z", 3)], lambda _: "retune", lambda _: True, state(3), LIMITS)
    both = fact("a"), fact("b")
    outcome, reason = put_off(wish, state(3, *both), LIMITS)
    assert (outcome, "1 retuning within 7 days" in reason, "2026-03-01" in reason) == ("no_budget", True, True)
    assert put_off(wish, state(7, *both), LIMITS) is None
    assert put_off(wish, state(3, fact(action="retrain"), fact(outcome="no_budget")), LIMITS) is None
    assert put_off(wish, state(3, fact(outcome="failed")), LIMITS) is None  # that is for `retry` to say
    (retraining,) = wishes([alarm("z", 3)], lambda _: "retrain", lambda _: True, state(3), LIMITS)
    two = fact("a", action="retrain"), fact("b", 1, action="retrain")
    assert put_off(retraining, state(3, two[0]), LIMITS) is None
    assert put_off(retraining, state(3, *two), LIMITS)[0] == "no_budget"
    late = replace(state(3, fact("a", 3)), as_of=BEGIN + 3 * DAY + timedelta(hours=2))  # a fact that came late raised z
    assert put_off(wish, late, LIMITS)[0] == "no_budget"
    assert put_off(wish, state(3, fact("a", 3)), LIMITS) is None  # the same run, repeated
    none = replace(LIMITS, most={"retune": 0})
    assert put_off(wish, state(3), none) == ("no_budget", "the budget is 0 retunings within 7 days")


def test_no_alarm_trains_before_the_last_training_has_rested():
    (wish,) = wishes([alarm("z", 3)], lambda _: "retune", lambda _: True, state(3), LIMITS)
    limits = replace(LIMITS, cooldown=2 * DAY)
    assert put_off(wish, state(3, trained=2), limits)[0] == "cooldown"
    assert put_off(wish, state(3, trained=1), limits) is None


def test_what_is_put_off_is_told_once_until_it_is_tried():
    now = [fact("a", 2, outcome="no_budget")]
    assert untold(now, []) == now
    assert untold(now, [fact("a", 1, outcome="no_budget")]) == []
    assert untold(now, [fact("a", 0, outcome="no_budget"), fact("a", 1, outcome="failed")]) == now
    assert untold(now, [fact("b", 1, outcome="no_budget"), fact("a", 1, outcome="cooldown")]) == now
