"""The predictor: the only caller of a model, the same for every door.

It is made from a model's files alone. They say which columns it reads and which features it computes, so a prediction
can be repeated years later, whatever `system.py` says by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.declaration import format_duration, parse_duration
from headrace.errors import ArtefactError
from headrace.features.arrays import times_of
from headrace.features.matrix import every_example
from headrace.models.baselines import seasonal_naive
from headrace.models.forecast import Forecast, ForecastModel
from headrace.store.history import Seen, Series, newest, read_history

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from headrace.features.arrays import History
    from headrace.store import Table

SCHEMA_FILE = "series.json"


@dataclass(frozen=True)
class Schema:
    """What a model's files say about the data they were made from.

    Attributes:
        series: How the raw table holds series.
        baselines: Seasons of the seasonal-naive forecasts beside every prediction.
        keys: Every series that was there at the fit, as JSON texts: one that has gone silent is named, not forgotten.
    """

    series: Series
    baselines: tuple[timedelta, ...]
    keys: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write it beside the model's files."""
        s = self.series
        data: dict[str, Any] = {
            "keys": s.keys,
            "time": s.time,
            "step": format_duration(s.step),
            "columns": s.columns,
            "ahead": s.ahead,
            "baselines": [format_duration(b) for b in self.baselines],
            "series": self.keys,
        }
        (folder / SCHEMA_FILE).write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Schema:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is missing or damaged.
        """
        try:
            data = json.loads((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
            names = (tuple(data[name]) for name in ("columns", "ahead"))
            series = Series(tuple(data["keys"]), data["time"], parse_duration(data["step"]), *names)
            return cls(series, tuple(parse_duration(b) for b in data["baselines"]), tuple(data["series"]))
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder / SCHEMA_FILE)) from error


@dataclass(frozen=True)
class Outcome:
    """Predictions of one origin.

    Attributes:
        frame: Keys, time of the target, `ahead`, `value`, `lower`, `upper`, `baseline_*`; ordered by keys and time.
        skipped: Series without a prediction, each with its keys and the `reason`.
    """

    frame: pl.DataFrame
    skipped: list[dict[str, Any]]


class Predictor:
    """Predicts with one model version."""

    def __init__(self, folder: Path) -> None:
        self.model = ForecastModel.load(folder)
        self.schema = Schema.load(folder)

    def origin(self, raw: Table, seen: Seen) -> datetime:
        """The newest known event time, from which the next steps are forecast."""
        return newest(raw, self.schema.series, self.model.frame.target, seen)

    def history(self, raw: Table, seen: Seen, origin: datetime, only: Mapping[str, Any] | None = None) -> History:
        """As much history as the features need, of all series or of the one with the keys `only`."""
        ahead = self.schema.series.step * self.model.horizon
        return read_history(
            raw, self.schema.series, seen, origin=origin, span=self.model.lookback, ahead=ahead, only=only
        )

    def predict(self, history: History, origin: datetime, *, threads: int = 1) -> Outcome:
        """Forecast every series of a history from one origin.

        Args:
            history: From `history`.
            origin: A time of its grid, UTC.
            threads: For the boosters; the numbers do not depend on it.
        """
        position = np.array([history.position(origin)])
        forecast = self.model.forecast(history, position, threads=threads)
        columns = self._columns(history, origin, forecast)
        good = forecast.known[:, 0] >= forecast.needed
        return Outcome(self._frame(history, columns, good), self._skipped(history, forecast, good))

    def _columns(self, history: History, origin: datetime, forecast: Forecast) -> dict[str, NDArray[Any]]:
        """Arrays of shape (series, horizon)."""
        examples = every_example(np.arange(history.series), np.array([history.position(origin)]), self.model.horizon)
        shape = (history.series, self.model.horizon)
        columns = {
            "ahead": examples.ahead.reshape(shape),
            "position": examples.target.reshape(shape),
            "value": forecast.value[:, 0],
            "lower": forecast.lower[:, 0],
            "upper": forecast.upper[:, 0],
        }
        for season in self.schema.baselines:
            naive = seasonal_naive(history, self.model.frame.target, season, examples)
            columns[baseline_column(season)] = naive.reshape(shape)
        return columns

    def _frame(self, history: History, columns: dict[str, NDArray[Any]], good: NDArray[np.bool_]) -> pl.DataFrame:
        import polars as pl

        series = self.schema.series
        kept = {name: values[good].ravel() for name, values in columns.items()}
        times = times_of(history.start, history.step, kept.pop("position"))
        keys = history.keys.filter(pl.Series(good))
        rows = np.repeat(np.arange(keys.height), self.model.horizon)
        return pl.DataFrame(
            [
                *(keys[name].gather(rows) for name in series.keys),
                pl.Series(series.time, times).cast(pl.Datetime("us", "UTC")),
                *(pl.Series(name, values) for name, values in kept.items()),
            ]
        ).with_columns(pl.col("^(value|lower|upper|baseline_.*)$").fill_nan(None))

    def _skipped(self, history: History, forecast: Forecast, good: NDArray[np.bool_]) -> list[dict[str, Any]]:
        months = format_duration(self.model.frame.long * 4)
        skipped = []
        present = set()
        for row, fine, known in zip(history.keys.iter_rows(named=True), good, forecast.known[:, 0], strict=True):
            present.add(json.dumps(list(row.values()), default=str))
            if not fine:
                reason = f"{known} values in the last {months}, {forecast.needed} are needed"
                skipped.append(row | {"reason": reason})
        for key in self.schema.keys:
            if key not in present:
                row = dict(zip(self.schema.series.keys, json.loads(key), strict=True))
                skipped.append(row | {"reason": f"no value in the last {format_duration(self.model.lookback)}"})
        return skipped


def baseline_column(season: timedelta) -> str:
    """Name of the column that holds the seasonal-naive forecast of a season: ``baseline_1d``."""
    return f"baseline_{format_duration(season)}"


def key_texts(history: History) -> tuple[str, ...]:
    """Every series' keys as a JSON list, in the history's order."""
    return tuple(json.dumps(list(row), default=str) for row in history.keys.iter_rows())
