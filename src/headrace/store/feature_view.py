"""`FeatureView`: the columns a model is fed: joined as they were known at the time of asking, or looked up by key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.errors import NotFoundError, UsageError
from headrace.store import failures
from headrace.store.feature_group import FeatureGroup
from headrace.store.store import Store

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.online import KeyedValues

VALUES = 25_000_000
"""Feature values that are read at once, by whole columns: 200 MB."""


class TrainingSet(NamedTuple):
    """A spine with its features, and the logical version of each feature group they were read at."""

    frame: pl.DataFrame
    pins: dict[str, int]


class Observed(dict[str, Any]):
    """The values of a view's columns by name; None where their group says nothing.

    Attributes:
        parts: By name of a group what it says, with its time, known time and version. Never empty.
    """

    __slots__ = ("parts",)

    parts: dict[str, KeyedValues]

    @property
    def time(self) -> datetime:
        """When the newest of it happened."""
        return max(part.time for part in self.parts.values())

    @property
    def known_at(self) -> datetime:
        """Since when all of it is known."""
        return max(part.known_at for part in self.parts.values())


class FeatureView:
    """Which columns of which feature groups belong together. Immutable; its version is its `digest`.

    For training it is joined (`training_set`); for one request its groups are looked up online (`get`, `history`), and
    both give the same values. A view that was declared (`declare`) is known by its name.

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
        self._keys = tuple(dict.fromkeys(key for group, _ in self._features for key in group.keys))
        for group, columns in self._features:
            schema.require(columns, group.columns, f"feature view {name}, group {group.name}")
        for kind, names in (("column", self.columns), ("group", tuple(g.name for g, _ in self._features))):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice or not names:
                reason = f"the {kind} {twice[0]!r} is there twice" if twice else f"there is no {kind}"
                raise UsageError(reason, where=f"feature view {name}", hint="each name may come from one group only")

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
    def keys(self) -> tuple[str, ...]:
        """The key columns of all groups, each once."""
        return self._keys

    @property
    def features(self) -> tuple[tuple[FeatureGroup, tuple[str, ...]], ...]:
        """The groups and the columns taken from each."""
        return self._features

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

    def declare(self, system: str) -> FeatureView:
        """Leave word of the view under its name, for `open` and for `stored(...)`. Its groups must have been written.

        Raises:
            UsageError: A feature group of the system has this name.
            StoreError: The storage cannot be written.
        """
        store = self._features[0][0].store
        if self._name in FeatureGroup.names(store, system):
            raise UsageError("a feature group has this name", where=f"feature view {self._name}")
        features = [[group.system, group.name, columns] for group, columns in self._features]
        document = {"features": features, "ttl_seconds": None if self._ttl is None else self._ttl.total_seconds()}
        store.note(_file(system, self._name), json.dumps(document).encode())
        return self

    @classmethod
    def open(cls, store: Store, system: str, name: str) -> FeatureView:
        """The view as it was last declared. A feature group is a view too: of all its columns, under its own name.

        Raises:
            NotFoundError: There is neither; or a group of the view is gone, or a column of it.
        """
        hint = "put it back from a backup, or declare the view anew"
        noted = store.noted(_file(system, name), hint)
        if noted is None:
            group = FeatureGroup.open(store, system, name)
            return cls(name, [(group, list(group.columns))])
        with failures.intact(f"{store.uri}/{_file(system, name)}", hint):
            document = json.loads(noted)
            ttl = None if document["ttl_seconds"] is None else timedelta(seconds=document["ttl_seconds"])
            features = [(owner, short, list(columns)) for owner, short, columns in document["features"]]
        groups = [(FeatureGroup.open(store, owner, short), columns) for owner, short, columns in features]
        for group, columns in groups:
            missing = [column for column in columns if column not in group.columns]
            if missing:
                raise NotFoundError(
                    f"its group {group.name!r} has no feature {missing[0]!r} any more",
                    where=f"{system}/{name}",
                    hint="declare the view anew",
                )
        return cls(name, groups, ttl=ttl)

    def get(self, key: Any, *, as_of: datetime | None = None) -> Observed | None:
        """The latest known values of a key, online: what `training_set` gives for it at this time.

        Args:
            key: The key's value; a tuple in the order of `keys` where there are several, or none.
            as_of: The asking time: only what had happened and was known then. None: all that is here; not with a `ttl`.

        Returns:
            None where no group says anything.

        Raises:
            UsageError: The key has another number of values, or the view has a `ttl` and `as_of` is missing.
            NotFoundError: A group is not online.
            OnlineUnavailableError: The online side is away.
        """
        return self.get_many([key], as_of=as_of)[0]

    def get_many(self, keys: Sequence[Any], *, as_of: datetime | None = None) -> list[Observed | None]:
        """The latest known values of many keys, in their order, as `get` gives them: one question a group."""
        typed = [self._key(key) for key in keys]
        results: list[dict[str, KeyedValues]] = [{} for _ in keys]
        for group, picked in self._picked():
            group_keys = [tuple(key[i] for i in picked) for key in typed]
            for parts, row in zip(
                results, group.online_side.get_many(group, group_keys, as_of=as_of, ttl=self._ttl), strict=True
            ):
                if row is not None:
                    parts[group.name] = row
        return [self._observed(parts) if parts else None for parts in results]

    def history(self, key: Any, last: int, *, as_of: datetime | None = None) -> list[Observed]:
        """The last observations of a key, online, oldest first: one for every time at which a group says something.

        However old they are: `ttl` is about the latest values.

        Args:
            key: As for `get`.
            last: How many; every group must keep that many event times (``online=last`` or more).
            as_of: As for `get`.

        Raises:
            UsageError: A group keeps fewer.
        """
        typed, by_time = self._key(key), dict[datetime, dict[str, "KeyedValues"]]()
        for group, picked in self._picked():
            for observed in group.online_side.history(group, tuple(typed[i] for i in picked), last, as_of=as_of):
                by_time.setdefault(observed.time, {})[group.name] = observed
        # What is among the last of all is among the last of its own group.
        return [self._observed(by_time[time]) for time in sorted(by_time)[-last:]] if last > 0 else []

    def _observed(self, parts: dict[str, KeyedValues]) -> Observed:
        row = Observed()
        for group, columns in self._features:
            part = parts.get(group.name)
            row.update(dict.fromkeys(columns) if part is None else {column: part.get(column) for column in columns})
        row.parts = parts
        return row

    def _picked(self) -> list[tuple[FeatureGroup, list[int]]]:
        """Per group the places of its keys among the view's."""
        return [(group, [self._keys.index(key) for key in group.keys]) for group, _ in self._features]

    def _key(self, key: Any) -> tuple[Any, ...]:
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self._keys):
            reason = f"{key!r} has {len(values)} values, the view's keys are {', '.join(self._keys) or 'none'}"
            raise UsageError(reason, where=f"feature view {self._name}")
        return values

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
        from headrace.store.fed import settle  # most systems look nothing up, and need no online side

        where = f"spine of feature view {self._name}"
        schema.require([time], spine.columns, where)
        schema.require_time(time, spine.schema[time], where)
        schema.require_filled(spine, time, where)
        spine = schema.in_utc(spine, time)
        schema.require(versions or {}, [group.name for group, _ in self._features], where)
        for column in self.columns:
            if column in spine.columns:
                raise UsageError(f"{column!r} is a feature's name too", where=where, hint="rename the spine's column")
        pins: dict[str, int] = {}
        parts = [spine]
        for group, columns in self._features:
            if group.name not in (versions or {}):
                settle(group)
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
        times = group.table.collect(facts.select(*group.keys, group.time, "known_at", "_version"))
        rows = point_in_time.matching_rows(
            spine, times, group.keys, spine_time=time, event_time=group.time, ttl=self._ttl
        )
        at_once = max(VALUES // max(times.height, 1), 1)
        del times
        answers = []
        for begin in range(0, len(columns), at_once):
            values = group.table.collect(facts.select(columns[begin : begin + at_once]))
            # Column by column into one piece each: a gather over many pieces costs three times as much.
            answers += [column.rechunk().gather(rows) for column in values]
        return pl.DataFrame(answers)


def _file(system: str, name: str) -> str:
    return f"{system}/view-{name}.json"


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
