"""`Online`: look up feature groups by key, and keep what is looked up current with their tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from headrace.errors import ConfigError, NotFoundError, UsageError, WriteConflictError
from headrace.store.online.base import GroupState, OnlineBackend, OnlineWrite, Session
from headrace.store.online.feeds import Feed
from headrace.store.online.postgresql import PostgreSQLOnline
from headrace.store.online.records import KeyedValues, facts_of, key_text, microseconds
from headrace.store.online.sqlite import SQLiteOnline

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.delta import Table

T = TypeVar("T")
CLOCKS = timedelta(minutes=5)
"""How far the clock of a reader may be behind that of a writer."""

_BACKENDS: dict[str, type[SQLiteOnline] | type[PostgreSQLOnline]] = {
    "sqlite": SQLiteOnline,
    "postgresql": PostgreSQLOnline,
    "postgres": PostgreSQLOnline,
}
_ATTEMPTS = 20
_END = 2**63 - 1


class OnlineGroup(Protocol):
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
    def fed(self) -> bool:
        """Whether a topic feeds it: its rows are here before they are in the table."""

    @property
    def online(self) -> int:
        """How many event times of a key are kept."""


class LookupResult(NamedTuple):
    """What a look-up found, and what it was read from.

    Attributes:
        version: Logical version of the group's table that is here.
        since: Readers from this time on (microseconds since 1970) are answered as by the table; an earlier one may miss
            what is no longer kept.
        found: Per key, in their order; None where there is nothing.
    """

    version: int
    since: int
    found: list[KeyedValues | None]


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
    def _backend(self) -> OnlineBackend:
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

    def get(
        self, group: OnlineGroup, key: Any, *, as_of: datetime | None = None, ttl: timedelta | None = None
    ) -> KeyedValues | None:
        """The latest known values of a key.

        Args:
            group: The feature group.
            key: The key's value; a tuple where the group has several key columns, or none.
            as_of: The asking time: only what had happened and was known then. None: all that is here.
            ttl: How old values may be, by event time; needs `as_of`.

        Raises:
            NotFoundError: The group is not online yet.
            OnlineUnavailableError: The database is away.
        """
        return self.look_up(group, (key,), as_of=as_of, ttl=ttl).found[0]

    def get_many(
        self, group: OnlineGroup, keys: Sequence[Any], *, as_of: datetime | None = None, ttl: timedelta | None = None
    ) -> list[KeyedValues | None]:
        """The latest known values of many keys, in their order, as `get` gives them, of one moment."""
        return self.look_up(group, keys, as_of=as_of, ttl=ttl).found

    def look_up(
        self, group: OnlineGroup, keys: Sequence[Any], *, as_of: datetime | None = None, ttl: timedelta | None = None
    ) -> LookupResult:
        """What `get_many` gives, and the version of the table that it was read from."""
        if ttl is not None and as_of is None:
            raise UsageError("how old a value is depends on when it is asked for", where="as_of", hint="say as_of=now")
        count, moment = len(group.keys), _END if as_of is None else microseconds(as_of)
        texts = [key_text(key, count) for key in keys]
        read = self._backend.newest(_name(group), texts, moment)
        if read is None:
            raise _absent(group)
        state, payloads = read
        results = [
            None if payload is None else KeyedValues(text, payload)
            for text, payload in zip(texts, payloads, strict=True)
        ]
        if ttl is not None and as_of is not None:
            results = [None if result is None or as_of - result.time > ttl else result for result in results]
        return LookupResult(state.version, state.since, results)

    def history(self, group: OnlineGroup, key: Any, last: int, *, as_of: datetime | None = None) -> list[KeyedValues]:
        """The last observations of a key, oldest first: of each event time what is known latest.

        Args:
            group: The feature group; it must keep that many event times (``online=last`` or more).
            key: As for `get`.
            last: How many.
            as_of: As for `get`.

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
        moment = _END if as_of is None else microseconds(as_of)
        text = key_text(key, len(group.keys))
        payloads = self._backend.last(_name(group), text, last, moment)
        if not payloads and self._backend.state(_name(group)) is None:
            raise _absent(group)
        return [KeyedValues(text, payload) for payload in reversed(payloads)]

    def version(self, group: OnlineGroup) -> int | None:
        """The logical version of the group's table that is here; None: nothing of it was ever written."""
        state = self._backend.state(_name(group))
        return None if state is None else state.version

    # --- writing -----------------------------------------------------------------------------------------------

    def follow(self, group: OnlineGroup, *, now: datetime) -> int:
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

    def session(self, group: OnlineGroup, work: Callable[[Session, str], T], *, synced: bool = False) -> T:
        """What `work` returns, given a transaction and the group's name there; see `OnlineBackend.session`.

        Raises:
            OnlineUnavailableError: The database is away; nothing has changed.
        """
        name = _name(group)
        return self._backend.session(name, lambda session: work(session, name), synced=synced)

    def rebuild(self, group: OnlineGroup, *, now: datetime) -> int:
        """Make a group anew from its table. Readers see it as it was until it is done. As `follow` otherwise."""
        self._bring(group, None, group.table.version(), now)
        return self.follow(group, now=now)  # another's newer facts may have gone with the old

    def _bring(self, group: OnlineGroup, after: int | None, version: int, now: datetime) -> bool:
        """Write the facts after a version; all of them after None."""
        import polars as pl

        state = GroupState(version, microseconds(now - CLOCKS), _shape(group))
        lazy = group.table.scan(version=version, where=pl.col("_version") > (after or 0))
        names = dict.fromkeys([*group.keys, group.time, "known_at", "_version", *group.columns])
        frame = _kept(group.table.collect(lazy.select(*names)), group, now - CLOCKS)
        facts = list(facts_of(frame, group.keys, group.time, list(group.columns)))
        batch = OnlineWrite(facts, after, state, group.online)
        if after is None and group.fed:
            return self.session(group, lambda session, name: _anew(Feed(session, name), session, batch))
        return self._backend.write(_name(group), batch)

    def forget(self, system: str) -> None:
        """Take all groups of a system away, with what feeds them; repeated, it changes nothing.

        Raises:
            StoreError: The database cannot be used.
        """
        prefix = f"{system}/"

        def work(session: Session) -> None:
            for table in ("facts", "groups", "positions", "states", "pending"):
                session.many(f"DELETE FROM {table} WHERE substr(name, 1, {len(prefix)}) = ?", [(prefix,)])  # noqa: S608

        self._backend.session(prefix, work)


