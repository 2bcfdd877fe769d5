"""Act on alarms: retune, retrain, go back to the champion before, or serve a baseline, and keep what became of it.

What is done follows from what was known before the run, so it is the same whether a run is the first, is repeated after
it was killed, or is under way twice at once: searches and versions are found again by what makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, ModelError, NotFoundError, TuningError, UsageError
from headrace.flow.tune import SearchResult, TuneRequest, tune
from headrace.home import Home
from headrace.loop import actions
from headrace.loop.alerts import alerts
from headrace.loop.eras import reign_at, reigns
from headrace.loop.evaluate import evaluate
from headrace.loop.times import last_before, spacing
from headrace.pipelines.comparison import compare
from headrace.pipelines.configured import Reference, configured
from headrace.policy.acting import (
    TRAINING,
    ActionFact,
    ActionLimits,
    ActionState,
    Outcome,
    Wish,
    put_off,
    untold,
    wishes,
)
from headrace.policy.alerts import Alert, because_of
from headrace.registry.history import standing
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.gate import Start
from headrace.tasks.paired import PairRequest

if TYPE_CHECKING:
    from headrace.registry import ModelVersion, Timeline, Trained

_MOMENT = timedelta(microseconds=1)
_FAILURES = (ModelError, TuningError, UsageError)
"""What an action may fail with while the run goes on: the same facts would fail again. Others end the run."""


@dataclass(frozen=True)
class ActRequest:
    """What to act on.

    Attributes:
        system: The declaration, with the configuration in use as of the run.
        reference: How it is loaded again.
        as_of: The run's time, UTC: what was known then decides.
        data_version: Logical version of the raw table.
        now: The clock's time, UTC; it is only written down.
        on_progress: Told what is being done, how much of it is done, and of how much.
    """

    system: System
    reference: Reference
    as_of: datetime
    data_version: int
    now: datetime
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None


@dataclass
class ActResult:
    """What was done.

    Attributes:
        facts: What became of which action, also of what was put off.
        trained: The version that was trained; None where none was.
        because: Why it was.
        cpu_seconds: What each action took that was tried or put off.
        system: The declaration with the configuration in use from now on.
    """

    system: System
    facts: list[ActionFact] = field(default_factory=list)
    trained: Trained | None = None
    because: str | None = None
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def has_promoted(self) -> bool:
        """Whether another version predicts from now on."""
        return any(fact.outcome == "promoted" for fact in self.facts)


def act(home: Home, request: ActRequest) -> ActResult:
    """Bring the readings up to the run, and do what open alarms cause by then. Scores up to then have to be there.

    An action that fails is a fact, is told, and is tried again later: it does not end the run.

    Raises:
        StoreError: A table cannot be read or written.
        RegistryError: The tracking server cannot be reached.
        UsageError: The system was deleted or renamed meanwhile.
    """
    evaluate(request.system, home, as_of=request.as_of)
    finished = _finish(home, request)
    if finished is None:
        return _ActRun(home, request).execute()
    result = _ActRun(home, replace(request, system=finished.system)).execute()
    result.facts = finished.facts + result.facts
    result.cpu_seconds = finished.cpu_seconds | result.cpu_seconds
    if result.trained is None:
        result.trained, result.because = finished.trained, finished.because
    return result


def _finish(home: Home, request: ActRequest) -> ActResult | None:
    """Finish what earlier runs began and did not end, as of their time; None where there is nothing of it.

    Whoever began it may be at it still: then both do one search and make one version, as two runs at once do.
    """
    unfinished = actions.unfinished(home, request.system.name, request.as_of - _MOMENT)
    reference, finished = request.reference, None
    for as_of, data_version in sorted({(fact.as_of, int(fact.reason)) for fact in unfinished}):
        system = configured(reference, reference.load(), home, as_of)
        done = _ActRun(home, replace(request, system=system, as_of=as_of, data_version=data_version)).execute()
        left = [fact for fact in actions.unfinished(home, request.system.name, as_of) if fact.as_of == as_of]
        reason = "was broken off, and by what is known now there was no such alarm"
        void = [replace(fact, outcome="failed", reason=reason) for fact in left]
        actions.write(home, request.system.name, void, request.now)
        if finished is not None:
            done.facts = finished.facts + done.facts
        finished = done
    if finished is not None:
        finished.system = configured(reference, reference.load(), home, request.as_of)
    return finished


def first_action(home: Home, runs: Sequence[ActRequest]) -> datetime | None:
    """The first of some runs that would do something, or say that it is put off; None where none of them would.

    Readings up to the last of them have to be there. Nothing is done or stored.

    Args:
        home: Where everything is.
        runs: In order, of one system whose configuration is the same at all of them.

    Raises:
        StoreError: A table cannot be read.
    """
    last = runs[-1]
    alarms = [alert for alert in alerts(last.system, home, as_of=last.as_of) if alert.alarm_at is not None]
    for request in runs:
        standing_then = [replace(alert, closed_at=None) for alert in alarms if _stood(alert, request.as_of)]
        if standing_then and _ActRun(home, request).is_due(standing_then):
            return request.as_of
    return None


def _stood(alert: Alert, time: datetime) -> bool:
    """Whether an alarm was open at a time: alerts follow from readings up to it."""
    assert alert.alarm_at is not None
    return alert.alarm_at <= time and (alert.closed_at is None or alert.closed_at > time)


class _ActRun:
    def __init__(self, home: Home, request: ActRequest) -> None:
        self._home, self._request = home, request
        self._system, self._name = request.system, request.system.name
        self._result = ActResult(request.system)

    @cached_property
    def _began(self) -> Start:
        return Start.of(self._system, self._home, self._request.now)

    def is_due(self, open_alerts: Sequence[Alert]) -> bool:
        """Whether open alerts cause anything that is not told yet."""
        for wish in self._wishes(open_alerts):
            off = put_off(wish, self._state, self._limits)
            if off is None or untold(wish.facts(*off, self._state), self._state.done):
                return True
        return False

    def _wishes(self, open_alerts: Sequence[Alert]) -> list[Wish]:
        return wishes(open_alerts, self._action_of, self._is_about_model, self._state, self._limits)

    def execute(self) -> ActResult:
        began = self._began
        open_alerts = alerts(self._system, self._home, as_of=self._request.as_of, only_open=True)
        if not any(alert.alarm_at is not None for alert in open_alerts):
            return self._result
        for wish in self._wishes(open_alerts):
            spent = began.spent()
            facts = self._facts(self._still_meant(wish))
            self._result.cpu_seconds[wish.action] = round(began.spent() - spent, 3)
            if not facts:
                continue
            began.refuse_changed(self._system, self._home)
            actions.write(self._home, self._name, facts, self._request.now)
            self._result.facts += facts
        return self._result

    @cached_property
    def _rules(self) -> dict[str, Any]:
        return {rule.called: rule for rule in self._system.monitoring.watched}

    def _action_of(self, alert: Alert) -> str:
        return self._system.monitoring.action_of(self._rules[alert.rule])

    def _is_about_model(self, alert: Alert) -> bool:
        return bool(self._rules[alert.rule].about_model)

    @cached_property
    def _timeline(self) -> Timeline:
        return self._home.registry.timeline(self._name)

    @property
    def _before(self) -> datetime:
        """Just before the run: what it did itself, before it was killed, decides nothing."""
        return self._request.as_of - _MOMENT

    @cached_property
    def _champion(self) -> ModelVersion:
        """Who predicted when the alarms were raised."""
        champion = self._timeline.champion(self._before)
        assert champion is not None, "alarms are raised about a champion"
        return champion

    @cached_property
    def _state(self) -> ActionState:
        time = last_before(self._request.as_of, spacing(self._system))
        last, reign = self._timeline.latest_trained(self._before), reign_at(reigns(self._timeline), self._before)
        done = actions.read(self._home, self._name, self._request.as_of)
        trained = None if last is None else last.as_of
        return ActionState(time, self._request.as_of, done, trained, reign.since)

    @cached_property
    def _limits(self) -> ActionLimits:
        monitoring = self._system.monitoring
        budget = monitoring.at_most
        most = {"retune": budget.retunings, "retrain": budget.retrainings}
        return ActionLimits(most, budget.per, monitoring.retry, self._system.schedule.cooldown)

    def _still_meant(self, wish: Wish) -> Wish:
        """A wish without alarms about a model that was replaced just now."""
        if not self._result.has_promoted or (self._result.trained is not None and wish.action in TRAINING):
            return wish
        return replace(wish, alerts=tuple(alert for alert in wish.alerts if not self._is_about_model(alert)))

    def _facts(self, wish: Wish) -> list[ActionFact]:
        """Do what is wished, and say what became of it."""
        if not wish.alerts:
            return []
        trained = self._result.trained
        if trained is not None and wish.action in TRAINING:  # one training answers all
            reason = f"version {trained.version.version} was trained now already: {trained.reason}"
            return wish.facts(_outcome(trained), reason, self._state, version=trained.version.version)
        reason_off = put_off(wish, self._state, self._limits)
        if reason_off is not None:
            return untold(wish.facts(*reason_off, self._state), self._state.done)
        if not self._begins(wish):
            return []
        try:
            return getattr(self, f"_{wish.action}")(wish)  # type: ignore[no-any-return]
        except _FAILURES as error:
            return wish.facts("failed", _said(error), self._state)

    def _begins(self, wish: Wish) -> bool:
        """Say that it is begun; whether no earlier run is at it, which said so at the same time."""
        own = {alert.id for alert in wish.alerts}
        begun = wish.facts("begun", str(self._request.data_version), self._state)
        actions.write(self._home, self._name, begun, self._request.now)
        earlier = actions.unfinished(self._home, self._name, self._request.as_of - _MOMENT)
        return not any(fact.alert in own and fact.action == wish.action for fact in earlier)

    def _retune(self, wish: Wish) -> list[ActionFact]:
        """Search on what was known when the champion was trained, and train: the gate compares on what came since."""
        search = self._search()
        stored = search.configuration
        as_of, home = self._request.as_of, self._home
        self._result.system = configured(self._request.reference, self._declared, home, as_of)
        trained = self._train(self._result.system, wish)
        number = trained.version.version
        reason = f"{_searched(search)}; version {number}, trained with what is in use now: {trained.reason}"
        version = None if stored is None else stored.version
        return wish.facts(_outcome(trained), reason, self._state, version=number, config_version=version)

    @cached_property
    def _declared(self) -> System:
        return self._request.reference.load()

    def _search(self) -> SearchResult:
        r, declared = self._request, self._declared
        present = configured(r.reference, declared, self._home, self._before)
        limits: dict[str, Any] = {"workers": 1, "on_progress": r.on_progress, "used_from": r.as_of}
        search = tune(
            declared, present, self._home, TuneRequest(self._champion.as_of, r.now, declared.tuning, **limits)
        )
        if search.interrupted:
            raise KeyboardInterrupt
        return search

    def _retrain(self, wish: Wish) -> list[ActionFact]:
        trained = self._train(self._system, wish)
        number = trained.version.version
        return wish.facts(_outcome(trained), f"version {number}: {trained.reason}", self._state, version=number)

    def _train(self, system: System, wish: Wish) -> Trained:
        r, because = self._request, _because(wish)
        trained = task_of(system).train(
            self._home, as_of=r.as_of, data_version=r.data_version, now=r.now, because=because
        )
        self._result.trained, self._result.because = trained, because
        return trained

    def _fallback(self, wish: Wish) -> list[ActionFact]:
        r = self._request
        trained = task_of(self._system).fall_back(
            self._home, as_of=r.as_of, data_version=r.data_version, now=r.now, because=_because(wish)
        )
        number = trained.version.version
        return wish.facts(_outcome(trained), f"version {number}: {trained.reason}", self._state, version=number)

    def _rollback(self, wish: Wish) -> list[ActionFact]:
        """Go back to the champion before, if it would have been better since the present one was trained."""
        done = self._rolled_back(wish)
        if done is not None:
            return wish.facts("promoted", done[1], self._state, version=done[0])
        champion, earlier = self._champion, standing(self._timeline.facts, self._before).earlier
        if earlier is None:
            raise NotFoundError("there is no champion before to go back to", where=self._name)
        span: dict[str, Any] = {"since": champion.as_of, "as_of": self._request.as_of}
        comparison = compare(self._system, self._home, PairRequest(champion.version, earlier, replay=True, **span))
        if comparison.measure is None or not _is_better(comparison.metrics, comparison.measure, earlier, champion):
            return wish.facts("rejected", comparison.line(), self._state, version=earlier)
        reason = f"{_because(wish)}; {comparison.line()}"
        with self._home.changing():
            self._began.refuse_changed(self._system, self._home)
            if (
                standing(self._home.registry.timeline(self._name).facts, self._request.as_of).champion
                == champion.version
            ):
                self._home.registry.rollback(
                    self._name, created_at=self._request.now, as_of=self._request.as_of, reason=reason
                )
        return wish.facts("promoted", reason, self._state, version=earlier)

    def _rolled_back(self, wish: Wish) -> tuple[int, str] | None:
        """What this run went back to before it was killed, and the reason."""
        return next(
            (
                (fact.version, fact.reason)
                for fact in self._timeline.facts
                if fact.event == "rolled_back" and fact.as_of == self._request.as_of and fact.reason
                if fact.reason.startswith(wish.alerts[0].id)
            ),
            None,
        )


def _is_better(metrics: dict[int, dict[str, Any]], measure: str, earlier: int, champion: ModelVersion) -> bool:
    return bool(metrics[earlier][measure] < metrics[champion.version][measure])


def _because(wish: Wish) -> str:
    others = len(wish.alerts) - 1
    more = "" if not others else f", and {others} other alarm{'' if others == 1 else 's'}"
    return f"{because_of(wish.alerts[0])}{more}"


def _outcome(trained: Trained) -> Outcome:
    return "promoted" if trained.promoted else "held" if trained.held else "rejected"


def _said(error: HeadraceError) -> str:
    return f"{error.where}: {error.message}" if error.where else error.message


def _searched(search: SearchResult) -> str:
    """What a search came to, in a sentence."""
    count = f"{search.count('complete')} trials on {search.seen}"
    unseen, stored = search.unseen, search.configuration
    if unseen is None or stored is None:
        return f"{count} found nothing better than the present settings"
    figures = f"{unseen.measure} {unseen.tuned:.4g} against {unseen.present:.4g} on later data that none of them saw"
    return f"{count} found configuration {stored.version}, {'better' if unseen.wins else 'no better'}: {figures}"
