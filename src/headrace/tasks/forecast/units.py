"""Values of series in units of each: a small series that shifts shows as well as a large one.

The unit is the standard deviation of what a version learnt from, and zero is its mean. They are kept among its
files, so that what it predicted held out, what it learnt from and what came since are all counted alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ArtefactError
from headrace.tasks.distributions import DAYS

if TYPE_CHECKING:
    import polars as pl

    from headrace.features.arrays import History

FILE = "series_units.parquet"
"""Among a version's files: the keys of each series, its ``:level`` and its ``:spread``."""
UNIT = "standard deviations of each series"
_LEVEL, _SPREAD = ":level", ":spread"


@dataclass(frozen=True)
class SeriesUnits:
    """The level and the spread of every series.

    Attributes:
        frame: Keys, ``:level`` and ``:spread``, in the target's own unit; NaN of a series without a value.
    """

    frame: pl.DataFrame

    @classmethod
    def of(cls, history: History, target: str) -> Self:
        """Of the newest `DAYS` days of a history. What never changed has its level, or 1, as its unit."""
        import polars as pl

        first = max(history.position(history.end - timedelta(days=DAYS)), 0)
        values = history.values[target][:, first:]
        known = np.isfinite(values)
        counts = known.sum(axis=1)
        none = np.full(counts.size, np.nan)
        level = np.divide(np.where(known, values, 0.0).sum(axis=1), counts, out=none.copy(), where=counts > 0)
        squares = np.where(known, (values - level[:, None]) ** 2, 0.0).sum(axis=1)
        spread = np.sqrt(np.divide(squares, counts, out=none.copy(), where=counts > 0))
        size = np.maximum(np.abs(level), 1e-300)
        spread = np.where(spread > 1e-9 * size, spread, np.maximum(size, 1.0))
        return cls(history.keys.with_columns(pl.Series(_LEVEL, level), pl.Series(_SPREAD, spread)))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` kept; None in a version of before it was.

        Raises:
            ArtefactError: The file is damaged.
        """
        import polars as pl

        path = folder / FILE
        if not path.exists():
            return None
        try:
            return cls(pl.read_parquet(path))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ArtefactError("units of series cannot be read", where=str(path), hint="train it anew") from error

    def save(self, folder: Path) -> None:
        """Keep them among a version's files."""
        self.frame.write_parquet(folder / FILE)

    def scaled(self, values: NDArray[np.float64], series: NDArray[np.intp]) -> NDArray[np.float64]:
        """Values of series by their rows in the history that the units were made of."""
        level, spread = (self.frame[name].to_numpy()[series] for name in (_LEVEL, _SPREAD))
        result: NDArray[np.float64] = (values - level) / spread
        return result

    def rescaled(self, frame: pl.DataFrame, name: str) -> pl.DataFrame:
        """A frame with a column in units of its series; rows of series that the version did not know are left out."""
        import polars as pl

        keys = [key for key in self.frame.columns if key not in (_LEVEL, _SPREAD)]
        units = self.frame.filter(pl.col(_LEVEL).is_finite())
        if keys:
            types: Mapping[Any, Any] = {key: frame.schema[key] for key in keys}
            joined = frame.join(units.cast(types), on=keys, how="inner", nulls_equal=True, maintain_order="left")
        else:
            joined = frame.join(units.head(1), how="cross")
        return joined.with_columns((pl.col(name) - pl.col(_LEVEL)) / pl.col(_SPREAD)).drop(_LEVEL, _SPREAD)
