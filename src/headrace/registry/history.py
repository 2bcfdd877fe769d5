"""What a system's facts about its models say as of a time: pure functions, no storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Event = Literal["registered", "held", "promoted", "rejected", "rolled_back"]
State = Literal["champion", "challenger", "pending", "rejected", "archived"]


@dataclass(frozen=True)
class VersionEvent:
    """One thing that happened to one version.

    Attributes:
        event: ``rolled_back`` names the version that was gone back to; ``held`` won the gate and waits for somebody.
        version: The model's version.
        as_of: From which time on it counts (UTC).
        created_at: When it was written (UTC), by the clock of whoever did: for people, nothing goes by it.
        order: The store's logical version, which orders facts with equal times.
        reason: Why, in the words of whoever decided.
        evidence: What it was decided on, JSON-ready; None where nothing was put forward.
        by: Who decided; None: the gate.
    """

    event: Event
    version: int
    as_of: datetime
    created_at: datetime
    order: int
    reason: str | None = None
    evidence: Mapping[str, Any] | None = None
    by: str | None = None


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
        about: sha256 of what is known about it, such as its card: files of their own, so that equal fits have one
            `digest` whatever is said of them. None of versions of before, whose card is among their files.
        cost: ``train_cpu_s`` (CPU seconds of the training), ``predict_us`` (of one prediction alone) and ``bytes`` (of
            its files); what was not measured is left out.
        state: As of the time that was asked about. ``rejected`` by the gate or somebody; ``archived`` was superseded.
        reason: The gate's, of its last decision, if one was given.
        evidence: What that was decided on, JSON-ready.
        decided_by: Who decided last; None: the gate, or nobody yet.
        decided_at: When that was, by the clock (UTC).
        decision: What whoever decided last gave as a reason; None: the gate decided, or nothing was said.
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
    cost: Mapping[str, float] = field(default_factory=dict)
    about: str | None = None
    state: State = "archived"
    reason: str | None = None
    evidence: Mapping[str, Any] | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision: str | None = None

    @property
    def because(self) -> str | None:
        """Why it was trained, if that was said."""
        return self.pins.get("because")


@dataclass(frozen=True)
class Trained:
    """A registered version and what the gate said of it, and how it stands beside the baselines, JSON-ready.

    One that is `held` won, and waits for somebody's approval.
    """

    version: ModelVersion
    promoted: bool
    reason: str
    verdict: Mapping[str, Any] | None = None
    held: bool = False

    @property
    def learnt_from(self) -> dict[str, int] | None:
        """How many rows it learnt from as they were ``served``, and ``recomputed``; None where that was not asked."""
        pins = self.version.pins
        return {"served": pins["served"], "recomputed": pins["rows"] - pins["served"]} if "served" in pins else None

    @property
    def apart(self) -> int | None:
        """How many rows with a target were set apart, and not learnt from; None where nothing sets them apart."""
        apart: int | None = self.version.pins.get("apart")
        return apart

    @property
    def sampled(self) -> dict[str, Any] | None:
        """On how many ``rows`` some ``learners`` were fitted that cannot read more; None where all read all."""
        sampled: dict[str, Any] | None = self.version.pins.get("sampled")
        return sampled

    @property
    def alike(self) -> list[dict[str, int]] | None:
        """Labels that look alike, with how many rows have each; None where there are none."""
        alike: list[dict[str, int]] | None = self.version.pins.get("alike")
        return alike

    def figures(self) -> dict[str, Any]:
        """`learnt_from`, `apart`, `sampled` and `alike` by name, JSON-ready: those that say something."""
        figures = {"learnt_from": self.learnt_from, "apart": self.apart, "sampled": self.sampled, "alike": self.alike}
        return {name: value for name, value in figures.items() if value is not None}


@dataclass(frozen=True)
class Standing:
    """Who is what as of a time.

    Attributes:
        champions: The champions that a rollback can go back through; the last is the present one.
        latest: The version trained last.
        challenger: `latest`, while it has been neither promoted nor rejected.
        reasons: The last reason that the gate gave for each version.
        evidence: What the last decision about each version rested on, where that was told.
        pending: The version that won the gate last and waits for approval: neither promoted nor rejected since, nor was
            another one promoted.
        decisions: The last decision about each version.
    """

    champions: tuple[int, ...]
    latest: int | None
    challenger: int | None
    reasons: Mapping[int, str]
    evidence: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    pending: int | None = None
    decisions: Mapping[int, VersionEvent] = field(default_factory=dict)

    @property
    def champion(self) -> int | None:
        """The present champion."""
        return self.champions[-1] if self.champions else None

    @property
    def earlier(self) -> int | None:
        """The champion that a rollback goes back to: the last one before the present, without those rejected since."""
        left = [each for each in self.champions if each != self.champion and not self.is_rejected(each)]
        return left[-1] if left else None

    def is_rejected(self, version: int) -> bool:
        """Whether the last decision about `version` is that it does not become the champion."""
        decision = self.decisions.get(version)
        return decision is not None and decision.event == "rejected"

    def state(self, version: int) -> State:
        """What `version` is."""
        if version == self.champion:
            return "champion"
        if version == self.pending:
            return "pending"
        if version == self.challenger:
            return "challenger"
        return "rejected" if self.is_rejected(version) else "archived"


def standing(facts: Iterable[VersionEvent], as_of: datetime | None = None) -> Standing:
    """Who is what, by the facts that count at `as_of` (None: by all of them), whatever order they come in."""
    known = [fact for fact in facts if as_of is None or fact.as_of <= as_of]
    champions: list[int] = []
    judged: set[int] = set()
    latest: int | None = None
    reasons: dict[int, str] = {}
    evidence: dict[int, Mapping[str, Any]] = {}
    decisions: dict[int, VersionEvent] = {}
    pending: int | None = None
    for fact in in_order(known):
        if fact.event == "registered":
            latest = fact.version
            continue
        judged.add(fact.version)
        decisions[fact.version] = fact
        pending = _pending(fact, pending)
        evidence.pop(fact.version, None)
        if fact.reason and fact.by is None:
            reasons[fact.version] = fact.reason
        if fact.evidence is not None:
            evidence[fact.version] = fact.evidence
        if fact.event == "rolled_back":
            while champions and champions[-1] != fact.version:
                champions.pop()
        if fact.event in ("promoted", "rolled_back") and champions[-1:] != [fact.version]:
            champions.append(fact.version)
    challenger = latest if latest not in judged else None
    return Standing(tuple(champions), latest, challenger, reasons, evidence, pending, decisions)


def _pending(fact: VersionEvent, before: int | None) -> int | None:
    """Which version waits after a decision."""
    if fact.event == "held":
        return fact.version
    settled = fact.event == "promoted" or fact.version == before
    return None if settled else before


def in_order(facts: Iterable[VersionEvent]) -> list[VersionEvent]:
    """The facts in the order in which they count: by time, then as they were written, whatever a clock said."""
    return sorted(facts, key=lambda fact: (fact.as_of, fact.order))


def effective_from(facts: Sequence[VersionEvent], as_of: datetime | None, created_at: datetime) -> datetime:
    """From when a decision counts: `as_of`, else the latest time among the facts, else `created_at`.

    Someone who works in simulated time decides about the models there; now would be years too late.
    """
    if as_of is not None:
        return as_of
    return max((fact.as_of for fact in facts), default=created_at)
