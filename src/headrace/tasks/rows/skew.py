"""Whether features were served as training computes them: those that were logged beside what is computed now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, UsageError
from headrace.home import PREDICTIONS, Home
from headrace.identity import decoded, features_of
from headrace.system import System
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    import polars as pl

PART = 5_000
"""Predictions that are in memory at once."""


@dataclass
class FeatureSkew:
    """One feature of all predictions that were logged with it.

    Attributes:
        feature: Its name.
        rows: How many.
        differing: In how many of them it is not the same to the last bit.
        largest: The largest difference of two numbers; None where there is none.
        example: The first prediction in which it differs: ``id served recomputed``.
    """

    feature: str
    rows: int = 0
    differing: int = 0
    largest: float | None = None
    example: dict[str, Any] | None = None

    def add(self, prediction: str, served: Any, recomputed: Any) -> bool:
        """Note one prediction; whether it differs."""
        self.rows += 1
        if served == recomputed:
            return False
        self.differing += 1
        self.example = self.example or {"id": prediction, "served": served, "recomputed": recomputed}
        if isinstance(served, int | float) and isinstance(recomputed, int | float):
            self.largest = max(self.largest or 0.0, abs(served - recomputed))
        return True


@dataclass
class Skew:
    """What became of all predictions that were logged with their features.

    Attributes:
        system: Its name.
        rows: How many there are.
        differing: In how many of them any feature differs.
        features: Each feature, those that differ most first.
    """

    system: str
    rows: int = 0
    differing: int = 0
    features: list[FeatureSkew] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``system rows differing features[{feature rows differing largest example}]``."""
        return asdict(self)


def skew(
    system: System,
    home: Home,
    *,
    start: datetime | None = None,
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None,
) -> Skew:
    """Compute the features of every prediction again that was logged with them, as training would have them.

    What a row was told of stored features is forgotten: it is read from the tables, as it was known when the row was
    asked for. Each prediction is computed by the features of the version that answered it.

    Args:
        system: The declaration.
        home: Where the predictions are; what is only logged so far is not seen.
        start: No prediction is earlier, UTC.
        on_progress: Told how far it is.

    Raises:
        UsageError: The system does not score rows.
        NotFoundError: No prediction was logged with its features, or a version is gone.
        StoreError: A table cannot be read.
    """
    if system.forecasts:
        raise UsageError("only features of rows are logged", where=system.name)
    done, by_name = Skew(system.name), dict[str, FeatureSkew]()
    models: dict[int, _PastFeatures] = {}
    for rows in _logged(system, home, start):
        for version in sorted(rows["model_version"].unique()):
            model = models.get(version) or models.setdefault(version, _PastFeatures(system, home, version))
            _compare(done, by_name, rows.filter(rows["model_version"] == version), model)
        on_progress("skew", done.rows, done.rows)
    if not done.rows:
        hint = "declare log_features=True, or serve with --set log_features=true; then headrace export"
        raise NotFoundError("no prediction was logged with its features", where=system.name, hint=hint)
    done.features = sorted(by_name.values(), key=lambda feature: (-feature.differing, feature.feature))
    return done


def _compare(skew: Skew, by_name: dict[str, FeatureSkew], rows: pl.DataFrame, model: _PastFeatures) -> None:
    inputs: list[str] = rows["inputs"].to_list()
    recomputed = model.of(inputs, rows["created_at"].to_list())
    for name, text, values in zip(rows["id"], inputs, recomputed, strict=True):
        served = features_of(text) or {}
        skew.rows += 1
        rows_told = [
            by_name.setdefault(fromkey, FeatureSkew(fromkey)).add(name, served.get(fromkey), values.get(fromkey))
            for fromkey in dict.fromkeys([*model.names, *served])
        ]
        skew.differing += any(rows_told)


def _logged(system: System, home: Home, start: datetime | None) -> Iterator[pl.DataFrame]:
    """The predictions that were logged with their features, in parts."""
    import polars as pl

    table = home.table(system.name, PREDICTIONS)
    if not table.exists():
        return
    condition = pl.col("inputs").str.contains('"_features":', literal=True)
    if start is not None:
        condition &= pl.col("created_at") >= pl.lit(start, pl.Datetime("us", "UTC"))
    lazy = table.scan().filter(condition).select("id", "inputs", "created_at", "model_version")
    ids = table.collect(lazy.select("id"))["id"].sort()
    for begin in range(0, len(ids), PART):
        part = ids[begin : begin + PART]
        yield table.collect(lazy.filter(pl.col("id").is_between(pl.lit(part[0]), pl.lit(part[-1])))).sort("id")


class _PastFeatures:
    """The features of one version, for rows of the past."""

    def __init__(self, system: System, home: Home, number: int) -> None:
        self._predictor = RowPredictor.load(home.registry.fetch(home.registry.get(system.name, number)))
        model = self._predictor.model
        self.names, self._lookups = model.features.names, Lookups.of(model.features, system, home)
        contract = {column.name: column.type for column in system.contract.columns if column.name != system.target}
        self._types: Mapping[str, str] = {**contract, **model.types}

    def of(self, inputs: Sequence[str], asked: Sequence[datetime]) -> list[dict[str, Any]]:
        rows = [decoded(text, self._types) for text in inputs]
        if self._lookups:
            for row in rows:
                row.update(dict.fromkeys(self._lookups.types))
            self._lookups.fill_past(rows, asked)
        return self._predictor.features({name: [row[name] for row in rows] for name in self._types})
