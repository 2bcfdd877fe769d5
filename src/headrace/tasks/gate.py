"""The gate: a fitted model becomes a version, and takes the champion's place if it is better, whatever it predicts."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import UsageError
from headrace.home import Home
from headrace.lineage import digest_of, iso
from headrace.metrics import apart
from headrace.registry import Trained
from headrace.registry.artefact import ABOUT_FOLDER
from headrace.shaping import comparable, differing
from headrace.system import System
from headrace.tasks.card import of_version
from headrace.tasks.importance import Importance

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.tasks.sections import Section
    from headrace.tasks.verdict import Verdict

TOLERANCE = 0.01
"""A challenger may be this much worse on every measure but the first, on which it is better."""
COVERING = 0.05
"""One that knows series which the champion does not may be this much worse on the others, by any measure."""


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


@dataclass(frozen=True)
class Match:
    """A challenger's scores and the champion's on the same pairs; less is better.

    Attributes:
        ours: The challenger's, by measure, the one that decides first. Those that are not finite are not compared.
        theirs: The champion's.
        where: What they were measured on, for the reason, such as ``in cross-validation``.
        unknown: Series that the champion does not know, and the challenger does.
        common: Where there are any, both on the series that both know.
        changed: What the challenger's answers say otherwise than the champion's because the declaration asks for it:
            then it is enough not to be worse.
    """

    ours: Mapping[str, float]
    theirs: Mapping[str, float]
    where: str = ""
    unknown: int = 0
    common: Match | None = None
    changed: Sequence[str] = ()


@dataclass(frozen=True)
class Start:
    """When a training began.

    Attributes:
        now: The clock's time; it is only written down.
        cpu: CPU seconds that this process and those that it waited for had used by then.
        table: What tells the facts that it learns from from others under the system's name, from `Table.id`.
    """

    now: datetime
    table: str
    cpu: float = field(default_factory=_cpu_seconds)

    @classmethod
    def of(cls, system: System, home: Home, now: datetime) -> Start:
        """A training of a system that begins now.

        Raises:
            StoreError: The store cannot be read.
        """
        return cls(now, home.raw(system).id())

    def refuse_changed(self, system: System, home: Home) -> None:
        """Refuse to go on where the system is not what it was: what is written would revive a part of it.

        Raises:
            UsageError: It was deleted or renamed meanwhile.
        """
        if home.raw(system).id() != self.table:
            hint = "nothing of this training was kept; run it again where the system is to be"
            raise UsageError("was deleted or renamed while it was trained", where=system.name, hint=hint)

    def spent(self) -> float:
        """CPU seconds since."""
        return round(_cpu_seconds() - self.cpu, 3)


class Challenger(Protocol):
    """A fitted model that wants to become a version. Asked by `admit`, in the order in which it is written here."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What it was fitted with, JSON-ready."""

    @property
    def pins(self) -> Mapping[str, Any]:
        """What it was made from, beside what `admit` pins for every task; the same pins are the same version."""

    def scores(self) -> Mapping[str, float]:
        """Its metrics, which are kept with the version; NaN where one says nothing."""

    def save(self, folder: Path) -> None:
        """Write its files into an empty folder."""

    def sections(self) -> Sequence[Section]:
        """How good it is where, for the card of the version."""

    def cost(self) -> Mapping[str, float]:
        """What it takes to predict: ``predict_us``, microseconds of one prediction; empty where that is not told."""

    def verdict(self) -> Verdict | None:
        """How it stands beside the baselines; None where nothing has matured to say so."""

    def against(self, champion: ModelVersion) -> Match | None:
        """Its scores beside the champion's; None where nothing came after what the champion learnt from.

        Called only for a champion that was made from a declaration that can be compared.
        """

    @property
    def untaught(self) -> str | None:
        """Why nothing was learnt and what is served instead: a baseline, which need not beat one. None: it learnt."""


def admit(
    system: System,
    home: Home,
    challenger: Challenger,
    *,
    as_of: datetime,
    data_version: int,
    began: Start,
    because: str | None = None,
    importance: Importance | None = None,
) -> Trained:
    """Register a fitted model, and promote or reject it.

    Args:
        system: The declaration.
        home: Where the registry is.
        challenger: The model.
        as_of: What was known at this time (UTC) is what it learnt from.
        data_version: Logical version of the raw table that it learnt from.
        began: When the training did.
        because: Why it was trained, for people.
        importance: How much each feature matters to it; None where the task does not say.

    Raises:
        UsageError: The system was deleted or renamed meanwhile.
        RegistryError: The tracking server cannot be reached.
    """
    pins = {
        "as_of": iso(as_of),
        "data_version": data_version,
        "feature_version": system.features.digest,
        "config_digest": system.config_digest,
        "made_from": system.made_from,
        **(system.tuned.pins if system.tuned is not None else {}),
        **challenger.pins,
    }
    scores = {**challenger.scores(), **{f"cost.{name}": value for name, value in challenger.cost().items()}}
    with tempfile.TemporaryDirectory() as folder:
        challenger.save(Path(folder))
        about = Path(folder, ABOUT_FOLDER)
        about.mkdir()
        importance = importance or Importance(reason="its task does not say")
        sections = [*challenger.sections(), *importance.sections()]
        of_version(system, pins, challenger.params, challenger.verdict(), sections).save(about)
        importance.save(about)
        scores["cost.train_cpu_s"] = began.spent()
        with home.changing():
            began.refuse_changed(system, home)
            version = home.registry.register(
                system.name,
                Path(folder),
                key=digest_of(pins, 24),
                params=challenger.params,
                metrics={name: value if value == value else None for name, value in scores.items()},
                pins=pins if because is None else {**pins, "because": because},  # it is no part of what made it
                as_of=as_of,
                created_at=began.now,
            )
    return _decided(system, home, version, challenger, began)


