"""Hooks: functions of yours that are told what a system did, once it is durable.

A hook is a function of one argument, annotated with an event of this module, or with several (``A | B``); or an object
with methods that have the names of events: ``validated ingested trained promoted predicted
scored alert_raised alert_closed``. It is declared in
``System(hooks=...)``, or comes with a package, as an entry point of the group ``headrace.hooks``, for every system.

>>> def tell(event: PromotedEvent) -> None:
...     print(f"{event.system}: version {event.version} predicts from now on")
>>> calls = Calls("energy", (tell,), packages=None)
>>> calls(PromotedEvent("energy", datetime(2026, 1, 1, tzinfo=UTC), version=2, before=1, reason="better"))
energy: version 2 predicts from now on

An event is told at least once: a run that was killed and is repeated tells its events again, and a version that was
registered or promoted by a process that died before it could tell is told by the next run. An exception in a hook is
logged and counted, and changes nothing of what was done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime  # noqa: F401  # UTC: the example above
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from headrace.errors import DeclarationError, HeadraceError, HookError
from headrace.plugins import Group

HOOKS = Group("headrace.hooks")
_log = logging.getLogger("headrace.hooks")


@dataclass(frozen=True)
class HookEvent:
    """What every event has.

    Attributes:
        system: The system's name.
        as_of: What it is about was known at this time (UTC).
    """

    system: str
    as_of: datetime


@dataclass(frozen=True)
class ValidatedEvent(HookEvent):
    """Records were checked, and those that break the contract are in the quarantine.

    Attributes:
        origin: Where the records came from.
        rows: How many there were.
        bad: How many were set apart.
        pending: How many are known later than `as_of`.
        reasons: How many rows were set apart for each reason.
        broken: Whether the contract is broken as a whole, so that nothing is stored and the run fails.
    """

    origin: str
    rows: int
    bad: int
    pending: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    broken: bool = False


@dataclass(frozen=True)
class IngestedEvent(HookEvent):
    """Good rows are in the raw table.

    Attributes:
        origin: Where they came from.
        added: How many were new.
        repeated: How many said nothing new.
        data_version: Logical version of the table afterwards.
    """

    origin: str
    added: int
    repeated: int
    data_version: int


@dataclass(frozen=True)
class TrainedEvent(HookEvent):
    """A model version is registered; whether it is promoted is told after it.

    Attributes:
        version: Its number.
        metrics: Its metrics; None where one says nothing.
        pins: What it was made from.
    """

    version: int
    metrics: Mapping[str, float | None]
    pins: Mapping[str, Any]


@dataclass(frozen=True)
class PromotedEvent(HookEvent):
    """A model version is the champion: by the gate, by hand, or because somebody went back to it.

    Attributes:
        version: Its number.
        before: The champion until then; None if there was none.
        reason: Why, in the words of whoever decided.
    """

    version: int
    before: int | None
    reason: str | None


@dataclass(frozen=True)
class PredictedEvent(HookEvent):
    """The predictions of a run are in their table. Posted rows and streams tell none: their sinks pass them on.

    Attributes:
        predictions: How many the run has.
        stored: How many of them are new; none if the run had been done before.
        model_version: The version that predicted.
        data_version: Logical version of the data that it saw.
    """

    predictions: int
    stored: int
    model_version: int
    data_version: int


@dataclass(frozen=True)
class ScoredEvent(HookEvent):
    """Predictions that have matured are compared with what came true.

    Attributes:
        matured: How many predictions have matured, of a run; how many scores are new, of a backfill.
        metrics: Of all that matured in the window that is watched; empty for a backfill.
    """

    matured: int
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class AlertEvent(HookEvent):
    """What an event about an alert has.

    Attributes:
        severity: ``warning`` or ``alarm``.
        id: Of the alert.
        rule: The rule's name.
        scope: Column to value; empty: the system.
        value: What was measured.
        threshold: What it passed.
        raised_at: When the alert was raised first, UTC.
    """

    severity: str
    id: str
    rule: str
    scope: Mapping[str, Any]
    value: float | None
    threshold: float | None
    raised_at: datetime


@dataclass(frozen=True)
class AlertRaisedEvent(AlertEvent):
    """A warning or an alarm was raised, or a warning became an alarm; `as_of` says when."""


@dataclass(frozen=True)
class AlertClosedEvent(AlertEvent):
    """An alert was closed; `as_of` says when. The others are as of when it was raised."""


EVENTS: dict[str, type[HookEvent]] = {
    "validated": ValidatedEvent,
    "ingested": IngestedEvent,
    "trained": TrainedEvent,
    "promoted": PromotedEvent,
    "predicted": PredictedEvent,
    "scored": ScoredEvent,
    "alert_raised": AlertRaisedEvent,
    "alert_closed": AlertClosedEvent,
}
"""The events, in the order in which a run tells them, by the name of a hook's method."""

