"""What a model must do. One file per kind of model; each imports its library where it is used."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.declaration import Declared
from headrace.features.view import Features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.features.arrays import History


class Model(Declared):
    """Base of the declared models: settings only. What was fitted lives in an artefact."""

    def check(self, *, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that this model cannot serve. Called when the system is loaded.

        Raises:
            DeclarationError: Names the field.
        """

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before a forecast's origin a model of this kind looks, so that one reading serves all who look."""
        return features.lookback

    def cleaned(
        self, history: History, target: str, series: NDArray[np.intp], origin: NDArray[np.intp]
    ) -> tuple[History, NDArray[np.intp]]:
        """What the forecasts (series[i], origin[i]) read of a history, and the row of it that each reads."""
        return history, series
