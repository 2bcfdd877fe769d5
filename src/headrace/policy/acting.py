"""What alarms cause: decided from facts alone, so that a backfill acts as the runs would have acted live.

Decisions belong to evaluation times, as readings do: those of a run belong to the newest one up to it, and its first
run takes them. What was done, failed or was put off is a fact beside it, and the next decision looks at those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Literal

from headrace.lineage import iso
from headrace.policy.alerts import Alert

Acted = Literal["rollback", "fallback", "retune", "retrain"]
ORDER: tuple[Acted, ...] = ("rollback", "fallback", "retune", "retrain")
"""What is tried first, where alarms cause several things at once: what answers soonest."""
TRAINING: tuple[Acted, ...] = ("retune", "retrain")
"""What trains a version: no two of them at once, and each has a budget."""
Outcome = Literal["promoted", "rejected", "held", "failed", "no_budget", "cooldown", "begun"]
PUT_OFF: tuple[Outcome, ...] = ("no_budget", "cooldown")
"""Outcomes of what was not tried. `rejected` and `failed` were: the gate refused what came of it, or nothing did."""

_DOUBLED = 3
"""So often the rest of an alarm whose action comes to nothing is doubled."""


@dataclass(frozen=True)
class ActionFact:
    """What became of one action that an alarm causes.

    Attributes:
        alert: The alert's id.
        rule: Of its rule.
        action: ``rollback``, ``fallback``, ``retune`` or ``retrain``.
        outcome: ``promoted``: another version predicts from then on; ``held``: it waits for approval; ``rejected``:
            it was not better; ``failed``; ``no_budget`` and ``cooldown``: it was put off; ``begun``: kept before all
            others, and told nowhere: a later run finishes what was broken off.
        reason: Why, for people; of what is ``begun`` the logical version of the facts that it began with.
        time: The evaluation time that it belongs to, UTC.
        as_of: The run that did it, UTC.
        version: The version that came of it; None where none did.
        config_version: The configuration that a search stored; None where there is none.
    """

    alert: str
    rule: str
    action: Acted
    outcome: Outcome
    reason: str
    time: datetime
    as_of: datetime
    version: int | None = None
    config_version: int | None = None

    @property
    def was_tried(self) -> bool:
        """Whether it was begun, rather than put off."""
        return self.outcome not in PUT_OFF

    @property
    def has_result(self) -> bool:
        """Whether it came to a version that was judged: that is what a budget counts."""
        return self.was_tried and self.outcome != "failed"

    @property
    def line(self) -> str:
        """What became of it, in a line."""
        words = {"no_budget": "put off", "cooldown": "put off"}
        return f"{self.action} {words.get(self.outcome, self.outcome)}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``action outcome reason as_of version config_version``."""
        document = {"action": self.action, "outcome": self.outcome, "reason": self.reason, "as_of": iso(self.as_of)}
        return {**document, "version": self.version, "config_version": self.config_version}


@dataclass(frozen=True)
class ActionLimits:
    """How much alarms may cause; see `headrace.monitoring.ActionBudget`.

    Attributes:
        most: How many of which action within `per`, without those that failed; what is not named has no limit.
        per: The stretch of time that is looked back, and the rest of an alarm whose action was of no use.
        retry: What failed is tried again after this time.
        cooldown: No alarm trains sooner than this after the last training.
    """

    most: Mapping[str, int]
    per: timedelta
    retry: timedelta
    cooldown: timedelta


@dataclass(frozen=True)
class ActionState:
    """What decisions at one time rest on, beside the alerts.

    Attributes:
        time: The evaluation time, UTC.
        as_of: The run that decides, UTC.
        done: All facts about actions by then.
        trained: As of when the last training was, UTC; None: there was none.
        since: Since when errors are those of the present champion, UTC; None: there is none.
    """

    time: datetime
    as_of: datetime
    done: Sequence[ActionFact]
    trained: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Wish:
    """An action that is due, and the alarms that it answers, the oldest first."""

    action: Acted
    alerts: tuple[Alert, ...]

    def facts(
        self,
        outcome: Outcome,
        reason: str,
        state: ActionState,
        *,
        version: int | None = None,
        config_version: int | None = None,
    ) -> list[ActionFact]:
        """What became of it, for each of its alarms."""
        return [
            ActionFact(
                *(alert.id, alert.rule, self.action, outcome, reason, state.time, state.as_of),
                version=version,
                config_version=config_version,
            )
            for alert in self.alerts
        ]


