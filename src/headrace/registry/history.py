"""What a system's facts about its models say as of a time: pure functions, no storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Event = Literal["registered", "promoted", "rejected", "rolled_back"]
State = Literal["champion", "challenger", "archived"]


@dataclass(frozen=True)
class Fact:
    """One thing that happened to one version.

    Attributes:
        event: ``rolled_back`` names the version that was gone back to.
        version: The model's version.
        as_of: From which time on it counts (UTC).
        created_at: When it was written (UTC), by the clock of whoever did: for people, nothing goes by it.
        order: The store's logical version, which orders facts with equal times.
        reason: Why, in the words of whoever decided.
    """

    event: Event
    version: int
    as_of: datetime
    created_at: datetime
    order: int
    reason: str | None = None


@dataclass(frozen=True)
class ModelVersion:
    """One version of a system's model.

    Attributes:
        system: The system's name.
        version: 1, 2, 3...: the number it has in the tracking server too.
        digest: sha256 of its files (`headrace.registry.artefact.folder_digest`).
        key: What it was registered under; the same key is the same version.
        as_of: What was known at this time went into it (UTC).
        created_at: When it was registered (UTC).
        run_id: The tracking server's run.
        pins: What it was trained from.
        params: The model's parameters.
        metrics: Its metrics on the later window.
        state: As of the time that was asked about.
        reason: Of the last promotion, rejection or rollback, if one was given.
    """

    system: str
    version: int
    digest: str
    key: str
    as_of: datetime
    created_at: datetime
    run_id: str
    pins: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    state: State = "archived"
    reason: str | None = None


@dataclass(frozen=True)
class Trained:
    """A registered version and what the gate said of it, and how it stands beside the baselines, JSON-ready."""

    version: ModelVersion
    promoted: bool
    reason: str
    verdict: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Standing:
    """Who is what as of a time.

    Attributes:
        champions: The champions that a rollback can go back through; the last is the present one.
        latest: The version trained last.
        challenger: `latest`, while it has been neither promoted nor rejected.
        reasons: The last reason given for each version.
    """

    champions: tuple[int, ...]
    latest: int | None
    challenger: int | None
    reasons: Mapping[int, str]

    @property
    def champion(self) -> int | None:
        """The present champion."""
        return self.champions[-1] if self.champions else None

    def state(self, version: int) -> State:
        """What `version` is."""
        if version == self.champion:
            return "champion"
        return "challenger" if version == self.challenger else "archived"


def standing(facts: Iterable[Fact], as_of: datetime | None = None) -> Standing:
    """Who is what, by the facts that count at `as_of` (None: by all of them), whatever order they come in."""
    known = [fact for fact in facts if as_of is None or fact.as_of <= as_of]
    champions: list[int] = []
    judged: set[int] = set()
    latest: int | None = None
    reasons: dict[int, str] = {}
    for fact in in_order(known):
        if fact.event == "registered":
            latest = fact.version
            continue
        judged.add(fact.version)
        if fact.reason:
            reasons[fact.version] = fact.reason
        if fact.event == "rolled_back":
            while champions and champions[-1] != fact.version:
                champions.pop()
        if fact.event != "rejected" and champions[-1:] != [fact.version]:
            champions.append(fact.version)
    challenger = latest if latest not in judged else None
    return Standing(tuple(champions), latest, challenger, reasons)


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """The facts in the order in which they count: by time, then as they were written, whatever a clock said."""
    return sorted(facts, key=lambda fact: (fact.as_of, fact.order))


def effective_from(facts: Sequence[Fact], as_of: datetime | None, created_at: datetime) -> datetime:
    """From when a decision counts: `as_of`, else the latest time among the facts, else `created_at`.

    Someone who works in simulated time decides about the models there; now would be years too late.
    """
    if as_of is not None:
        return as_of
    return max((fact.as_of for fact in facts), default=created_at)
