"""The loss of a configuration of a system that forecasts: a backtest from origins of the past, as a training does it.

The last fifth of the history no trial sees: a configuration is fitted on what came before, and judged on the later part
of that by the fit's twin, which saw less. The final comparison forecasts from origins in the part that no trial saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotEnoughDataError
from headrace.features.arrays import History
from headrace.home import Home
from headrace.models.backtest import Backtest, Fit, backtest, scored_origins, since, until
from headrace.models.member import Frame
from headrace.system import System
from headrace.tasks.forecast.training import COMPARED, fitted_on, history_of, measured_on
from headrace.tasks.objective import BLOCKS, Objective, Report, UnseenLosses
from headrace.tasks.verdict import of_intermittent

PARTS = 5
"""One of so many parts of the history, the last, is never seen by a trial."""
LEAST = 4
"""It is so many horizons at least."""
TOLD = 4
"""A trial's backtest is told in so many parts. The fit comes before all of them, so there is little to save by ending
one: under five parts, a pruner does that only where it is asked for."""


class ForecastObjective(Objective):
    """See `Objective`.

    Args:
        system: The declaration.
        home: Where the facts are.
        as_of: What was known then is used, UTC.
        data_version: Logical version of the raw table.

    Raises:
        NotEnoughDataError: There is too little history.
    """

    folds = TOLD
    learnt = "steps"

    def __init__(self, system: System, home: Home, *, as_of: datetime, data_version: int) -> None:
        self._series, self._workers = home.series(system), home.workers
        self._history = history_of(system, home, self._series, as_of=as_of, data_version=data_version)
        length = self._history.length
        later = max(length // PARTS, LEAST * system.steps)
        self._cut = length - 1 - later
        if self._cut < LEAST * system.steps:
            message = f"a history of {length} steps is too short to keep {later} of them from the trials"
            raise NotEnoughDataError(message, where=system.name, hint=f"headrace ingest {system.name}")
        self.measure = COMPARED[0]
        self.seen = f"{self._cut + 1:,} steps of {self._history.series:,} series"

    def loss(self, system: System, report: Report) -> float:
        """What decides at the gate, of what the fit's twin would have served."""
        measured = measured_on(system, self._series, until(self._history, self._cut), workers=self._workers)
        parts, loss = list[Backtest](), float("nan")
        for number, part in enumerate(measured.served_in(TOLD)):
            parts.append(part)
            loss = Judged.of(measured.fit, Backtest.joined(parts)).loss(measured.history)
            report(number, loss)
        return loss

    def size(self, share: float = 1.0) -> int:
        """Steps of every series."""
        return max(round(share * (self._cut + 1)), 1)

    def unseen(self, system: System, share: float = 1.0) -> Judged:
        """From origins after the search's data, whose whole horizon is known; a share is the newest part of it."""
        history, cut = self._history, self._cut
        learnt = since(until(history, cut), cut + 1 - self.size(share))
        fit = fitted_on(system, self._series, learnt, workers=self._workers)
        origins = scored_origins(history, cut, history.length - 1, system.steps)
        return Judged.of(fit, backtest(fit.model.from_time(history.time(cut)), history, origins))

    def judged(self, parts: Sequence[Any]) -> UnseenLosses:
        """On forecasts; those of one time may depend on one another."""
        origins, places = np.unique(parts[0].done.origin, return_inverse=True)
        blocks = places * min(BLOCKS, origins.size) // origins.size

        def losses(kept: NDArray[np.bool_]) -> list[float]:
            return [part.loss(self._history, kept) for part in parts]

        return UnseenLosses.of(losses, blocks.astype(np.intp), self.measure, "forecasts")


@dataclass(frozen=True)
class Judged:
    """What a fit forecasts, and by what it is judged.

    Attributes:
        done: The forecasts beside what came true.
        frame: Target, step and seasons of the fit.
        coverage: Nominal coverage of its intervals.
    """

    done: Backtest
    frame: Frame
    coverage: float

    @classmethod
    def of(cls, fit: Fit, done: Backtest) -> Judged:
        """By what a fit is judged, of its forecasts."""
        return cls(done, fit.model.frame, fit.model.coverage)

    def loss(self, history: History, kept: NDArray[np.bool_] | None = None) -> float:
        """What decides at the gate, of all forecasts or of some; NaN where nothing can be told."""
        done = self.done if kept is None else self.done.only(kept)
        scores = done.scores() | of_intermittent(done, history, self.frame, self.coverage)
        known = [scores[name] for name in COMPARED if np.isfinite(scores.get(name, np.nan))]
        return float(known[0]) if known else float("nan")
