"""Which model answers: the champion now, and a look for a new one from time to time, beside the loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.errors import HeadraceError, ModelError, NotFoundError
from headrace.home import Home
from headrace.lineage import SHADOW, Pins
from headrace.registry import ModelVersion
from headrace.serving.engine.engine import AnsweringModel
from headrace.serving.stream.rows import RowChampion
from headrace.store.history import SeriesLayout
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.forecast.predictor import Predictor, Schema
from headrace.tasks.rows.champion import taken_up

_LOOK = 30.0
"""Seconds between two looks for versions that are not the champion."""
_MISSING = 3
"""Looks in a row that do not find a version after which it is gone."""


def answering(system: System, home: Home, now: datetime, version: int | None = None) -> AnsweringModel | RowChampion:
    """The champion of a system of either kind, or another `version`, ready to predict.

    Raises:
        NotFoundError: There is none, or a feature group that it looks up is not online.
        ModelError: It was trained with another contract, such as for another target.
        ArtefactError: Its files are damaged.
        OnlineUnavailableError: The online side of its feature groups is away.
    """
    if task_of(system).stateful:
        return champion(system, home, now, version)
    chosen = _version(system, home, version)
    predictor, lookups = taken_up(system, home, chosen, now)
    return RowChampion(predictor, Pins.of(chosen, now, system.folder, 0), lookups or None, _role(version))


def champion(system: System, home: Home, now: datetime, version: int | None = None) -> AnsweringModel:
    """The champion of a system that forecasts, or another `version`; `now` is only written down.

    Raises:
        NotFoundError: There is none.
        ModelError: It was trained with another declaration, and cannot answer these events.
        ArtefactError: Its files are damaged.
    """
    chosen = _version(system, home, version)
    predictor = Predictor.load(home.registry.fetch(chosen))
    _refuse_other(predictor.schema.series, home.series(system), system.name, chosen.version)
    rest = _Others(system, home, chosen.version)
    return AnsweringModel(predictor, Pins.of(chosen, now, system.folder, 0), rest, _role(version))


def _role(version: int | None) -> str | None:
    return None if version is None else SHADOW


def _version(system: System, home: Home, version: int | None) -> ModelVersion:
    if version is not None:
        return home.registry.get(system.name, version)
    champion = home.registry.champion(system.name)
    if champion is None:
        raise NotFoundError("there is no model yet", where=system.name, hint=f"headrace run {system.name}")
    return champion


def _refuse_other(of_model: SeriesLayout, declared: SeriesLayout, system: str, version: int) -> None:
    """Refuse a model that forecasts something else than events tell of."""
    target, column = of_model.columns[0], declared.columns[0]
    pairs = {
        "target": (target, column),
        "keys": (of_model.keys, declared.keys),
        "time": (of_model.time, declared.time),
        "step": (of_model.grid.step, declared.grid.step),
        "aggregates": (of_model.aggregates[:1], declared.aggregates[:1]),
    }
    other = [
        f"{name} {theirs_text} there, {expected} here"
        for name, (theirs_text, expected) in pairs.items()
        if theirs_text != expected
    ]
    other += [f"no column {name} here" for name in of_model.columns if name not in declared.columns]
    if other:
        text = f"version {version} was trained with another declaration: {'; '.join(other)}"
        raise ModelError(text, where=system, hint=f"train again: headrace train {system}")


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
                for item in self._home.registry.versions(self._system.name):
                    if item.version > self._champion and item.version not in self._newer:
                        known = Schema.load(self._home.registry.fetch(item)).keys
                        self._newer[item.version] = frozenset(known)
            except (HeadraceError, OSError):  # it is only to explain a letter, which is sent in any case
                return None
        return max((version for version, known in self._newer.items() if series in known), default=None)


class Watch:
    """Looks for a new champion every few seconds, in a thread of its own, and keeps its look-ups current.

    A version that scores beside stays; it is looked at whether it is still there.

    Args:
        system: The declaration.
        home: Where the registry is.
        first: The champion that answers already.
        every: Seconds between two looks.
        failed: Told when a look failed; the present champion goes on.
        version: The version that scores beside; None: it is the champion that answers.
    """

    def __init__(
        self,
        system: System,
        home: Home,
        first: AnsweringModel | RowChampion,
        every: float,
        failed: Callable[[Exception], None],
        version: int | None = None,
    ) -> None:
        self._system, self._home, self._every, self._failed = system, home, every, failed
        self._present, self._version, self._missing = first, version, 0
        self._found: queue.SimpleQueue[AnsweringModel | RowChampion | NotFoundError] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="champions", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def taken(self) -> AnsweringModel | RowChampion | None:
        """A champion that is new since the last call, or None.

        Raises:
            NotFoundError: The version that scores beside is not there any more.
        """
        try:
            model = self._found.get_nowait()
        except queue.Empty:
            return None
        if isinstance(model, NotFoundError):
            raise model
        return model

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _look(self) -> None:
        while not self._stop.wait(self._every):
            try:
                now = datetime.now(UTC)
                if self._changed():
                    self._present = answering(self._system, self._home, now)
                    self._found.put(self._present)
                elif isinstance(self._present, RowChampion) and self._present.lookups is not None:
                    self._present.lookups.follow(now)
            except (HeadraceError, OSError) as error:
                self._failed(error)

    def _changed(self) -> bool:
        """Whether another version is to answer."""
        registry, name = self._home.registry, self._system.name
        if self._version is None:
            version = registry.champion(name)
            return version is not None and version.version != self._present.pins.model_version
        try:
            registry.get(name, self._version)
        except NotFoundError as error:
            self._missing += 1
            if self._missing == _MISSING:  # a store that is being put back may lack it for a moment
                self._found.put(error)
            raise
        self._missing = 0
        return False
