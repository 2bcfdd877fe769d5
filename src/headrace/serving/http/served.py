"""The systems that a server serves: each with its contract, its champion, and what it last read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.many import ManyDecoder
from headrace.contract.row import RowDecoder
from headrace.errors import HeadraceError, ModelError
from headrace.home import Home
from headrace.lineage import CANARY, ROLE
from headrace.pipelines import runs
from headrace.serving.http.beside import Beside
from headrace.serving.http.champion import Canary, Champion, Versions, take_up
from headrace.serving.http.forecasts import Forecasts
from headrace.serving.http.problem import outward
from headrace.system import System
from headrace.tasks import Task, task_of

if TYPE_CHECKING:
    from headrace.ledger.shadows import Follower
    from headrace.registry import ModelVersion

_log = logging.getLogger("headrace.serving")


def _kept(system: str) -> None:
    """Nothing is kept, so nothing can be in the way of that."""


@dataclass
class ServedSystem:
    """One system behind the door. Only `refresh` changes it, by replacing whole attributes.

    Attributes:
        task: What the system does.
        series: The forecasts of its series that are stored; None where it has none.
        trouble: Why the last refresh failed, or there is nothing to answer with.
        lost: Why the model that is there must not answer any more.
        kept: Says why a system's predictions cannot be kept; None: they can.
        beside: Versions that score beside the champion.
        following: How far those are that score what was answered, each with how many entries wait for it.
        numbers: Of the versions that there are.
    """

    system: System
    home: Home
    logged: bool
    task: Task = field(init=False)
    decoder: RowDecoder = field(init=False)
    many: ManyDecoder = field(init=False)
    champion: Champion | None = None
    series: Forecasts | None = None
    trouble: str | None = "is starting"
    lost: str | None = None
    kept: Callable[[str], str | None] = _kept
    beside: Beside = field(default_factory=Beside)
    following: tuple[tuple[Follower, int], ...] = ()
    numbers: tuple[int, ...] = ()
    versions: Versions = field(init=False)
    _taken: Canary | None = None

    def __post_init__(self) -> None:
        self.task = task_of(self.system)
        self.versions = Versions(self.system, self.home, logged=self.logged)
        self.decoder = RowDecoder(self.system.contract, optional=(self.system.target,))
        self.many = ManyDecoder(self.system.contract, self.system.target)
        if self.task.has_series:
            self.series = Forecasts(self.system, self.home)

    def refresh(self) -> None:
        """Take up a new champion and newer forecasts. What cannot be read leaves what there is, and is told by
        ``/ready``."""
        try:
            self._champion()
            if self.beside.shadows:
                followers = self.home.ledger.shadows.followers(self.system.name)
                self.following = tuple(
                    follower for follower in followers if follower[0].model_version in self.beside.shadows
                )
            if self.series is not None:
                self.series.refresh()
        except (HeadraceError, OSError) as error:
            message = error.message if isinstance(error, HeadraceError) else str(error)
            if message != self.trouble:
                _log.warning("%s: %s", self.system.name, error)
            self.trouble = message
            return
        self.trouble = None
        if self.champion is None:
            self.trouble = f"there is no model; headrace run {self.system.name}"
        elif self.champion.predictor is None and not self.task.stateful:
            self.trouble = f"a task of the kind {self.task.kind} answers nothing that is posted"

    @property
    def refused(self) -> str | None:
        """Why whatever is posted would be refused; None: it would not."""
        return self.kept(self.system.name) or self.lost or (self.trouble if self.champion is None else None)

    @property
    def reason(self) -> str | None:
        """Why it cannot answer; None: it can. Rows are answered while the registry and the store are away, but not
        without the ledger."""
        if self.champion is None and self.trouble is None:
            return "is starting"
        return self.refused or (self.trouble if self.task.stateful else None)

    def _champion(self) -> None:
        now = datetime.now(UTC)
        timeline, present = self.home.registry.timeline(self.system.name), self.champion
        version, self.numbers = timeline.champion(), tuple(sorted(timeline.registered))
        self.lost = None if present is None else _lost(present.version, version)
        if self.lost is not None:
            raise ModelError(self.lost, where=self.system.name)
        if version is None:
            return
        if present is not None and present.version.version == version.version and (present.pinned or not self.logged):
            if present.lookups is not None:
                present.lookups.follow(now)
            champion = present
        else:
            champion = take_up(self.system, self.home, version, logged=self.logged)
        canary = self._canary(version.version, now)
        if champion is not present or canary is not present.canary:
            self.champion = replace(champion, canary=canary)

    def _canary(self, champion: int, now: datetime) -> Canary | None:
        """The canary beside a champion, none where it is the champion itself."""
        number = self.beside.canary
        if number in (None, champion):
            return None
        if self._taken is None:
            assert number is not None
            version = self.home.registry.get(self.system.name, number)
            found = take_up(self.system, self.home, version, logged=self.logged, more={ROLE: CANARY})
            self._taken = Canary(found, self.beside.share, f"{self.system.name}|{number}|".encode())
        elif self._taken.champion.lookups is not None:
            self._taken.champion.lookups.follow(now)
        return self._taken

    def about(self) -> dict[str, Any]:
        """The system as ``GET /v1/systems/{s}`` tells it. Reads the store: not for an event loop.

        Raises:
            StoreError: It cannot be read.
        """
        system, steps = self.system, self.system.model_dump(mode="json", include={"horizon", "step"})
        return {
            "name": system.name,
            "kind": self.task.kind,
            "keys": list(system.keys),
            "target": system.target,
            "horizon": steps["horizon"],
            "step": steps["step"],
            "contract": self.task.request_schema,
            "model_version": self.champion.version.version if self.champion else None,
            **self._told_beside(),
            "last_run": next(iter(runs.newest(self.home, system.name, 1)), None),
            "ready": self.reason is None,
            "reason": outward(self.reason or self.trouble or "") or None,
        }

    def _told_beside(self) -> dict[str, Any]:
        """What is said of the versions beside, where there are any."""
        columns: dict[str, Any] = {}
        if self.beside.shadows:
            states = {
                follower.model_version: {**follower._asdict(), "waiting": waiting}
                for follower, waiting in self.following
            }
            names = ("scored", "failed", "own", "waiting")
            columns["shadows"] = [
                {"model_version": number, **{name: states.get(number, {}).get(name) for name in names}}
                for number in self.beside.shadows
            ]
        if self.beside.canary is not None:
            columns["canary"] = {"model_version": self.beside.canary, "share": self.beside.share}
        return columns


def _lost(present: ModelVersion, champion: ModelVersion | None) -> str | None:
    """Why the model that answers must not any more: nobody could tell later what it was."""
    if champion is None:
        return f"the registry is gone, or another one: it does not know model version {present.version}"
    if champion.version == present.version and champion.digest != present.digest:
        return f"the registry is another one: its model version {present.version} is another model"
    return None
