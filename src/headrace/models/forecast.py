"""A fitted forecaster: what is saved, loaded and asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.declaration import format_duration, parse_duration
from headrace.errors import ArtefactError, other_version
from headrace.features.arrays import Array, Arrays, History, key_texts
from headrace.features.matrix import Examples, every_example, near
from headrace.features.view import Features
from headrace.lineage import iso
from headrace.models import intermittent, levels, short
from headrace.models.baselines import last_value, mean_value, seasonal_naive
from headrace.models.booster import Booster
from headrace.models.feedback import Feedback, Memory, Shape, reach, shape_of
from headrace.models.glitches import Glitches, margin
from headrace.models.limits import NONE, Limits
from headrace.models.member import Frame, Transform, View, count, lookback, reachable, spread
from headrace.models.weights import Rule

if TYPE_CHECKING:
    from headrace.models.regressor_member import RegressorMember

NEVER = np.iinfo(np.int64).max
KIND = "forecaster"
FORMAT = 2
LOSSES = "losses.npy"
CHUNK = 50_000
"""Examples per predict call at most: bounds the memory of a backfill. Calls are of one size, none a small rest."""


@dataclass(frozen=True)
class Forecast:
    """Predictions of n forecasts, one a (series, origin), each of shape (n, horizon).

    Attributes:
        value: Point forecasts in the target's unit; NaN where a series cannot be forecast.
        lower: Lower ends of the intervals.
        upper: Upper ends.
        candidates: What everyone said who was listened to, shape (n, candidates, horizon).
        share: How much of each value the model's members have said; forecasts without a model said the rest.
        known: Values known in the last four long seasons, shape (n,).
        needed: How many of them a forecast needs.
        enough: With fewer than so many a baseline is served in place of the model; all are fewer where there is none.
        sparse: Which are of intermittent series, served by their own mean and quantiles, shape (n,).
        weights: Of the candidates by bucket, shape (n, candidates, buckets); see `Rule.mixed`. None where nothing is
            mixed.
        glitch: Whether the value at each origin is a glitch, shape (n,); None: of none.
    """

    value: Array
    lower: Array
    upper: Array
    candidates: Array
    share: Array
    known: NDArray[np.int64]
    needed: int
    enough: int
    sparse: NDArray[np.bool_]
    weights: Array | None = None
    glitch: NDArray[np.bool_] | None = None


MEMBERS = 2
"""How many members speak for a series, whatever its kind has: a model and its twin, which saw less, weigh the same."""
MODEL, MIX, BASELINE = SERVED = ("model", "mix", "baseline")
"""What a forecast is: mostly of the model, mostly of forecasts that need none, or of both."""
MOSTLY = 0.9


def served_of(share: Array) -> NDArray[np.intp]:
    """Which of `SERVED` forecasts are, by the members' share of them."""
    return np.where(share >= MOSTLY, 0, np.where(share <= 1 - MOSTLY, 2, 1))


