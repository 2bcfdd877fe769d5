"""What a model of series must do."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.errors import ModelError
from headrace.features.view import Features
from headrace.models.base import Model

if TYPE_CHECKING:
    from headrace.features.arrays import History
    from headrace.models.backtest import Fit, ForecastProblem
    from headrace.models.member import Frame


class SeriesModel(Model):
    """A model of series, over arrays of their histories.

    To bring a forecaster of your own, a `FrameForecaster` asks for less: a ``fit`` and a ``predict`` over a frame.
    """

    @abstractmethod
    def frame(self, target: str, step: timedelta) -> Frame:
        """The target with its step and seasons."""

    @abstractmethod
    def reach(self, features: Features, step: timedelta) -> timedelta:
        """How far back a history must go for a fit."""

    @abstractmethod
    def fit(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """Fit on all that is known at `origin` (a grid position), and measure on the newest part.

        Args:
            task: What to forecast.
            history: Series on one grid, NaN where nothing is known.
            origin: Nothing after it is looked at.
            workers: Cores; the result does not depend on it.

        Raises:
            NotEnoughDataError: No value is known.
        """

    def measure(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """The same without the fit that is kept, which costs half: `Fit.model` is the twin itself.

        What the twin says, and so every score, is that of `fit`. A model that does not say it fits both.

        Args:
            task, history, origin, workers: As `fit`.

        Raises:
            NotEnoughDataError: No value is known.
        """
        return self.fit(task, history, origin, workers=workers)

    def unlearnt(self, task: ForecastProblem, history: History, origin: int, reason: str) -> Fit:
        """A fit that learns nothing, and serves the baseline that was best so far: asked for where models fail.

        Args:
            task, history, origin: As `fit`.
            reason: Why, for people.

        Raises:
            ModelError: This kind of model has none to serve.
            NotEnoughDataError: No value is known.
        """
        raise ModelError(f"a {type(self).__name__} has no baseline to serve in its place", where="model")
