"""A fitted forecaster: what is saved, loaded and asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.declaration import format_duration, parse_duration
from headrace.errors import ArtefactError
from headrace.features.arrays import Array, Arrays, History, key_texts
from headrace.features.matrix import Examples, every_example, near
from headrace.features.view import Features
from headrace.lineage import iso
from headrace.models import intermittent, short
from headrace.models.booster import Booster
from headrace.models.feedback import Feedback, Memory, reach, remembered
from headrace.models.glitches import cleaned, margin
from headrace.models.limits import NONE, Limits
from headrace.models.member import Frame, Transform, View, count, lookback, reachable, spread

NEVER = np.iinfo(np.int64).max
KIND = "forecaster"
FORMAT = 1
CHUNK = 50_000
"""Examples per predict call at most: bounds the memory of a backfill. Calls are of one size, none a small rest."""


@dataclass(frozen=True)
class Forecast:
    """Predictions of n forecasts, one a (series, origin), each of shape (n, horizon).

    Attributes:
        value: Point forecasts in the target's unit; NaN where a series cannot be forecast.
        lower: Lower ends of the intervals.
        upper: Upper ends.
        known: Values known in the last four long seasons, shape (n,).
        needed: How many of them a forecast needs.
        enough: With fewer than so many a baseline is served in place of the model; all are fewer where there is none.
        sparse: Which are of intermittent series, served by their own mean and quantiles, shape (n,).
    """

    value: Array
    lower: Array
    upper: Array
    known: NDArray[np.int64]
    needed: int
    enough: int
    sparse: NDArray[np.bool_]


@dataclass(frozen=True)
class ForecastModel:
    """A fitted forecaster. Immutable, self-contained: it predicts from a history alone.

    Attributes:
        frame: Target, step and seasons.
        horizon: Steps ahead.
        features: The features that were learnt from, as declared.
        members: Transforms and boosters; the forecast is the mean of what those of a series' kind say.
        widths: Half widths of the intervals per step ahead, in units of the series' scale.
        persistent: Series, by their keys as JSON text, that follow their last value more than their season: members
            that hold speak for them, the others for all others; where there is only one kind, it speaks for all.
        factors: How much wider or narrower they are for a series, by its keys as JSON text; 1 for any other.
        interval: The intervals' nominal coverage.
        since: End of the fit, where intervals follow the misses after it; None where they do not.
        baseline: What is served without members, and to a series that is too young for them.
        reason: Why there are no members; None where there are.
        limits: What the target can be, as declared.
        sparse: Whether a series was intermittent at the fit: any that is so at an origin is then served as such.
        nonnegative: No value below zero was seen, so none is predicted.
    """

    frame: Frame
    horizon: int
    features: Features
    members: tuple[tuple[Transform, Booster], ...]
    widths: Array
    interval: float
    nonnegative: bool
    persistent: frozenset[str] = frozenset()
    factors: Mapping[str, float] = field(default_factory=dict)
    since: datetime | None = None
    baseline: str = short.SHORT
    reason: str | None = None
    limits: Limits = NONE
    sparse: bool = False

    def __post_init__(self) -> None:
        bound = tuple(self.frame.bound(self.features, transform) for transform, _ in self.members)
        object.__setattr__(self, "_bound", bound)

    @property
    def lookback(self) -> timedelta:
        """How far before an origin its history must reach for every feature to be exact."""
        before = max(self._before, intermittent.reach(self.frame)) if self.sparse else self._before
        steps = before + margin(self.frame) + (0 if self.since is None else reach(self.horizon))
        return self.frame.step * steps

    @property
    def _before(self) -> int:
        """How many steps up to an origin the features look at."""
        return -(-lookback(self.features, self.frame.short, self.frame.long) // self.frame.step)

    @property
    def checks(self) -> int:
        """How many past forecasts of a series the next one goes by: what a `Memory` has to hold of it."""
        return 0 if self.since is None else remembered(self.horizon)

    @property
    def needed(self) -> int:
        """Known values that a series needs for a forecast."""
        return 1

    @property
    def enough(self) -> int:
        """Known values that a series needs for the members to speak: one short season."""
        return self.frame.short // self.frame.step if self.members else NEVER

    def forecast(
        self,
        history: History,
        series: NDArray[np.intp],
        origin: NDArray[np.intp],
        *,
        threads: int = 1,
        memory: Memory | None = None,
    ) -> Forecast:
        """Forecast series[i] from origin[i]; nothing after an origin is looked at, but columns known ahead.

        Args:
            history: Must reach `lookback` before the first origin for exact features; missing values are NaN.
            series: Rows of the history.
            origin: Grid positions; one of either serves all of the other.
            threads: For the boosters; the result does not depend on it.
            memory: Past forecasts that were made already; the result does not depend on it.
        """
        series, origin = np.broadcast_arrays(series, origin)
        if self.since is None or not origin.size:
            value, half, known = self._say(history, series, origin, threads)
        else:
            value, half, known, factors = self._follow(history, series, origin, threads, memory)
            half = half * factors[:, None]
        lower, upper = value - half, value + half
        if self.nonnegative:
            value, lower, upper = (np.maximum(x, 0.0) for x in (value, lower, upper))
        sparse = np.zeros(origin.size, dtype=bool)
        if self.sparse and origin.size:
            asked = cleaned(history, self.frame, series, origin)
            own = intermittent.own(asked[0], self.frame, (asked[1], origin), self.horizon, self.interval)
            sparse[own.which] = True
            value[own.which], lower[own.which], upper[own.which] = own.value, own.lower, own.upper
        value, lower, upper = self.limits.applied(value, lower, upper, sparse)
        return Forecast(value, lower, upper, known[:, 0].astype(np.int64), self.needed, self.enough, sparse)

    def _follow(
        self,
        history: History,
        series: NDArray[np.intp],
        origin: NDArray[np.intp],
        threads: int,
        memory: Memory | None,
    ) -> tuple[Array, Array, Array, Array]:
        """As `_say`, and by how much the misses after the fit widen each forecast's intervals, shape (n,)."""
        assert self.since is not None
        feedback = Feedback(
            *(history, self.frame.target, (series, origin)),
            horizon=self.horizon,
            interval=self.interval,
            since=self.since,
            memory=memory,
        )
        every, positions = (np.concatenate(pair) for pair in zip((series, origin), feedback.missing, strict=True))
        value, half, known = self._say(history, every, positions, threads)
        factors = feedback.factors(np.maximum(value, 0.0) if self.nonnegative else value, half)
        n = origin.size
        return value[:n], half[:n], known[:n], factors

    def widened(self, history: History, origin: int) -> Array:
        """By how much the misses after the fit widen every series' intervals at an origin, shape (series,)."""
        series = np.arange(history.series)
        return self._follow(history, series, np.full(series.size, origin), 1, None)[3]

    def _say(
        self, history: History, series: NDArray[np.intp], origin: NDArray[np.intp], threads: int
    ) -> tuple[Array, Array, Array]:
        """Values, half widths and how much is known, each of shape (n, horizon)."""
        history, series = cleaned(history, self.frame, series, origin)
        examples = every_example(series, origin, self.horizon)
        # Neighbours in time fall into the same leaves: in this order a booster predicts a third faster.
        order = np.lexsort((examples.origin, examples.target, examples.series))
        chunks = (examples[some] for some in np.array_split(order, -(-order.size // CHUNK) or 1))
        parts = [self._some(*near(history, chunk, self._before), threads) for chunk in chunks]
        columns = [np.empty(order.size) for _ in parts[0]]
        for column, pieces in zip(columns, zip(*parts, strict=True), strict=True):
            column[order] = np.concatenate(pieces)
        value, half, known, most = (column.reshape(-1, self.horizon) for column in columns)
        half *= self._factors(history)[examples.series].reshape(half.shape)
        return value, np.minimum(half, most), known

    def _factors(self, history: History) -> Array:
        """One factor per row of the history."""
        if not self.factors:
            return np.ones(history.series)
        return np.array([self.factors.get(text, 1.0) for text in key_texts(history.keys)])

    def _persistent(self, history: History) -> NDArray[np.bool_]:
        """Whether holding members speak, per row of the history."""
        kinds = {transform.holds for transform, _ in self.members}
        if len(kinds) == 1:
            return np.full(history.series, kinds.pop())
        return np.array([text in self.persistent for text in key_texts(history.keys)])

    def _some(self, history: History, examples: Examples, threads: int) -> tuple[Array, Array, Array, Array]:
        """Values, half widths before any factor, how much is known, and how wide a half width may be at most."""
        total, votes = np.zeros(len(examples)), np.zeros(len(examples))
        bound: tuple[Features, ...] = self._bound  # type: ignore[attr-defined]
        holding, arrays = self._persistent(history)[examples.series], Arrays(history)
        for (transform, booster), features in zip(self.members, bound, strict=True):
            own = np.flatnonzero(holding == transform.holds)
            view = View(transform, self.frame, history, examples[own], arrays)
            said = view.restore(booster.predict(view.matrix(features), threads=threads))
            heard = np.isfinite(said)  # a series that falls to zero has no logarithm: the other member speaks alone
            total[own] += np.where(heard, said, 0.0)
            votes[own] += heard
        known = count(self.frame, history, examples, arrays)
        with np.errstate(invalid="ignore"):
            value = np.where(known >= self.enough, total / votes, np.nan)
        young = np.flatnonzero(known < self.enough)
        value[young] = short.fallback(history, self.frame, examples[young], self.baseline)
        least, largest = reachable(self.frame, history, examples, arrays)
        half = self.widths[examples.ahead - 1] * spread(self.frame, history, examples, arrays)
        most = np.where(largest > least, largest - least, np.inf)
        return np.clip(value, least, largest), half, known, most

    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder: the same model gives the same bytes."""
        manifest: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "target": self.frame.target,
            "step": format_duration(self.frame.step),
            "seasons": [format_duration(self.frame.short), format_duration(self.frame.long)],
            "horizon": self.horizon,
            "features": self.features.as_list(),
            "members": [{"log": t.log, "anchor": t.anchor} for t, _ in self.members],
            "digests": [booster.digest for _, booster in self.members],
            "widths": self.widths.tolist(),
            "interval": self.interval,
            "nonnegative": self.nonnegative,
            "persistent": sorted(self.persistent),
            "factors": dict(self.factors),
            "since": None if self.since is None else iso(self.since),
            "baseline": self.baseline,
            "reason": self.reason,
            "limits": self.limits.as_dict(),
            "sparse": self.sparse,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True).replace("NaN", "null")
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
        for i, (_, booster) in enumerate(self.members):
            (folder / f"member_{i}.txt").write_bytes(booster.text)

    @classmethod
    def load(cls, folder: Path) -> ForecastModel:
        """Read a model that `save` wrote.

        Raises:
            ArtefactError: A file is missing, damaged, or of a newer format.
        """
        try:
            data = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            texts = [(folder / f"member_{i}.txt").read_bytes() for i in range(len(data["members"]))]
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error
        if data["kind"] != KIND or data["format"] > FORMAT:
            raise ArtefactError(
                f"is a {data['kind']} of format {data['format']}", where=str(folder), hint="upgrade headrace"
            )
        seasons = (parse_duration(s) for s in data["seasons"])
        digests = data.get("digests", [None] * len(texts))
        boosters = [Booster.from_text(text, known=digest) for text, digest in zip(texts, digests, strict=True)]
        return cls(
            frame=Frame(data["target"], parse_duration(data["step"]), *seasons),
            horizon=data["horizon"],
            features=Features.from_list(data["features"]),
            members=tuple((Transform(**t), booster) for t, booster in zip(data["members"], boosters, strict=True)),
            widths=np.array([np.nan if w is None else w for w in data["widths"]]),
            interval=data["interval"],
            nonnegative=data["nonnegative"],
            persistent=frozenset(data.get("persistent", ())),
            factors=data.get("factors", {}),
            since=datetime.fromisoformat(data["since"]) if data.get("since") else None,
            baseline=data["baseline"],
            reason=data["reason"],
            limits=Limits(**data["limits"]),
            sparse=data["sparse"],
        )