@dataclass(frozen=True)
class ForecastModel:
    """A fitted forecaster. Immutable, self-contained: it predicts from a history alone.

    Attributes:
        frame: Target, step and seasons.
        horizon: Steps ahead.
        features: The features that were learnt from, as declared.
        members: Transforms and what was fitted. Those of a series' kind speak for it, beside forecasts without a model.
        widths: Half widths of the intervals per step ahead, in units of the series' scale.
        persistent: Series, by their keys as JSON text, that follow their last value more than their season: members
            that hold speak for them, the others for all others; where there is only one kind, it speaks for all.
        factors: How much wider or narrower they are for a series, by its keys as JSON text; 1 for any other.
        coverage: The intervals' nominal coverage.
        since: End of the fit. Errors after it say whom to listen to and how wide intervals are; None: the members'
            mean is the forecast, and widths are fixed.
        baseline: What is served without members, and to a series that is too young for them.
        reason: Why there are no members; None where there are.
        limits: What the target can be, as declared.
        sparse: Whether a series was intermittent at the fit: any that is so at an origin is then served as such.
        clear: How clear a step of level must be for values from before it to be read as if on the new one; infinity
            where none is clear enough. See `models.levels`.
        jumps: How far the last value was off on the time held back, as a share, per step ahead: half widths of series
            that are too young for the members are at least this share of what is served, less the more is known.
        losses: What the weights begin with: first of an average series, then of those in `factors`, by their sorted
            names. Shape (series + 1, candidates, buckets); see `Rule.weights`.
        nonnegative: No value below zero was seen, so none is predicted.
    """

    frame: Frame
    horizon: int
    features: Features
    members: tuple[tuple[Transform, Booster | RegressorMember], ...]
    widths: Array
    coverage: float
    nonnegative: bool
    persistent: frozenset[str] = frozenset()
    factors: Mapping[str, float] = field(default_factory=dict)
    since: datetime | None = None
    baseline: str = short.SHORT
    reason: str | None = None
    limits: Limits = NONE
    sparse: bool = False
    clear: float = 1.0
    jumps: Array | None = None
    losses: Array | None = None

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
    def bound(self) -> tuple[Features, ...]:
        """The features as each member reads them."""
        bound: tuple[Features, ...] = self._bound  # type: ignore[attr-defined]
        return bound

    @property
    def _before(self) -> int:
        """How many steps up to an origin the features look at."""
        return -(-lookback(self.features, self.frame.short, self.frame.long) // self.frame.step)

    @cached_property
    def rule(self) -> Rule:
        """Whom to listen to."""
        naive = 3 if self.frame.short == self.frame.long else 4
        return Rule(self.horizon, self.coverage, MEMBERS, naive)

    @property
    def checks(self) -> Shape:
        """Past forecasts of a series that the next one goes by: what a `Memory` has to hold of it."""
        return Shape(0, 0, self.horizon, 0) if self.since is None else shape_of(self.rule)

    @property
    def taught(self) -> bool:
        """Whether anything was learnt; otherwise the baseline is served."""
        return bool(self.members)

    @property
    def follows(self) -> bool:
        """Whether what came true since the fit changes forecasts."""
        return self.taught

    @property
    def most_origins(self) -> int | None:
        """It is quick: as many as is usual."""
        return None

    def from_time(self, since: datetime | None) -> ForecastModel:
        """The same model, that goes by what came true since then; None: by nothing."""
        return replace(self, since=since)

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
        """Forecast series[i] from origin[i]; nothing after an origin is looked at, but columns known in advance.

        Args:
            history: Must reach `lookback` before the first origin for exact features; missing values are NaN.
            series: Rows of the history.
            origin: Grid positions; one of either serves all of the other.
            threads: For the boosters; the result does not depend on it.
            memory: Past forecasts that were made already; the result does not depend on it.
        """
        series, origin = np.broadcast_arrays(series, origin)
        glitches = Glitches(history, self.frame)
        if self.since is None or not origin.size:
            values, half, most, known = self._say(glitches, series, origin, threads)
            weights = self._alone(origin.size)
        else:
            values, weights, half, most, known = self._follow(glitches, series, origin, threads, memory)
        value, share = self.rule.mixed(weights, values)
        young = known[:, :1] < self.enough
        value, share = np.where(young, values[:, 0], value), np.where(young, 0.0, share)
        half = np.minimum(half, most)
        lower, upper = value - half, value + half
        if self.nonnegative:
            lower, upper = np.maximum(lower, 0.0), np.maximum(upper, 0.0)
        sparse = np.zeros(origin.size, dtype=bool)
        if self.sparse and origin.size:
            cleaned = glitches.cleaned(series, origin)
            own = intermittent.own(cleaned[0], self.frame, (cleaned[1], origin), self.horizon, self.coverage)
            sparse[own.which], share[own.which] = True, 0.0
            value[own.which], lower[own.which], upper[own.which] = own.value, own.lower, own.upper
        value, lower, upper = self.limits.applied(value, lower, upper, sparse)
        enough = known[:, 0].astype(np.int64), self.needed, self.enough
        return Forecast(value, lower, upper, values, share, *enough, sparse, weights, glitches.at(series, origin))

    def _follow(
        self,
        glitches: Glitches,
        series: NDArray[np.intp],
        origin: NDArray[np.intp],
        threads: int,
        memory: Memory | None,
    ) -> tuple[Array, Array, Array, Array, Array]:
        """As `_say` with the candidates' weights in between, after what came true since the fit."""
        assert self.since is not None
        beginning, n = self._beginning(glitches.history), origin.size
        feedback = Feedback(
            *(glitches, (series, origin)),
            rule=self.rule,
            beginning=beginning,
            since=self.since,
            memory=memory,
        )
        series_all, positions = (np.concatenate(pair) for pair in zip((series, origin), feedback.missing, strict=True))
        values, half, most, known = self._say(glitches, series_all, positions, threads)
        state = feedback.states(values, half)
        weights = self.rule.weights(state, beginning[series])
        return values[:n], weights, half[:n] * self.rule.factor(state)[:, None], most[:n], known[:n]

    def _alone(self, n: int) -> Array:
        """Weights of n forecasts that are the members' mean."""
        rule = self.rule
        one = np.repeat([1.0, 0.0], [rule.members, rule.naive])
        return np.broadcast_to(one[:, None], (n, rule.candidates, rule.buckets))

    def _beginning(self, history: History) -> Array:
        """What the weights of every row of the history begin with, shape (series, candidates, buckets)."""
        if self.losses is None:
            return np.ones((history.series, self.rule.candidates, self.rule.buckets))
        return self.losses[[self._place.get(text, 0) for text in key_texts(history.keys)]]

    @cached_property
    def _place(self) -> dict[str, int]:
        """Where series lie in `losses`."""
        return {text: place for place, text in enumerate(sorted(self.factors), 1)}

    def _say(
        self, glitches: Glitches, series: NDArray[np.intp], origin: NDArray[np.intp], threads: int
    ) -> tuple[Array, Array, Array, Array]:
        """What the candidates say, shape (n, candidates, horizon); half widths, their bounds and how much is known."""
        history, series = glitches.cleaned(series, origin)
        examples = every_example(series, origin, self.horizon)
        # Neighbours in time fall into the same leaves: in this order a booster predicts a third faster.
        order = np.lexsort((examples.origin, examples.target, examples.series))
        chunks = (examples[chunk] for chunk in np.array_split(order, -(-order.size // CHUNK) or 1))
        parts = [self._some(*near(history, chunk, self._before), threads) for chunk in chunks]
        columns = [np.empty(order.size) for _ in parts[0]]
        for column, pieces in zip(columns, zip(*parts, strict=True), strict=True):
            column[order] = np.concatenate(pieces)
        half, bound, known, *values = (column.reshape(-1, self.horizon) for column in columns)
        half *= self._factors(history)[examples.series].reshape(half.shape)
        return np.stack(values, axis=1), np.minimum(half, bound), bound, known

    def _factors(self, history: History) -> Array:
        """One factor per row of the history."""
        if not self.factors:
            return np.ones(history.series)
        return np.array([self.factors.get(text, 1.0) for text in key_texts(history.keys)])

    def persistence(self, history: History) -> NDArray[np.bool_]:
        """Whether holding members speak, per row of the history."""
        kinds = {transform.holds for transform, _ in self.members}
        if len(kinds) == 1:
            return np.full(history.series, kinds.pop())
        return np.array([text in self.persistent for text in key_texts(history.keys)])

    def _some(self, history: History, examples: Examples, threads: int) -> tuple[Array, ...]:
        """Half widths before any factor, how wide one may be, how much is known, and every candidate."""
        history, examples = levels.moved(history, self.frame, examples, self.clear)
        holding, arrays = self.persistence(history)[examples.series], Arrays(history)
        members = np.full((MEMBERS, len(examples)), np.nan)
        turn = {True: 0, False: 0}
        for (transform, booster), features in zip(self.members, self.bound, strict=True):
            rows = np.flatnonzero(holding == transform.holds)
            view = View(transform, self.frame, history, examples[rows], arrays)
            # The last of a kind speaks for those that its kind lacks, too.
            members[turn[transform.holds] :, rows] = view.restore(
                booster.predict(view.matrix(features), threads=threads)
            )
            turn[transform.holds] += 1
        values = [*members, *self._naive(history, examples)]
        known = count(self.frame, history, examples, arrays)
        young = np.flatnonzero(known < self.enough)
        baseline = short.fallback(history, self.frame, examples[young], self.baseline)
        for value in values:
            value[young] = baseline
        least, largest = reachable(self.frame, history, examples, arrays)
        least = np.maximum(least, 0.0) if self.nonnegative else least
        # A series that falls to zero has no logarithm: others speak.
        values = [np.where(np.isfinite(value), np.clip(value, least, largest), np.nan) for value in values]
        half = self.widths[examples.ahead - 1] * spread(self.frame, history, examples, arrays)
        most = np.where(largest > least, largest - least, np.inf)
        if self.jumps is not None:  # a few values say nothing of how far the next ones lie
            lacking = 1 - (known[young] / self.enough) ** 2
            jump = self.jumps[examples.ahead[young] - 1] * np.abs(baseline) * lacking
            half[young], most[young] = np.fmax(half[young], jump), np.fmax(most[young], jump)
        return half, most, known, *values

    def _naive(self, history: History, examples: Examples) -> list[Array]:
        """The last value, the seasons' and the mean."""
        seasons = dict.fromkeys((self.frame.short, self.frame.long))
        return [
            last_value(history, self.frame, examples),
            *(seasonal_naive(history, self.frame.target, season, examples) for season in seasons),
            mean_value(history, self.frame, examples),
        ]

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
            "digests": [member.digest for _, member in self.members if isinstance(member, Booster)],
            "widths": self.widths.tolist(),
            "coverage": self.coverage,
            "nonnegative": self.nonnegative,
            "persistent": sorted(self.persistent),
            "factors": dict(self.factors),
            "since": None if self.since is None else iso(self.since),
            "weighed": self.losses is not None,
            "baseline": self.baseline,
            "reason": self.reason,
            "limits": self.limits.as_dict(),
            "sparse": self.sparse,
            "clear": None if self.clear == inf else self.clear,
            "jumps": None if self.jumps is None else self.jumps.tolist(),
        }
        text = json.dumps(manifest, indent=1, sort_keys=True).replace("NaN", "null")
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
        if self.losses is not None:
            np.save(folder / LOSSES, self.losses)
        for i, (_, member) in enumerate(self.members):
            if isinstance(member, Booster):
                (folder / f"member_{i}.txt").write_bytes(member.text)
            else:
                member.save(folder / f"member_{i}")

    @classmethod
    def load(cls, folder: Path) -> ForecastModel:
        """Read a model that `save` wrote.

        Raises:
            ArtefactError: A file is missing, damaged, or of a newer format.
        """
        try:
            return cls._read(folder)
        except KeyError as error:
            raise other_version(folder, error) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error

    @classmethod
    def _read(cls, folder: Path) -> ForecastModel:
        data = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if data["kind"] != KIND or data["format"] > FORMAT:
            raise ArtefactError(
                f"is a {data['kind']} of format {data['format']}", where=str(folder), hint="upgrade headrace"
            )
        losses = np.load(folder / LOSSES) if data["weighed"] else None
        seasons = (parse_duration(s) for s in data["seasons"])
        return cls(
            frame=Frame(data["target"], parse_duration(data["step"]), *seasons),
            horizon=data["horizon"],
            features=Features.from_list(data["features"]),
            members=_members(folder, data),
            widths=_array(data["widths"]),
            coverage=data["coverage"],
            nonnegative=data["nonnegative"],
            persistent=frozenset(data.get("persistent", ())),
            factors=data.get("factors", {}),
            since=datetime.fromisoformat(data["since"]) if data["since"] else None,
            baseline=data["baseline"],
            reason=data["reason"],
            limits=Limits(**data["limits"]),
            sparse=data["sparse"],
            clear=_clear_of(data),
            jumps=None if data.get("jumps") is None else _array(data["jumps"]),
            losses=losses,
        )


def _members(folder: Path, data: Mapping[str, Any]) -> tuple[tuple[Transform, Booster | RegressorMember], ...]:
    count = len(data["members"])
    if count and not data["digests"]:
        from headrace.models.regressor_member import RegressorMember

        fitted: list[Any] = [RegressorMember.load(folder / f"member_{i}") for i in range(count)]
    else:
        texts = [(folder / f"member_{i}.txt").read_bytes() for i in range(count)]
        fitted = [Booster.from_text(text, known=known) for text, known in zip(texts, data["digests"], strict=True)]
    return tuple((Transform(**t), member) for t, member in zip(data["members"], fitted, strict=True))


def _clear_of(data: Mapping[str, Any]) -> float:
    """From a manifest, which may be of before there were steps of level, or of when all or none were clear enough."""
    clear = data.get("clear", 1.0 if data.get("moves") else None)
    return inf if clear is None else float(clear)


def _array(numbers: list[float | None]) -> Array:
    """Numbers of a manifest; what is missing is NaN."""
    return np.array([np.nan if number is None else number for number in numbers])
