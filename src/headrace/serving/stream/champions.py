"""Which model answers: the champion now, and a look for a new one from time to time, beside the loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.errors import HeadraceError, NotFoundError
from headrace.home import Home
from headrace.lineage import Pins, code_revision
from headrace.pipelines.row_champion import taken_up
from headrace.predictor import Predictor, Schema
from headrace.registry import ModelVersion
from headrace.serving.stream.engine import Champion
from headrace.serving.stream.rows import RowChampion
from headrace.system import System

_LOOK = 30.0
"""Seconds between two looks for versions that are not the champion."""


def answering(system: System, home: Home, now: datetime) -> Champion | RowChampion:
    """The champion of a system of either kind, ready to predict.

    Raises:
        NotFoundError: There is none, or a feature group that it looks up is not online.
        ModelError: It was trained with another contract.
        ArtefactError: Its files are damaged.
        OnlineUnavailableError: The online side of its feature groups is away.
    """
    if system.forecasts:
        return champion(system, home, now)
    version = _version(system, home)
    predictor, lookups = taken_up(system, home, version, now)
    return RowChampion(predictor, _pins(system, version, now), lookups or None)


def champion(system: System, home: Home, now: datetime) -> Champion:
    """The champion of a system that forecasts; `now` is only written down.

    Raises:
        NotFoundError: There is none.
        ArtefactError: Its files are damaged.
    """
    version = _version(system, home)
    others = _Others(system, home, version.version)
    return Champion(Predictor.load(home.registry.fetch(version)), _pins(system, version, now), others)


def _version(system: System, home: Home) -> ModelVersion:
    version = home.registry.champion(system.name)
    if version is None:
        raise NotFoundError("there is no model yet", where=system.name, hint=f"headrace run {system.name}")
    return version


def _pins(system: System, version: ModelVersion, now: datetime) -> Pins:
    return Pins(
        as_of=now,
        data_version=0,
        feature_version=str(version.pins["feature_version"]),
        model_version=version.version,
        model_digest=version.digest,
        config_digest=str(version.pins["config_digest"]),
        code_revision=code_revision(system.folder),
    )


class _Others:
    """Which newer version knows a series that the champion does not know."""

    def __init__(self, system: System, home: Home, champion: int) -> None:
        self._system, self._home, self._champion = system, home, champion
        self._looked = -_LOOK
        self._newer: dict[int, frozenset[str]] = {}

    def __call__(self, series: str) -> int | None:
        """The newest version, or None; versions that came since are looked for now and then."""
        if time.monotonic() - self._looked >= _LOOK:
            self._looked = time.monotonic()
            try:
                for each in self._home.registry.versions(self._system.name):
                    if each.version > self._champion and each.version not in self._newer:
                        known = Schema.load(self._home.registry.fetch(each)).keys
                        self._newer[each.version] = frozenset(known)
            except (HeadraceError, OSError):  # it is only to explain a letter, which is sent in any case
                return None
        return max((version for version, known in self._newer.items() if series in known), default=None)


class Watch:
    """Looks for a new champion every few seconds, in a thread of its own, and keeps its look-ups current.

    Args:
        system: The declaration.
        home: Where the registry is.
        first: The champion that answers already.
        every: Seconds between two looks.
        failed: Told when a look failed; the present champion goes on.
    """

    def __init__(
        self,
        system: System,
        home: Home,
        first: Champion | RowChampion,
        every: float,
        failed: Callable[[Exception], None],
    ) -> None:
        self._system, self._home, self._every, self._failed = system, home, every, failed
        self._present = first
        self._found: queue.SimpleQueue[Champion | RowChampion] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="champions", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def taken(self) -> Champion | RowChampion | None:
        """A champion that is new since the last call, or None."""
        try:
            return self._found.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _look(self) -> None:
        while not self._stop.wait(self._every):
            try:
                version, now = self._home.registry.champion(self._system.name), datetime.now(UTC)
                if version is not None and version.version != self._present.pins.model_version:
                    self._present = answering(self._system, self._home, now)
                    self._found.put(self._present)
                elif isinstance(self._present, RowChampion) and self._present.lookups is not None:
                    self._present.lookups.follow(now)
            except (HeadraceError, OSError) as error:
                self._failed(error)