Tell = Callable[[HookEvent], None]


def unheard(event: HookEvent) -> None:
    """Tells nobody."""


def hears(hook: Any, where: str) -> dict[type[HookEvent], Callable[[Any], Any]]:
    """Which events a hook is told, each with what is called.

    Args:
        hook: A function or an object.
        where: Its path, for errors.

    Raises:
        DeclarationError: It is told none, or its annotation is not understood.
    """
    methods = {kind: getattr(hook, name) for name, kind in EVENTS.items() if callable(getattr(hook, name, None))}
    if methods:
        return methods
    names = ", ".join(EVENTS)
    if isinstance(hook, type) or not callable(hook):
        hint = f"give a function, or an object with a method called one of {names}"
        raise DeclarationError(f"{hook!r} is no hook", where=where, hint=hint)
    try:
        hints = get_type_hints(hook if hasattr(hook, "__code__") else type(hook).__call__)
    except (NameError, TypeError) as error:
        hint = "import its type where it runs, not for type checkers alone"
        raise DeclarationError(f"its annotation is not understood: {error}", where=where, hint=hint) from error
    hints.pop("return", None)
    kind = next(iter(hints.values()), None)
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    events = [event for event in EVENTS.values() if any(isinstance(k, type) and issubclass(event, k) for k in kinds)]
    if not events:
        hint = "annotate its argument: def hook(event: PredictedEvent); HookEvent is all of them"
        raise DeclarationError("nothing says which events the hook is told", where=where, hint=hint)
    return dict.fromkeys(events, hook)


class Calls:
    """Tells the hooks of a system, in the order in which they are declared, those of packages last.

    Args:
        system: The system's name.
        hooks: Those that it declares.
        packages: The group of those that packages bring; None: none.
        strict: Raise what a hook raises, as a `HookError`; for tests.

    Attributes:
        failed: What failed, a line each.
    """

    def __init__(
        self, system: str, hooks: Sequence[Any], packages: Group | None = HOOKS, *, strict: bool = False
    ) -> None:
        self.failed: list[str] = []
        self._system, self._strict = system, strict
        named = [(hook, f"hooks[{place}]") for place, hook in enumerate(hooks)]
        self._hooks = [(_name(hook), hears(hook, where)) for hook, where in named]
        for member in packages.members() if packages is not None else ():
            try:
                hook = packages.load(member.name) if packages is not None else None
                self._hooks.append((f"{member.name} of {member.package}", hears(hook, f"{HOOKS.name}: {member.name}")))
            except HeadraceError as error:
                self._fail(f"the hook {member.name} of {member.package} cannot be used: {error.message}", error)

    @property
    def heard(self) -> bool:
        """Whether there is a hook at all."""
        return bool(self._hooks)

    def __call__(self, event: HookEvent) -> None:
        """Tell every hook that wants to be told.

        Raises:
            HookError: A hook failed, and it is to be strict.
        """
        for name, methods in self._hooks:
            call = methods.get(type(event))
            if call is None:
                continue
            try:
                call(event)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a hook never fails a run
                kind = type(event).__name__
                self._fail(f"the hook {name} failed on {kind}: {type(error).__name__}: {error}", error)

    def _fail(self, text: str, error: BaseException) -> None:
        self.failed.append(text)
        if self._strict:
            raise HookError(text, where=self._system) from error
        _log.warning("%s: %s", self._system, text, exc_info=error)


def _name(hook: Any) -> str:
    return getattr(hook, "__qualname__", None) or type(hook).__qualname__
