"""Stored features of rows: by the point-in-time join for a table, by key and online for a request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.contract.value import value_of
from headrace.errors import DeclarationError, ModelError, NotFoundError, OnlineUnavailableError, UsageError
from headrace.features.compiled import KIND_OF_COLUMN, dtype_of, kind_of
from headrace.features.view import Features
from headrace.home import Home
from headrace.store import FeatureGroup, FeatureView, Observed
from headrace.store.fed import settle
from headrace.store.online.records import microseconds
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.online import Online

VERSIONS = "_stored"
"""Among the inputs of a prediction: the version of every feature group that was looked up."""

_AT = "_at"

Row = dict[str, Any]
_Asked = tuple[datetime, list[Row], dict[str, int]]
"""When rows were asked for, the rows, and the versions that they are told from."""


@dataclass(frozen=True)
class _LookupSource:
    """One group, asked by one key.

    Attributes:
        group: The feature group.
        key: The row's columns that hold the group's keys.
        ttl: How old an answer may be.
        features: Columns of the row to features of the group.
    """

    group: FeatureGroup
    key: tuple[str, ...]
    ttl: timedelta | None
    features: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.group.system}/{self.group.name}"

    def join(self, rows: pl.DataFrame, at: pl.Expr, version: int) -> list[pl.Series]:
        """The looked-up columns of every row, as they were known at its time."""
        import polars as pl

        keys = zip(self.key, self.group.keys, strict=True)
        types = self.group.table.schema()
        expressions = (pl.col(own_name).cast(types[group_name]).alias(group_name) for own_name, group_name in keys)
        spine = rows.with_columns(at.alias(_AT)).select(*expressions, _AT)  # one row each, keys or not
        view = FeatureView("look-up", [(self.group, list(dict.fromkeys(self.features.values())))], ttl=self.ttl)
        frame = view.training_set(spine, time=_AT, versions={self.group.name: version}).frame
        columns = []
        for column, feature in self.features.items():
            values = frame[feature].cast(dtype_of(kind_of(frame.schema[feature])))
            if values.dtype.is_float():  # an input is JSON, which has no other number
                values = pl.select(pl.when(values.is_finite()).then(values)).to_series()
            columns.append(values.alias(column))
        return columns

    def online(self, online: Online, rows: Sequence[Row], at: datetime) -> int | None:
        """Put the looked-up columns into rows that ask at one time; the group's version that they were read from.

        None, and nothing is done, for a time from before what is kept online.
        """
        keys = [tuple(row[name] for name in self.key) for row in rows]
        answers = online.look_up(self.group, keys, as_of=at, ttl=self.ttl)
        if microseconds(at) < answers.since:
            return None
        for row, values in zip(rows, answers.found, strict=True):
            for column, feature in self.features.items():
                value = None if values is None else values.get(feature)
                row[column] = value if type(value) is not float or math.isfinite(value) else None
        return answers.version


class Lookups:
    """What the features of a system look up, and where. False where they look nothing up.

    Args:
        sources: Every group by every key.
        online: The online side.
        time: The column of a row's time, if rows have one.
        types: Contract type of every column that is read for a key.
    """

    def __init__(
        self, sources: Sequence[_LookupSource], online: Online, time: str | None, types: Mapping[str, str]
    ) -> None:
        self._sources, self._online, self._time, self._types = tuple(sources), online, time, types
        self._followed: dict[str, int] = {}

    @classmethod
    def of(cls, features: Features, system: System, home: Home) -> Lookups:
        """The look-ups of features, which may be those of an older model.

        Raises:
            NotFoundError: There is no such group or view, or it has no such feature.
            DeclarationError: A key does not fit the group's.
        """
        wanted: dict[tuple[str, tuple[str, ...], timedelta | None], dict[str, str]] = {}
        for node in features.stored():
            wanted.setdefault((node.group, node.key, node.ttl), {})[node.column] = node.feature
        types = {column.name: column.type for column in system.contract.columns}
        sources = []
        for (name, key, ttl), columns in wanted.items():
            owner, _, short = name.rpartition("/")
            view = FeatureView.open(home.store, owner or system.name, short)
            sources += _sources(view, f"{owner or system.name}/{short}", key, ttl, columns)
        for source in sources:
            _check(source, types)
        return cls(sources, home.online, system.time, types)

    def __bool__(self) -> bool:
        return bool(self._sources)

    @property
    def embedded(self) -> bool:
        """Whether `fill` answers without a network."""
        return self._online.embedded

    @property
    def types(self) -> dict[str, str]:
        """Contract type of every looked-up column."""
        return {
            column: kind_of(source.group.columns[feature])
            for source in self._sources
            for column, feature in source.features.items()
        }

    def join(self, rows: pl.DataFrame, as_of: datetime) -> tuple[pl.DataFrame, dict[str, int]]:
        """A table with its looked-up columns, and the version of every group that they were read from.

        A row sees what was known at its own time, and at `as_of` at the latest; at `as_of` where it has no time.
        """
        for source in self._sources:
            settle(source.group)
        versions = {source.label: source.group.table.version() for source in self._sources}
        columns = [c for each in self._sources for c in each.join(rows, self._moment(as_of), versions[each.label])]
        return rows.with_columns(columns), versions

    def fill(self, rows: Sequence[Row], now: datetime) -> None:
        """Put the looked-up columns into the rows of a request, and under `VERSIONS` what they were read from.

        What a row from the past asks for, and is no longer kept online, is read from the table.

        Raises:
            OnlineUnavailableError: The online side is away.
            NotFoundError: A group is not online.
        """
        self.fill_each(rows, [now] * len(rows))

    def fill_each(self, rows: Sequence[Row], times: Sequence[datetime]) -> None:
        """As `fill`, for rows that were asked for at times of their own.

        Raises:
            OnlineUnavailableError: The online side is away.
            NotFoundError: A group is not online.
        """
        asked = [(at, some, dict[str, int]()) for at, some in self._by_time(rows, times)]
        for source in self._sources:
            past = []
            for at, some, versions in asked:
                version = source.online(self._online, some, at)
                if version is None:
                    past.append((at, some, versions))
                    continue
                if version < self._followed.get(source.label, 0):
                    said = f"has version {version}, and had {self._followed[source.label]}"
                    raise OnlineUnavailableError(said, where=source.label, hint="it follows its table soon")
                versions[source.label] = version
            if past:
                self._from_table(source, past)
        for _, some, versions in asked:
            for row in some:
                row[VERSIONS] = versions

    def fill_past(self, rows: Sequence[Row], asked: Sequence[datetime]) -> None:
        """`fill` for logged rows, each as of when it was asked for: what it was told stays, the rest is read from the
        tables, at the versions that its other columns were read from.

        Args:
            rows: With what they were told, and under `VERSIONS` where from.
            asked: When each was asked for, UTC.
        """
        for source in self._sources:
            settle(source.group)
            lacking: dict[int, list[int]] = {}
            for place, row in enumerate(rows):
                told = row.get(VERSIONS) or {}
                if any(row.get(column) is None for column in source.features):
                    # Of a group that a topic feeds the known time alone tells what was there: online it is before that.
                    pinned = None if source.group.fed else told.get(source.label)
                    version = pinned or source.group.table.version()
                    lacking.setdefault(version, []).append(place)
            for version, places in lacking.items():
                some = [rows[place] for place in places]
                self._join_past(source, some, [asked[place] for place in places], version)
                for row in some:
                    row[VERSIONS] = {**(row.get(VERSIONS) or {}), source.label: version}

    def _join_past(self, source: _LookupSource, rows: Sequence[Row], asked: Sequence[datetime], version: int) -> None:
        import polars as pl

        own = [row[self._time] if self._time is not None else None for row in rows]
        moments = [at if its is None else min(its, at) for its, at in zip(own, asked, strict=True)]
        at = pl.lit(pl.Series(moments, dtype=pl.Datetime("us", "UTC")))
        for column in source.join(self._keys_of(source, rows), at, version):
            for row, value in zip(rows, column.to_list(), strict=True):
                row[column.name] = value

    def follow(self, now: datetime) -> None:
        """Bring the online side of every group up to its table.

        Raises:
            NotFoundError: A group is not to be online.
            OnlineUnavailableError: The online side is away.
        """
        for source in self._sources:
            if not source.group.online:
                raise NotFoundError("cannot be looked up for a request", where=source.label, hint="say online=1")
            settle(source.group)
            self._followed[source.label] = self._online.follow(source.group, now=now)

    def refuse_disagreement(self, rows: pl.DataFrame, as_of: datetime, now: datetime) -> None:
        """Compare what a request is told with what the table says, for the keys of these rows asking at `as_of`.

        Groups that are not online, and times from before what is kept there, have nothing to compare.

        Raises:
            ModelError: They differ; names the column. Models that look it up must not be served.
        """
        import polars as pl

        for source in self._sources:
            asked: list[Row] = rows.select(source.key).to_dicts()
            if not source.group.online or not asked:
                continue
            settle(source.group)
            self._online.follow(source.group, now=now)
            version = source.online(self._online, asked, as_of)
            if version is None:
                continue
            for column in source.join(rows, pl.lit(as_of, pl.Datetime("us", "UTC")), version):
                for row, theirs in zip(asked, column.to_list(), strict=True):
                    if row[column.name] != theirs:
                        raise ModelError(
                            f"is {row[column.name]!r} online and {theirs!r} in the table",
                            where=column.name,
                            hint=f"headrace materialize online {source.group.system}",
                        )

    def _moment(self, at: datetime) -> pl.Expr:
        import polars as pl

        latest = pl.lit(at, pl.Datetime("us", "UTC"))
        return latest if self._time is None else pl.min_horizontal(pl.col(self._time), latest)

    def _by_time(self, rows: Sequence[Row], times: Sequence[datetime]) -> Iterator[tuple[datetime, list[Row]]]:
        by: dict[datetime, list[Row]] = {}
        for row, now in zip(rows, times, strict=True):
            own = row[self._time] if self._time is not None else None
            by.setdefault(now if own is None else min(own, now), []).append(row)
        yield from by.items()

    def _from_table(self, source: _LookupSource, asked: Sequence[_Asked]) -> None:
        import polars as pl

        rows = [(at, row) for at, some, _ in asked for row in some]
        settle(source.group)
        frame = self._keys_of(source, [row for _, row in rows])
        times = pl.Series(_AT, [at for at, _ in rows], dtype=pl.Datetime("us", "UTC"))
        version = source.group.table.version()
        for column in source.join(frame.with_columns(times), pl.col(_AT), version):
            for (_, row), value in zip(rows, column.to_list(), strict=True):
                row[column.name] = value
        for _, _, versions in asked:
            versions[source.label] = version

    def _keys_of(self, source: _LookupSource, rows: Sequence[Row]) -> pl.DataFrame:
        import polars as pl

        dtypes = {name: dtype_of(self._types[name]) for name in source.key}
        return pl.DataFrame({name: [row[name] for row in rows] for name in dtypes}, schema=dtypes)


def look_up(view: FeatureView, key: Sequence[str], *, as_of: datetime, last: int = 0) -> list[Observed]:
    """What is online of a key that is given as texts, such as on a command line.

    Args:
        view: The view.
        key: The key's values, in the order of the view's keys.
        as_of: The asking time.
        last: How many observations, oldest first; 0 for the latest known values alone.

    Raises:
        UsageError: A text is no value of its key column, or there are more or fewer than keys.
    """
    types = {name: group.table.schema()[name] for group, _ in view.features for name in group.keys}
    try:
        typed = tuple(value_of(text, types[name]) for text, name in zip(key, view.keys, strict=True))
    except ValueError as error:
        said = ", ".join(f"{name} ({types[name]})" for name in view.keys)
        raise UsageError(f"{' '.join(key)!r} is no key", where=view.name, hint=f"its keys: {said}") from error
    if last:
        return view.history(typed, last, as_of=as_of)
    found = view.get(typed, as_of=as_of)
    return [] if found is None else [found]


def _sources(
    view: FeatureView, label: str, key: tuple[str, ...], ttl: timedelta | None, columns: Mapping[str, str]
) -> list[_LookupSource]:
    """The groups of a view that have a wanted column, each by its own part of the key."""
    for column, feature in columns.items():
        if feature not in view.columns:
            raise NotFoundError(
                f"{label} has no feature {feature!r}", where=column, hint=f"it has {', '.join(view.columns)}"
            )
    if len(key) != len(view.keys):
        said = f"the keys of {label} are {', '.join(view.keys) or 'none'}"
        raise DeclarationError(said, where=f"{label}[{', '.join(key)}]")
    ours = dict(zip(view.keys, key, strict=True))
    sources = []
    for group, there in view.features:
        some = {column: feature for column, feature in columns.items() if feature in there}
        if some:
            sources.append(
                _LookupSource(group, tuple(ours[each] for each in group.keys), view.ttl if ttl is None else ttl, some)
            )
    return sources


def _check(source: _LookupSource, types: Mapping[str, str]) -> None:
    """Refuse keys that could never be found."""
    where, known = f"{source.label}[{', '.join(source.key)}]", source.group.table.schema()
    for ours, theirs in zip(source.key, source.group.keys, strict=True):
        said = types.get(ours, "not in the contract")
        kind = KIND_OF_COLUMN.get(said, said)
        if kind != kind_of(known[theirs]):
            raise DeclarationError(
                f"{ours!r} is {kind}, the group's {theirs!r} is {kind_of(known[theirs])}", where=where
            )