def _anew(feed: Feed, session: Session, batch: OnlineWrite) -> bool:
    """Write all facts of a group that a topic feeds: those of its table, and those that it lacks."""
    return session.write(batch._replace(facts=[*batch.facts, *feed.facts()]))


def _opened(uri: str, timeout: float) -> Online:
    return Online(uri, timeout=timeout)


def _name(group: OnlineGroup) -> str:
    return f"{group.system}/{group.name}"


def _absent(group: OnlineGroup) -> NotFoundError:
    hint = f"write to it, or: headrace materialize online {group.system}"
    return NotFoundError("nothing of it is online yet", where=_name(group), hint=hint)


def _shape(group: OnlineGroup) -> str:
    """Facts of another table or another shape are of no use: they are made anew."""
    shape = json.dumps([group.table.id(), group.keys, group.time, [*group.columns], group.online])
    return hashlib.sha256(shape.encode()).hexdigest()[:12]


def _kept(facts: pl.DataFrame, group: OnlineGroup, since: datetime) -> pl.DataFrame:
    """What the database would keep of these facts alone, so that it need not see the rest."""
    import polars as pl

    from headrace.store.facts import latest

    visible = (pl.col(group.time) <= since) & (pl.col("known_at") <= since)
    past = latest(facts.filter(visible), [*group.keys, group.time])
    place = pl.col(group.time).rank("dense", descending=True)
    past = past.filter((place.over(*group.keys) if group.keys else place) <= group.online)
    return pl.concat([past, facts.filter(~visible)])