def _decided(system: System, home: Home, version: ModelVersion, challenger: Challenger, began: Start) -> Trained:
    """A first version takes the place; a later one must beat the champion, on what neither learnt from."""
    registry, as_of = home.registry, version.as_of
    champion, verdict = registry.champion(system.name, as_of), challenger.verdict()
    comparison = None if verdict is None else verdict.as_dict()
    if champion is not None and champion.version == version.version:
        return Trained(version, True, version.reason or version.decision or "is the champion", comparison)
    if version.state == "pending" or version.decided_by is not None:  # trained once more: a person has the last word
        said = version.decision or version.reason or "was decided by hand"
        return Trained(version, False, said, comparison, version.state == "pending")
    reason, wins = ("the first version", True) if champion is None else _compared(system, champion, challenger)
    if challenger.untaught is not None:
        reason = f"{reason}, {challenger.untaught}"
    else:
        reason, wins = with_baselines(system, verdict, reason, wins)
    held = wins and champion is not None and system.schedule.promotion == "manual"
    decide = registry.hold if held else registry.promote if wins else registry.reject
    with home.changing():
        began.refuse_changed(system, home)
        decided = decide(system.name, version.version, created_at=began.now, as_of=as_of, reason=reason)
    return Trained(decided, wins and not held, reason, comparison, held)


def _compared(system: System, champion: ModelVersion, challenger: Challenger) -> tuple[str, bool]:
    number, parts = champion.version, differing(system.made_from, champion.pins)
    if not comparable(parts):
        return f"version {number} was made from another declaration ({', '.join(parts)})", True
    match = challenger.against(champion)
    if match is None:
        return f"no time after version {number}'s own to compare on", True
    reason, wins = judged(match, number)
    if wins or match.common is None:
        return reason, wins
    return covering(match.common, number, match.unknown) or (reason, wins)


def judged(match: Match, champion: int) -> tuple[str, bool]:
    """Whether a challenger beats the champion, by the number of its version, and why."""
    candidate, rival = match.ours, match.theirs
    names = _finite(candidate)
    if not names:
        return f"nothing has matured to compare with version {champion}", True
    first, *rest = names
    wins = candidate[first] < rival[first] and all(candidate[name] <= rival[name] * (1 + TOLERANCE) for name in rest)
    where = f" {match.where}" if match.where else ""
    if not wins and match.changed and all(candidate[name] <= rival[name] * (1 + TOLERANCE) for name in names):
        changed = ", ".join(match.changed)
        return f"answers as declared now ({changed}), not worse than version {champion}: {_figures(match)}{where}", True
    return f"{'beats' if wins else 'does not beat'} version {champion}: {_figures(match)}{where}", wins


def covering(common: Match, champion: int, unknown: int) -> tuple[str, bool] | None:
    """Whether a challenger takes the place because it knows series that the champion does not; None: it does not.

    A champion that does not know a series leaves it without answers, which costs more than a little error on others.

    Args:
        common: Both on the pairs of series that both know.
        champion: The number of its version.
        unknown: Series that only the challenger knows.
    """
    names = _finite(common.ours)
    if any(not common.ours[name] <= common.theirs[name] * (1 + COVERING) for name in names):
        return None
    covers = f"covers {unknown} series that version {champion} does not know"
    if not names:
        return f"{covers}, and nothing of the others has matured", True
    return f"{covers}, and is not much worse on the others: {_figures(common)}", True


def with_baselines(system: System, verdict: Verdict | None, reason: str, wins: bool) -> tuple[str, bool]:
    """The reason and decision, with what the baselines say; they decide only where the system asks for it."""
    if verdict is None:
        return f"{reason}; nothing has matured to compare with baselines", wins and not system.schedule.beat_baselines
    if wins and system.schedule.beat_baselines and not verdict.better:
        return verdict.line(), False
    return f"{reason}; {verdict.line()}", wins


def _finite(scores: Mapping[str, float]) -> Sequence[str]:
    return [name for name, value in scores.items() if math.isfinite(value)]


def _figures(match: Match) -> str:
    return ", ".join(f"{name} {apart(match.ours[name], match.theirs[name])}" for name in _finite(match.ours))
