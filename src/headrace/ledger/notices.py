"""What people are to be told: messages that wait in the ledger until their channel has taken them, so none is lost.

A message is claimed before it is sent and marked after it was taken. Whoever claims it has it alone for a while; a
process that dies in between leaves it to the next one. So each is sent once, and after a death once more at the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, case, func, insert, or_, select, tuple_, update

from headrace.ledger.database import Database
from headrace.ledger.tables import notices

_AT_ONCE = 500
_KEY = (notices.c.system, notices.c.alert, notices.c.event, notices.c.channel)


class Notice(NamedTuple):
    """One thing to be told, on one channel.

    Attributes:
        system: Name of the system.
        alert: Id of the alert that it is about.
        event: What happened to it: ``raised``, ``escalated``, ``closed``, ``withdrawn``; later ones are numbered.
        channel: The name of the channel; never its address.
        time: When that happened, UTC.
        text: What is told, in one line.
    """

    system: str
    alert: str
    event: str
    channel: str
    time: datetime
    text: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from others: the same is told once."""
        return self.system, self.alert, self.event, self.channel


class WaitingNotices(NamedTuple):
    """What waits for one channel.

    Attributes:
        channel: Its name.
        messages: How many.
        tries: How often the one that was tried most was tried.
        reason: Why the last try failed; None where there was none.
    """

    channel: str
    messages: int
    tries: int
    reason: str | None


class GivenUpNotices(NamedTuple):
    """What was not told, as its channel was taken out.

    Attributes:
        channel: The channel that it waited for.
        messages: How many.
        time: When the last of them was given up, by the clock, UTC.
    """

    channel: str
    messages: int
    time: datetime


class ReportedAlert(NamedTuple):
    """What is stored of one alert on one channel, told or still waiting, but not given up.

    Attributes:
        alert: Its id.
        channel: The channel.
        raised: How often it was raised.
        ended: How often it was closed or withdrawn.
        time: Of the last of these events, UTC.
        text: What was told first.
    """

    alert: str
    channel: str
    raised: int
    ended: int
    time: datetime
    text: str


