"""`FeatureView`: the columns a model is fed, joined as they were known at the time of asking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import UsageError
from headrace.store.feature_group import FeatureGroup

if TYPE_CHECKING:
    import polars as pl

VALUES = 25_000_000
"""Feature values that are read at once, by whole columns: 200 MB."""


class TrainingSet(NamedTuple):
    """A spine with its features, and the logical version of each feature group they were read at."""

    frame: pl.DataFrame
    pins: dict[str, int]


class FeatureView:
    """Which columns of which feature groups belong together. Immutable; its version is its `digest`.

    Args:
        name: The view's name.
        features: The groups and the columns taken from each.
        ttl: How old a feature row may be when asked for, by event time; older answers are null. None: any.

    Raises:
        UsageError: No features, a column the group does not have, or one name from two groups.
    """

    def __init__(
        self,
        name: str,
        features: Sequence[tuple[FeatureGroup, Sequence[str]]],
        *,
        ttl: timedelta | None = None,
    ) -> None:
        from headrace.store import schema

        self._name, self._ttl = name, ttl
        self._features = tuple((group, tuple(columns)) for group, columns in features)
        for group, columns in self._features:
            schema.require(columns, group.columns, f"feature view {name}, group {group.name}")
        for what, names in (("column", self.columns), ("group", tuple(g.name for g, _ in self._features))):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice or not names:
                said = f"the {what} {twice[0]!r} is there twice" if twice else f"there is no {what}"
                raise UsageError(said, where=f"feature view {name}", hint="each name may come from one group only")

    @property
    def name(self) -> str:
        """The view's name."""
        return self._name

    @property
    def ttl(self) -> timedelta | None:
        """How old a feature row may be; None for any age."""
        return self._ttl

    @property
    def columns(self) -> tuple[str, ...]:
        """All feature columns, in the order of the training set."""
        return tuple(column for _, columns in self._features for column in columns)

    @property
    def digest(self) -> str:
        """The version of the view: 12 hexadecimal digits over its canonical JSON definition."""
        definition = {
            "name": self._name,
            "ttl_seconds": None if self._ttl is None else self._ttl.total_seconds(),
            "features": [{"group": group.describe(), "columns": list(columns)} for group, columns in self._features],
        }
        text = json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def training_set(
        self, spine: pl.DataFrame, *, time: str = "time", versions: Mapping[str, int] | None = None
    ) -> TrainingSet:
        """The spine with each row's features as they were known at its time.

        For a row (keys, T) a group answers with its newest row by event time (then known time, then version)
        among those that had happened and were known at T; null where there is none or it is older than `ttl`.
        A key may be null, and equals null.

        Args:
            spine: (n, keys of all groups + `time` + any further columns); duplicates and any order welcome.
            time: The asking time, Datetime with a time zone and without nulls.
            versions: Logical version by group name, to reproduce an earlier set; None is the current ones.

        Returns:
            The frame (n, spine columns + `columns`) in spine order, and the pins to give as `versions` later.

        Raises:
            UsageError: A key is missing or has another type than in the group, a spine column has a feature's
                name, or `versions` names an unknown group.
            StoreError: `time` has no time zone or has nulls.
            NotFoundError: A group was never written, or has no such version.
        """
        from headrace.store import schema

        where = f"spine of feature view {self._name}"
        schema.require([time], spine.columns, where)
        schema.require_time(time, spine.schema[time], where)
        schema.require_filled(spine, time, where)
        schema.require(versions or {}, [group.name for group, _ in self._features], where)
        for column in self.columns:
            if column in spine.columns:
                raise UsageError(f"{column!r} is a feature's name too", where=where, hint="rename the spine's column")
        pins: dict[str, int] = {}
        parts = [spine]
        for group, columns in self._features:
            pins[group.name] = (versions or {}).get(group.name, group.table.version())
            parts.append(self._answers(spine, time, group, columns, pins[group.name]))
        return TrainingSet(_beside(parts), pins)

    def _answers(
        self, spine: pl.DataFrame, time: str, group: FeatureGroup, columns: Sequence[str], version: int
    ) -> pl.DataFrame:
        """One group's columns for each spine row."""
        import polars as pl

        from headrace.store import point_in_time

        facts = group.table.scan(version=version)
        _require_keys(spine, facts, group, f"spine of feature view {self._name}")
        if not spine.is_empty():
            # What no row can be answered with is not read.
            earliest, latest = spine[time].min(), spine[time].max()
            facts = facts.filter((pl.col("known_at") <= latest) & (pl.col(group.time) <= latest))
            if self._ttl is not None:
                facts = facts.filter(pl.col(group.time) >= pl.lit(earliest) - pl.lit(self._ttl))
        told = group.table.collect(facts.select(*group.keys, group.time, "known_at", "_version"))
        found = point_in_time.matching_rows(
            spine, told, group.keys, spine_time=time, event_time=group.time, ttl=self._ttl
        )
        at_once = max(VALUES // max(told.height, 1), 1)
        del told
        answers = []
        for begin in range(0, len(columns), at_once):
            values = group.table.collect(facts.select(columns[begin : begin + at_once]))
            # Column by column into one piece each: a gather over many pieces costs three times as much.
            answers += [each.rechunk().gather(found) for each in values]
        return pl.DataFrame(answers)


def _beside(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(parts, how="horizontal")


def _require_keys(spine: pl.DataFrame, facts: pl.LazyFrame, group: FeatureGroup, where: str) -> None:
    from headrace.store import schema

    schema.require(group.keys, spine.columns, where)
    types = facts.collect_schema()
    for key in group.keys:
        if spine.schema[key] != types[key]:
            raise UsageError(
                f"the key is {spine.schema[key]} where group {group.name!r} has {types[key]}",
                where=f"{where}:{key}",
                hint=f"cast it to {types[key]}",
            )
