"""The predictor: the only caller of a model, the same for every door.

It is made from a model's files alone. They say which columns it reads and which features it computes, so a prediction
can be repeated years later, whatever `system.py` says by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.contract.aggregation import Aggregate
from headrace.declaration import format_duration, parse_duration
from headrace.errors import ArtefactError, other_version
from headrace.features.arrays import key_texts
from headrace.features.matrix import every_example
from headrace.grid import Grid
from headrace.models import intermittent
from headrace.models.baselines import reach, reference, seasonal_scale
from headrace.models.fitted import FittedSeries, load_series
from headrace.models.forecast import SERVED, Forecast, served_of
from headrace.models.glitches import cleaned
from headrace.models.short import said_by
from headrace.store.history import SeriesLayout
from headrace.store.snapshots import Snapshots, read_snapshots

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from headrace.store import Table

SCHEMA_FILE = "series.json"


@dataclass(frozen=True)
class Schema:
    """What a model's files say about the data they were made from.

    Attributes:
        series: How the raw table holds series.
        baselines: Seasons of the seasonal-naive forecasts beside every prediction; none at all is the last value's.
        keys: Every series that was there at the fit, as JSON texts: one that has gone silent is named, not forgotten.
    """

    series: SeriesLayout
    baselines: tuple[timedelta, ...]
    keys: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write it beside the model's files."""
        s = self.series
        data: dict[str, Any] = {
            "keys": s.keys,
            "time": s.time,
            "grid": s.grid.as_dict(),
            "columns": s.columns,
            "ahead": s.ahead,
            "aggregates": [{"kind": aggregate.kind, "empty": aggregate.empty} for aggregate in s.aggregates],
            "lag": format_duration(s.lag),
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
            columns, ahead = tuple(data["columns"]), tuple(data["ahead"])
            grid, lag = Grid.from_dict(data["grid"]), parse_duration(data["lag"])
            aggregates = tuple(Aggregate(**aggregate) for aggregate in data["aggregates"])
            series = SeriesLayout(tuple(data["keys"]), data["time"], grid, columns, ahead, aggregates, lag)
            return cls(series, tuple(parse_duration(b) for b in data["baselines"]), tuple(data["series"]))
        except KeyError as error:
            raise other_version(folder / SCHEMA_FILE, error) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            path = str(folder / SCHEMA_FILE)
            raise ArtefactError(f"cannot be read: {error}", where=path, hint="train again") from error


@dataclass(frozen=True)
class Outcome:
    """Predictions of one or many readers, each from its own origin.

    Attributes:
        frame: `reader`, keys, time of the target, `ahead`, `value`, `lower`, `upper`, `served`, `model_share`,
            `scale`, `baseline_*`; ordered by reader, keys and time.
        skipped: Per reader the series without a prediction, each with its keys and the `reason`.
        young: Per reader the series that are served a baseline, as too little is known of them for the model.
    """

    frame: pl.DataFrame
    skipped: list[list[dict[str, Any]]]
    young: list[list[dict[str, Any]]]


class Predictor:
    """Predicts with one fitted model."""

    def __init__(self, model: FittedSeries, schema: Schema) -> None:
        self.model, self.schema = model, schema

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """The predictor of a model's files.

        Raises:
            ArtefactError: A file is missing or damaged.
        """
        return cls(load_series(folder), Schema.load(folder))

    def snapshots(
        self,
        raw: Table,
        as_of: Sequence[datetime],
        version: int,
        *,
        only: Mapping[str, Any] | None = None,
        previous: Snapshots | None = None,
    ) -> Snapshots:
        """What the readers as of these times (ascending) saw, as far back as the features need.

        Args:
            raw: The facts.
            as_of: Ascending, UTC.
            version: Logical version of the facts.
            only: Key columns to values: no other series is read.
            previous: What the same readers have read already; it is returned if it reaches far enough.
        """
        series, frame = self.schema.series, self.model.frame
        span = max(self.model.lookback, *(reach(frame, season) for season in self.schema.baselines))
        ahead = series.grid.step * self.model.horizon
        if previous is not None and previous.reach(series, span, ahead):
            return previous
        return read_snapshots(raw, series, as_of, version, span=span, ahead=ahead, only=only)

    def predict(self, snapshots: Snapshots, *, threads: int = 1) -> Outcome:
        """Forecast every series from every reader's origin.

        Args:
            snapshots: From `snapshots`.
            threads: For the boosters; the numbers do not depend on it.
        """
        series, origin = snapshots.windows()
        forecast = self.model.forecast(snapshots.history, series, origin, threads=threads)
        good = forecast.known >= forecast.needed
        frame = self._frame(snapshots, forecast, good, np.flatnonzero(good))
        return Outcome(frame, self._skipped(snapshots, forecast, good), self._young(snapshots, forecast))

    def predict_some(self, snapshots: Snapshots, reader: NDArray[np.intp], series: NDArray[np.intp]) -> pl.DataFrame:
        """Forecast some series from some readers' origins: those (reader[i], series[i]), numbered as in `snapshots`.

        Returns `Outcome.frame` of those that can be forecast, in their order.
        """
        windows = reader * snapshots.keys.height + series
        of, origin = (window[windows] for window in snapshots.windows())
        forecast = self.model.forecast(snapshots.history, of, origin)
        good = forecast.known >= forecast.needed
        return self._frame(snapshots, forecast, good, windows[good])

    def _frame(
        self, snapshots: Snapshots, forecast: Forecast, good: NDArray[np.bool_], windows: NDArray[np.intp]
    ) -> pl.DataFrame:
        """The good ones of some forecasts; `windows` says which windows of the snapshots they are."""
        import polars as pl

        windows_of, origin = (window[windows] for window in snapshots.windows())
        horizon = self.model.horizon
        history, windows_of = cleaned(snapshots.history, self.model.frame, windows_of, origin)
        examples = every_example(windows_of, origin, horizon)
        baselines = {
            baseline_column(season): reference(history, self.model.frame, season, examples)
            for season in self.schema.baselines
        }
        scale = seasonal_scale(history, self.model.frame, windows_of, origin)
        sparse = forecast.sparse[good]
        if sparse.any():
            longer = history, self.model.frame, windows_of[sparse], origin[sparse]
            scale[sparse] = seasonal_scale(*longer, seasons=intermittent.SEASONS)
        reader, series = (np.repeat(index[windows], horizon) for index in _product(snapshots))
        times = history.times(examples.target)
        share = forecast.share[good].ravel()
        numbers = {name: getattr(forecast, name)[good].ravel() for name in ("value", "lower", "upper")}
        return pl.DataFrame(
            [
                pl.Series("reader", reader),
                *(snapshots.keys[name].gather(series) for name in self.schema.series.keys),
                pl.Series(self.schema.series.time, times).cast(pl.Datetime("us", "UTC")),
                pl.Series("ahead", examples.ahead),
                *(pl.Series(name, values, nan_to_null=True) for name, values in numbers.items()),
                pl.Series("served", np.array(SERVED)[served_of(share)]),
                pl.Series("model_share", share, nan_to_null=True),
                pl.Series("scale", np.repeat(scale, horizon), nan_to_null=True),
                *(pl.Series(name, values, nan_to_null=True) for name, values in baselines.items()),
            ]
        )

    def _young(self, snapshots: Snapshots, forecast: Forecast) -> list[list[dict[str, Any]]]:
        """Series with too few values for the members; none where there are no members at all."""
        young: list[list[dict[str, Any]]] = [[] for _ in range(snapshots.readers)]
        if self.model.taught:
            known = forecast.known.reshape(snapshots.readers, snapshots.keys.height)
            served = f"{said_by(self.model.frame, self.model.baseline)} is served until there are {forecast.enough}"
            for reader, series in zip(*np.nonzero((known >= forecast.needed) & (known < forecast.enough)), strict=True):
                count = int(known[reader, series])
                reason = f"{count} {'value is' if count == 1 else 'values are'} known, {served}"
                young[reader].append(snapshots.keys.row(int(series), named=True) | {"reason": reason})
        return young

    def _skipped(self, snapshots: Snapshots, forecast: Forecast, good: NDArray[np.bool_]) -> list[list[dict[str, Any]]]:
        """Series with too few values, and those that were there at the fit and are silent now."""
        shape = (snapshots.readers, snapshots.keys.height)
        known, good = forecast.known.reshape(shape), good.reshape(shape)
        texts = key_texts(snapshots.keys)
        names = self.schema.series.keys
        recent = format_duration(self.model.frame.long * 4)
        skipped: list[list[dict[str, Any]]] = [[] for _ in range(snapshots.readers)]
        for reader, series in zip(*np.nonzero(~good & (known > 0)), strict=True):
            reason = f"{known[reader, series]} values in the last {recent}, {forecast.needed} are needed"
            skipped[reader].append(snapshots.keys.row(int(series), named=True) | {"reason": reason})
        places = {text: series for series, text in enumerate(texts)}
        heard_series = set(np.flatnonzero(known.all(axis=0)).tolist())
        for text in self.schema.keys:
            if places.get(text) in heard_series:
                continue
            row = dict(zip(names, json.loads(text), strict=True)) | {"reason": f"no value in the last {recent}"}
            silent = known[:, places[text]] == 0 if text in places else np.ones(snapshots.readers, dtype=bool)
            for reader in np.flatnonzero(silent):
                skipped[reader].append(row)
        return skipped


def _product(snapshots: Snapshots) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Reader and series of every window."""
    series = snapshots.keys.height
    return np.repeat(np.arange(snapshots.readers), series), np.tile(np.arange(series), snapshots.readers)


def baseline_column(season: timedelta) -> str:
    """Name of the column that holds a seasonal-naive forecast: ``baseline_1d``, of no season ``baseline_last``."""
    return f"baseline_{format_duration(season)}" if season else "baseline_last"