def wishes(
    alerts: Sequence[Alert],
    action_of: Callable[[Alert], str],
    about_model: Callable[[Alert], bool],
    state: ActionState,
    limits: ActionLimits,
) -> list[Wish]:
    """What open alarms want by a time, in the order in which it is tried.

    An alarm wants its action once. It wants it again where that failed, after `retry`; and where it is still open
    although something was done, after `per`. What came to nothing better rests twice as long each time, up to eight
    times `per`: by then there is as much new to learn from as it was tried on without success. An alarm about a model
    that has been replaced waits for `per`, until there are readings of the new one.

    >>> limits = ActionLimits({}, timedelta(days=7), timedelta(days=1), timedelta())
    >>> wishes([], lambda alert: "retune", lambda alert: True, ActionState(datetime.max, datetime.max, ()), limits)
    []
    """
    wanted: dict[Acted, list[Alert]] = {}
    for alert in sorted(alerts, key=lambda alert: (alert.alarm_at or alert.raised_at, alert.id)):
        action = next((each for each in ORDER if each == action_of(alert)), None)
        if action is None or not alert.is_open or alert.alarm_at is None or alert.alarm_at > state.time:
            continue
        replaced = about_model(alert) and state.since is not None and alert.alarm_at < state.since
        if replaced and state.since is not None and state.time < state.since + limits.per:
            continue
        if not _rests(alert, action, state, limits):
            wanted.setdefault(action, []).append(alert)
    return [Wish(action, tuple(wanted[action])) for action in ORDER if action in wanted]


def _rests(alert: Alert, action: Acted, state: ActionState, limits: ActionLimits) -> bool:
    """Whether the action was tried for this alarm, and is not to be tried again yet."""
    own = [fact for fact in state.done if fact.alert == alert.id and fact.action == action and fact.was_tried]
    if not own:
        return False
    own.sort(key=lambda fact: fact.time, reverse=True)
    last, useless = own[0], list(takewhile(lambda fact: fact.outcome == "rejected", own))
    if last.outcome == "failed":
        return state.time < last.time + limits.retry
    times = len({fact.time for fact in useless})
    return state.time < last.time + limits.per * (1 << min(max(times - 1, 0), _DOUBLED))


def put_off(wish: Wish, state: ActionState, limits: ActionLimits) -> tuple[Outcome, str] | None:
    """Why an action is not tried now; None where it is."""
    if wish.action in TRAINING and state.trained is not None and state.time < state.trained + limits.cooldown:
        reason = f"the last training was as of {iso(state.trained)}, and the next waits for the cooldown"
        return "cooldown", f"{reason} until {iso(state.trained + limits.cooldown)}"
    most = limits.most.get(wish.action)
    if most is None:
        return None
    counted = [fact for fact in state.done if fact.action == wish.action and fact.has_result]
    times = {fact.time for fact in counted if fact.as_of < state.as_of}  # not by this run, if it is repeated
    recent = sorted(time for time in times if state.time - limits.per < time <= state.time)
    if len(recent) < most:
        return None
    named = {"retune": "retuning", "retrain": "retraining"}.get(wish.action, wish.action)
    days = limits.per / timedelta(days=1)
    last = f", the last as of {iso(recent[-1])}" if recent else ""
    return "no_budget", f"the budget is {most} {named}{'' if most == 1 else 's'} within {days:g} days{last}"


def of_each(facts: Sequence[ActionFact]) -> list[ActionFact]:
    """One fact for each thing that was done or put off: alarms share it, and it is said once."""
    return list({(fact.time, fact.action, fact.outcome, fact.version): fact for fact in reversed(facts)}.values())[::-1]


def untold(facts: Sequence[ActionFact], facts_before: Sequence[ActionFact]) -> list[ActionFact]:
    """Those of facts about what was put off that were not told since their action was tried last."""

    def told(fact: ActionFact) -> bool:
        same = [each for each in facts_before if each.alert == fact.alert and each.action == fact.action]
        tried = max((each.time for each in same if each.was_tried), default=None)
        return any(each.outcome == fact.outcome and (tried is None or each.time > tried) for each in same)

    return [fact for fact in facts if not told(fact)]
