"""What a fitted model of series must do, and reading one from its files."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArtefactError
from headrace.models.base import MODELS

if TYPE_CHECKING:
    from headrace.features.arrays import History
    from headrace.models.feedback import Memory, Shape
    from headrace.models.forecast import Forecast
    from headrace.models.member import Frame

_READERS = {"forecaster": "headrace.models.forecast:ForecastModel", "frame": "headrace.models.frames:FrameModel"}
"""Who reads the files of which kind of fitted model."""


class FittedSeries(Protocol):
    """A fitted model of series: immutable, and it forecasts from a history alone."""

    @property
    def frame(self) -> Frame:
        """Target, step and seasons."""

    @property
    def horizon(self) -> int:
        """Steps ahead."""

    @property
    def coverage(self) -> float:
        """Nominal coverage of the intervals."""

    @property
    def taught(self) -> bool:
        """Whether anything was learnt; otherwise `baseline` is served, for the `reason`."""

    @property
    def baseline(self) -> str:
        """What is served to a series of which too little is known; see `models.short`."""

    @property
    def reason(self) -> str | None:
        """Why nothing was learnt."""

    @property
    def follows(self) -> bool:
        """Whether what came true since the fit changes forecasts."""

    @property
    def most_origins(self) -> int | None:
        """From so many past origins it is compared at most, as it is slow; None: from as many as is usual."""

    @property
    def lookback(self) -> timedelta:
        """How far before an origin its history must reach."""

    @property
    def checks(self) -> Shape:
        """Past forecasts that the next one goes by."""

    def from_time(self, since: datetime | None) -> Self:
        """The same model, fitted at another time as far as what it follows is concerned."""

    def forecast(
        self,
        history: History,
        series: NDArray[np.intp],
        origin: NDArray[np.intp],
        *,
        threads: int = 1,
        memory: Memory | None = None,
    ) -> Forecast:
        """Forecast series[i] from origin[i]; nothing of the target after an origin is looked at."""

    def save(self, folder: Path) -> None:
        """Write its files, of which ``model.json`` says the `kind`."""


def load_series(folder: Path) -> FittedSeries:
    """Read the fitted model of series that a folder holds.

    Raises:
        ArtefactError: A file is missing or damaged, or of a kind that nothing here reads.
    """
    try:
        kind = json.loads((folder / "model.json").read_text(encoding="utf-8"))["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error
    model: FittedSeries = _reader(str(kind), str(folder)).load(folder)
    return model


def _reader(kind: str, where: str) -> Any:
    """Who reads a kind: one of headrace's own, or what the model of an installed package says is its `fitted`."""
    if kind in _READERS:
        module, _, name = _READERS[kind].partition(":")
        return getattr(import_module(module), name)
    reader = getattr(MODELS.load(kind), "fitted", None)
    if reader is None:
        raise ArtefactError(f"is a {kind}, which nothing here reads", where=where, hint="install the package it is of")
    return reader
