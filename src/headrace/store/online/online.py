"""`Online`: look up feature groups by key, and keep what is looked up current with their tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from headrace.errors import ConfigError, NotFoundError, UsageError, WriteConflictError
from headrace.store.online.base import Backend, Batch, State
from headrace.store.online.postgresql import PostgreSQL
from headrace.store.online.records import Found, facts_of, key_text, microseconds
from headrace.store.online.sqlite import SQLite

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.delta import Table

CLOCKS = timedelta(minutes=5)
"""How far the clock of a reader may be behind that of a writer."""

_BACKENDS: dict[str, type[SQLite] | type[PostgreSQL]] = {
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "postgres": PostgreSQL,
}
_ATTEMPTS = 20
_END = 2**63 - 1


class Group(Protocol):
    """What the online side needs to know of a feature group: `FeatureGroup` is one."""

    @property
    def system(self) -> str:
        """The system it belongs to."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Key columns."""

    @property
    def time(self) -> str:
        """The event-time column."""

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Feature columns."""

    @property
    def table(self) -> Table:
        """The facts."""

    @property
    def online(self) -> int:
        """How many event times of a key are kept."""


class Answers(NamedTuple):
    """What a look-up found, and what it was read from.

    Attributes:
        version: Logical version of the group's table that is here.
        since: Readers from this time on (microseconds since 1970) are answered as by the table; an earlier one may miss
            what is no longer kept.
        found: Per key, in their order; None where there is nothing.
    """

    version: int
    since: int
    found: list[Found | None]


class Online:
    """The online side of all feature groups. Connects when it is first used; may be shared by threads, and pickled.

    Args:
        uri: ``sqlite:///file`` or ``postgresql://...``.
        timeout: Longest wait for the database, in seconds.
    """

    def __init__(self, uri: str, *, timeout: float = 2.0) -> None:
        self._uri, self._timeout = uri, timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self._uri, self._timeout)

    @cached_property
    def _backend(self) -> Backend:
        scheme = self._uri.partition(":")[0].partition("+")[0]
        if scheme not in _BACKENDS:
            raise ConfigError(
                f"{scheme!r} is no database for the online side",
                where="online_uri",
                hint="say sqlite:////folder/online.db or postgresql://host/database",
            )
        return _BACKENDS[scheme](self._uri, self._timeout)

    @property
    def embedded(self) -> bool:
        """Whether it answers without a network, so quickly that an event loop may wait for it."""
        return self._backend.embedded

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            OnlineUnavailableError: There is none.
        """
        self._backend.state("")

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self._backend.close()

    # --- reading -----------------------------------------------------------------------------------------------

    def get(self, group: Group, key: Any, *, at: datetime | None = None, ttl: timedelta | None = None) -> Found | None:
        """The latest known values of a key.

        Args:
            group: The feature group.
            key: The key's value; a tuple where the group has several key columns, or none.
            at: The asking time: only what had happened and was known then. None: all that is here.
            ttl: How old values may be, by event time; needs `at`.

        Raises:
            NotFoundError: The group is not online yet.
            OnlineUnavailableError: The database is away.
        """
        return self.look_up(group, (key,), at=at, ttl=ttl).found[0]

    def get_many(
        self, group: Group, keys: Sequence[Any], *, at: datetime | None = None, ttl: timedelta | None = None
    ) -> list[Found | None]:
        """The latest known values of many keys, in their order, as `get` gives them, of one moment."""
        return self.look_up(group, keys, at=at, ttl=ttl).found

    def look_up(
        self, group: Group, keys: Sequence[Any], *, at: datetime | None = None, ttl: timedelta | None = None
    ) -> Answers:
        """What `get_many` gives, and the version of the table that it was read from."""
        if ttl is not None and at is None:
            raise UsageError("how old a value is depends on when it is asked for", where="at", hint="say at=now")
        count, moment = len(group.keys), _END if at is None else microseconds(at)
        read = self._backend.newest(_name(group), [key_text(key, count) for key in keys], moment)
        if read is None:
            raise _absent(group)
        state, payloads = read
        found = [None if each is None else Found(each) for each in payloads]
        if ttl is not None and at is not None:
            found = [None if each is None or at - each.time > ttl else each for each in found]
        return Answers(state.version, state.since, found)

    def history(self, group: Group, key: Any, last: int, *, at: datetime | None = None) -> list[Found]:
        """The last observations of a key, oldest first: of each event time what is known latest.

        Args:
            group: The feature group; it must keep that many event times (``online=last`` or more).
            key: As for `get`.
            last: How many.
            at: As for `get`.

        Raises:
            UsageError: The group keeps fewer.
            NotFoundError: The group is not online yet.
        """
        if last > group.online:
            raise UsageError(
                f"{last} observations were asked for, {group.online} are kept",
                where=_name(group),
                hint=f"declare the group with online={last}",
            )
        moment = _END if at is None else microseconds(at)
        payloads = self._backend.last(_name(group), key_text(key, len(group.keys)), last, moment)
        if not payloads and self._backend.state(_name(group)) is None:
            raise _absent(group)
        return [Found(each) for each in reversed(payloads)]

    def version(self, group: Group) -> int | None:
        """The logical version of the group's table that is here; None: nothing of it was ever written."""
        state = self._backend.state(_name(group))
        return None if state is None else state.version

    # --- writing -----------------------------------------------------------------------------------------------

    def follow(self, group: Group, *, now: datetime) -> int:
        """Bring a group up to its table; `FeatureGroup.write` does. Returns the version that is here then.

        Every fact of the table that is not here yet is added, whoever wrote it: what a writer that was killed left
        undone is done now. Repeating it changes nothing.

        Args:
            group: The feature group; the table must exist.
            now: The clock's time: what no reader from five minutes before it on can be answered with may go.

        Raises:
            NotFoundError: The group was never written.
            OnlineUnavailableError: The database is away; nothing has changed.
        """
        for _ in range(_ATTEMPTS):
            state, shape = self._backend.state(_name(group)), _shape(group)
            version = group.table.version()
            after = state.version if state is not None and state.shape == shape else None
            if after == version or self._bring(group, after, version, now):
                return version
        raise WriteConflictError(
            f"others made the group anew {_ATTEMPTS} times in a row",
            where=_name(group),
            hint="do all writers declare it alike?",
        )

    def rebuild(self, group: Group, *, now: datetime) -> int:
        """Make a group anew from its table. Readers see it as it was until it is done. As `follow` otherwise."""
        self._bring(group, None, group.table.version(), now)
        return self.follow(group, now=now)  # another's newer facts may have gone with the old

    def _bring(self, group: Group, after: int | None, version: int, now: datetime) -> bool:
        """Write the facts after a version; all of them after None."""
        import polars as pl

        state = State(version, microseconds(now - CLOCKS), _shape(group))
        lazy = group.table.scan(version=version, where=pl.col("_version") > (after or 0))
        wanted = dict.fromkeys([*group.keys, group.time, "known_at", "_version", *group.columns])
        frame = _kept(group.table.collect(lazy.select(*wanted)), group, now - CLOCKS)
        facts = list(facts_of(frame, group.keys, group.time, list(group.columns)))
        return self._backend.write(_name(group), Batch(facts, after, state, group.online))


def _opened(uri: str, timeout: float) -> Online:
    return Online(uri, timeout=timeout)


def _name(group: Group) -> str:
    return f"{group.system}/{group.name}"


def _absent(group: Group) -> NotFoundError:
    return NotFoundError(
        "nothing of it is online yet", where=_name(group), hint=f"write to it, or: headrace online {group.system}"
    )


def _shape(group: Group) -> str:
    """Facts of another table or another shape are of no use: they are made anew."""
    said = json.dumps([group.table.id(), group.keys, group.time, [*group.columns], group.online])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _kept(facts: pl.DataFrame, group: Group, since: datetime) -> pl.DataFrame:
    """What the database would keep of these facts alone, so that it need not see the rest."""
    import polars as pl

    from headrace.store.facts import latest

    seen = (pl.col(group.time) <= since) & (pl.col("known_at") <= since)
    past = latest(facts.filter(seen), [*group.keys, group.time])
    place = pl.col(group.time).rank("dense", descending=True)
    past = past.filter((place.over(*group.keys) if group.keys else place) <= group.online)
    return pl.concat([past, facts.filter(~seen)])