class Notices:
    """The messages of all systems. Errors are those of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, messages: Sequence[Notice]) -> int:
        """Store messages, in one durable transaction; returns how many are new. The first text of a key stays."""

        def work(connection: Connection) -> int:
            known = _known(connection, messages)
            new = [notice for notice in messages if notice.key not in known]
            if new:
                connection.execute(insert(notices), [{**notice._asdict(), "tries": 0} for notice in new])
            return len(new)

        return self._database.write(work) if messages else 0

    def known(self, keys: Sequence[Notice]) -> set[tuple[str, str, str, str]]:
        """Which of these messages are stored, sent or not, by their keys."""
        return self._database.read(lambda connection: _known(connection, keys))

    def claim(
        self,
        system: str,
        channel: str,
        *,
        now: datetime,
        until: datetime,
        latest: datetime | None = None,
        force: bool = False,
    ) -> list[Notice]:
        """Take the messages of a channel that are due, oldest first: until that time nobody else gets them.

        Args:
            system: Name of the system.
            channel: Name of the channel.
            now: The clock's time, UTC.
            until: When the claim ends, UTC, if neither `sent` nor `failed` ends it before. A claim that ends later was
                made by a clock that has gone back since, and holds no more.
            latest: One that is due later than this, UTC, was put off by such a clock, and is due; None: no such time.
            force: Those too that failed, and wait for their next try.
        """
        waits = _waits(system, channel)
        free = or_(notices.c.claimed_until.is_(None), notices.c.claimed_until <= now, notices.c.claimed_until > until)
        put_back = [] if latest is None else [notices.c.due > latest]
        its_time = or_(notices.c.due.is_(None), notices.c.due <= now, *put_back)
        due = and_(waits, free) if force else and_(waits, free, its_time)

        def work(connection: Connection) -> list[Notice]:
            columns = [notices.c[name] for name in Notice._fields]
            query = select(*columns).where(due).order_by(notices.c.time, notices.c.alert, notices.c.event)
            claimed = [Notice(*row) for row in connection.execute(query)]
            _change(connection, claimed, {"claimed_until": until})
            return claimed

        return self._database.write(work)

    def sent(self, messages: Sequence[Notice], now: datetime) -> None:
        """Say that the channel has taken messages; `now` by the clock, UTC."""
        values = {"sent_at": now, "claimed_until": None, "reason": None}
        self._database.write(lambda connection: _change(connection, messages, values))

    def taken(self, messages: Sequence[Notice], now: datetime) -> None:
        """Keep messages that were sent already, in one durable transaction. `now` by the clock, UTC."""

        def work(connection: Connection) -> None:
            known = _known(connection, messages)
            new = [notice for notice in messages if notice.key not in known]
            if new:
                rows = [{**notice._asdict(), "tries": 0, "sent_at": now} for notice in new]
                connection.execute(insert(notices), rows)

        self._database.write(work)

    def failed(self, messages: Sequence[Notice], reason: str, due: datetime) -> None:
        """Say that the channel took none of them, why, and when they are due again (UTC). No secret in `reason`."""
        values = {"tries": notices.c.tries + 1, "reason": reason, "due": due, "claimed_until": None}
        self._database.write(lambda connection: _change(connection, messages, values))

    def release(self, messages: Sequence[Notice]) -> None:
        """Give claimed messages back untried."""
        self._database.write(lambda connection: _change(connection, messages, {"claimed_until": None}))

    def give_up(self, system: str, channels: Sequence[str], now: datetime) -> list[GivenUpNotices]:
        """Let go of what waits for any other channel than these, in one durable transaction; what was let go.

        One that is being sent meanwhile counts as sent once its channel has taken it.

        Args:
            system: Name of the system.
            channels: Those that it still has.
            now: The clock's time, UTC.
        """
        removed = and_(_waits(system), notices.c.channel.not_in(channels))

        def work(connection: Connection) -> list[GivenUpNotices]:
            query = select(notices.c.channel, func.count()).where(removed).group_by(notices.c.channel)
            ordered = query.order_by(notices.c.channel)
            lost = [GivenUpNotices(channel, count, now) for channel, count in connection.execute(ordered)]
            if lost:
                connection.execute(update(notices).where(removed).values(given_up_at=now))
            return lost

        return self._database.write(work) if {row.channel for row in self.waiting(system)} - set(channels) else []

    def given_up(self, system: str) -> list[GivenUpNotices]:
        """What was not told, by channel."""
        counts = func.count(), func.max(notices.c.given_up_at, type_=notices.c.given_up_at.type)
        lost = and_(notices.c.system == system, notices.c.sent_at.is_(None), notices.c.given_up_at.is_not(None))
        query = select(notices.c.channel, *counts).where(lost).group_by(notices.c.channel).order_by(notices.c.channel)
        return self._database.read(lambda connection: [GivenUpNotices(*row) for row in connection.execute(query)])

    def reported(self, system: str, channels: Sequence[str], alerts: Sequence[str] = ()) -> list[ReportedAlert]:
        """What stands of alerts on channels by what was put for them, given up aside: those raised and not ended.

        Args:
            system: Name of the system.
            channels: Their names.
            alerts: These too, by their ids, though they ended.
        """

        def work(connection: Connection) -> list[ReportedAlert]:
            reports = {ReportedAlert(*row) for row in connection.execute(_reported(system, channels))}
            for first in range(0, len(alerts), _AT_ONCE):
                query = _reported(system, channels, alerts[first : first + _AT_ONCE])
                reports |= {ReportedAlert(*row) for row in connection.execute(query)}
            return sorted(reports, key=lambda report: (report.alert, report.channel))

        return self._database.read(work) if channels else []

    def waiting(self, system: str) -> list[WaitingNotices]:
        """What waits, by channel."""

        def work(connection: Connection) -> list[WaitingNotices]:
            counts = func.count(), func.max(notices.c.tries), func.max(notices.c.reason)
            query = select(notices.c.channel, *counts).where(_waits(system)).group_by(notices.c.channel)
            return [WaitingNotices(*row) for row in connection.execute(query.order_by(notices.c.channel))]

        return self._database.read(work)

    def read(self, system: str, *, limit: int = 1000) -> list[tuple[Notice, datetime | None]]:
        """The newest messages, newest first, each with when it was sent (by the clock, UTC); None while it waits."""
        columns = [notices.c[name] for name in (*Notice._fields, "sent_at")]
        query = select(*columns).where(notices.c.system == system)
        query = query.order_by(notices.c.time.desc(), notices.c.alert, notices.c.event, notices.c.channel).limit(limit)

        def work(connection: Connection) -> list[tuple[Notice, datetime | None]]:
            return [(Notice(*row[:-1]), row[-1]) for row in connection.execute(query)]

        return self._database.read(work)


def _waits(system: str, channel: str | None = None) -> Any:
    """Whether a row is of a system, and of a channel, and is still to be sent."""
    waits = and_(notices.c.system == system, notices.c.sent_at.is_(None), notices.c.given_up_at.is_(None))
    return waits if channel is None else and_(waits, notices.c.channel == channel)


def _reported(system: str, channels: Sequence[str], alerts: Sequence[str] | None = None) -> Select[Any]:
    """Alerts on channels with what happened to them: of some, or of those that were raised more often than ended."""
    is_raised, is_first = notices.c.event.startswith("raised"), notices.c.event == "raised"
    is_end = or_(notices.c.event.startswith("closed"), notices.c.event.startswith("withdrawn"))
    raised, ended = (func.sum(case((event, 1), else_=0)) for event in (is_raised, is_end))
    time = func.max(case((or_(is_raised, is_end), notices.c.time)), type_=notices.c.time.type)
    text = func.max(case((is_first, notices.c.text)))
    stands = or_(notices.c.sent_at.is_not(None), notices.c.given_up_at.is_(None))
    condition = and_(notices.c.system == system, notices.c.channel.in_(channels), stands)
    query = select(notices.c.alert, notices.c.channel, raised, ended, time, text).where(condition)
    if alerts is not None:
        query = query.where(notices.c.alert.in_(alerts))
    query = query.group_by(notices.c.alert, notices.c.channel).having(text.is_not(None))
    return query if alerts is not None else query.having(raised > ended)


def _known(connection: Connection, messages: Sequence[Notice]) -> set[tuple[str, str, str, str]]:
    known: set[tuple[str, str, str, str]] = set()
    for first in range(0, len(messages), _AT_ONCE):
        keys = [notice.key for notice in messages[first : first + _AT_ONCE]]
        known |= {tuple(row) for row in connection.execute(select(*_KEY).where(tuple_(*_KEY).in_(keys)))}
    return known


def _change(connection: Connection, messages: Sequence[Notice], values: dict[str, Any]) -> None:
    """Change rows that were not sent yet."""
    for first in range(0, len(messages), _AT_ONCE):
        keys = [notice.key for notice in messages[first : first + _AT_ONCE]]
        change = update(notices).where(tuple_(*_KEY).in_(keys), notices.c.sent_at.is_(None))
        connection.execute(change.values(values))
