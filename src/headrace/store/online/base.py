"""What a database must do for the online side: the protocol of its back ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class OnlineFact(NamedTuple):
    """A fact as a database holds it. Times are microseconds since 1970 in UTC; only readers look into the payload."""

    key: str
    time: int
    known_at: int
    version: int
    payload: bytes


class GroupState(NamedTuple):
    """How current a group is.

    Attributes:
        version: Logical version of the group's table that is here.
        since: Readers from this time on (microseconds since 1970) are answered in full.
        shape: Digest of what the facts here are made from: the table, keys, columns, how many are kept.
    """

    version: int
    since: int
    shape: str


class OnlineWrite(NamedTuple):
    """What one write brings.

    Attributes:
        facts: The facts, each with a key, time, known time and version of its own; none that would be dropped at once
            for others among them.
        after: The group's version that the facts follow; None: they are all there is, whatever was here before goes.
        state: What holds when they are there.
        keep: Event times that are kept of every key, of those that all readers from ``state.since`` on can see.
    """

    facts: Sequence[OnlineFact]
    after: int | None
    state: GroupState
    keep: int


class Session(Protocol):
    """One transaction of the only writer of a group: statements in SQL that both databases understand."""

    def state(self) -> GroupState | None:
        """As `OnlineBackend.state`, within the transaction."""

    def write(self, batch: OnlineWrite) -> bool:
        """As `OnlineBackend.write`, as a part of the transaction."""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a statement gives. Parameters are question marks; ``AMONG ?`` is one of the list that `texts` gives."""

    def many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """The same statement with many parameters."""

    def texts(self, values: Sequence[str]) -> Any:
        """A list of texts as one parameter."""


class OnlineBackend(Protocol):
    """One kind of database. Any number of threads and processes may call every method at once.

    Every wait is bounded. A failure is a `StoreError`: `OnlineUnavailableError` where the same may be tried again. A
    failed or killed write leaves what was there before.
    """

    embedded: bool
    """Whether it answers without a network, so quickly that an event loop may wait for it."""

    def state(self, group: str) -> GroupState | None:
        """Called before every write, and by whoever asks how current a group is. None: it was never written."""

    def newest(self, group: str, keys: Sequence[str], as_of: int) -> tuple[GroupState, list[bytes | None]] | None:
        """Called for every look-up; the path that must be quick.

        Per key, in their order, the payload of the greatest fact by (time, known time, version) among those whose time
        and known time are at most `as_of`; and the state at that very moment. None: the group was never written.
        """

    def last(self, group: str, key: str, count: int, as_of: int) -> list[bytes]:
        """Called for the history of a series: the payloads of its `count` newest event times, newest first.

        Of each event time that of the greatest fact by (known time, version), among those that `newest` looks at.
        """

    def write(self, group: str, batch: OnlineWrite) -> bool:
        """Called after every write to the table, and by a rebuild.

        In one transaction: add the facts that are not here yet, drop what no reader from ``state.since`` on can be
        answered with, set the state. Version and `since` only grow, unless everything is replaced. Writing the same
        again changes nothing. False, and nothing is written, where the group is not at ``batch.after`` or later any
        more, or has another shape: someone made it anew meanwhile; the caller looks again.
        """

    def session(self, group: str, work: Callable[[Session], T], *, synced: bool = False) -> T:
        """Called for every batch of events of a group that a topic feeds, and before its rows go into the table.

        What `work` returns, in one transaction; no other writer of the group is at work meanwhile. It outlives the
        death of any process, the database's too; where it is `synced`, it and all before it outlive a loss of power.
        An exception of `work` undoes it. `work` may be called twice, where a connection has died: it looks first at
        what is there.
        """

    def close(self) -> None:
        """Close all connections. The next call opens new ones."""
