"""Tell people of alerts: what is to be told waits in the ledger until a channel has taken it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from headrace.errors import LedgerError
from headrace.legible import inert
from headrace.lineage import iso
from headrace.loop.channels import AlertMessage, Kind, Send, addresses_of, by_apprise, mark_of, send_to, time_up

if TYPE_CHECKING:
    from pydantic import SecretStr

    from headrace.home import Home
    from headrace.ledger.notices import Notice
    from headrace.policy.alerts import Alert
    from headrace.system import System

RECENT = timedelta(days=7)
"""What happened longer ago is told only of an alert that is still open: a year that is made up for is no news."""
LONGEST = timedelta(hours=1)
"""A message that failed is due again after 1, 2, 4 ... minutes, and this at most."""
CLAIM = timedelta(minutes=10)
"""So long a message is nobody else's, once it is claimed."""
NO_MORE = "monitoring.notify names it no more"
"""Why what waits for a channel is given up."""
LINES = 40
"""So many lines of one message; what is left out is counted."""


@dataclass(frozen=True)
class Delivery:
    """What became of the messages of one channel.

    Attributes:
        channel: The name of the channel.
        sent: How many alerts' messages it has taken, all in one.
        waiting: How many wait for the next time.
        reason: Why; None where none waits.
        given_up: How many are sent no more, as the system no longer names the channel.
    """

    channel: str
    sent: int
    waiting: int
    reason: str | None = None
    given_up: int = 0

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return dict(vars(self))


def news(system: str, alerts: Sequence[Alert], channels: Sequence[str], as_of: datetime) -> list[Notice]:
    """What is to be told of alerts: that each was raised, became an alarm, was closed.

    Of what is long past only that an alert was raised which is open still.

    Args:
        system: The system's name.
        alerts: As they stand.
        channels: Names of channels.
        as_of: What is long past is told by this time, UTC.
    """
    from headrace.ledger.notices import Notice

    return [
        Notice(system, alert.id, event, channel, moment, _line(alert, event, moment))
        for alert in alerts
        for event, moment in _events(alert)
        if moment > as_of - RECENT or alert.is_open
        for channel in channels
    ]


def _events(alert: Alert) -> Iterator[tuple[str, datetime]]:
    yield "raised", alert.raised_at
    if alert.alarm_at is not None and alert.alarm_at > alert.raised_at:
        yield "escalated", alert.alarm_at
    if alert.closed_at is not None:
        yield "closed", alert.closed_at


def _line(alert: Alert, event: str, moment: datetime) -> str:
    """One event in a line, as it was then: what is known later is not part of it."""
    at_once = alert.alarm_at == alert.raised_at
    words = {"raised": "alarm" if at_once else "warning", "escalated": "alarm (was a warning)", "closed": "closed"}
    words["again"] = f"{alert.severity} after all"
    where = f" of {inert(alert.where)}" if alert.where else ""
    told_now = event != "closed" and (event != "raised" or at_once or alert.alarm_at is None)
    value = f": {alert.value:.4g}" if told_now and alert.value is not None else ""
    limit = f", beyond {alert.threshold:.4g}" if value and alert.threshold is not None else ""
    evidence = f": {inert(str(alert.evidence['says']))}" if value and alert.evidence.get("says") else ""
    since = f", raised {iso(alert.raised_at)}" if event != "raised" else ""
    return f"{words[event]}: {alert.rule}{where}{value}{limit}{evidence} ({iso(moment)}{since}) {alert.id}"


def enqueue(system: System, home: Home, alerts: Sequence[Alert], as_of: datetime) -> int:
    """Keep what is to be told of alerts in the ledger; returns how much of it is new. Repeating it adds nothing.

    What was told and stands no more, or stands again, is told too.

    Raises:
        LedgerError: The ledger cannot be written.
    """
    from headrace.loop.corrections import corrections

    channels, stored = system.monitoring.notify, home.ledger.notices
    notices = news(system.name, alerts, channels, as_of)
    known = stored.known(notices) if notices else set()  # mostly all of them: then nothing is written
    count = stored.put([notice for notice in notices if notice.key not in known])
    standing = {alert.id: alert for alert in alerts}
    reports = stored.reported(system.name, channels, [alert.id for alert in alerts if alert.is_open])
    return count + stored.put(
        [
            notice if alert is None else notice._replace(text=_line(alert, _again(notice.event), notice.time))
            for notice, alert in corrections(system.name, standing, reports, as_of)
        ]
    )


def _again(event: str) -> str:
    """How a line of a correction says what happened."""
    return "closed" if event.startswith("closed") else "again"


def give_up(system: System, home: Home, *, now: datetime) -> list[Delivery]:
    """Let go of what waits for channels that the system no longer names: the ledger keeps that, and it is never sent.

    Args:
        system: The declaration.
        home: Where the ledger is.
        now: The clock's time, UTC.

    Returns:
        A delivery for each such channel, with nothing sent and nothing waiting.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    if not home.has_ledger:
        return []
    lost = home.ledger.notices.give_up(system.name, system.monitoring.notify, now)
    return [Delivery(row.channel, 0, 0, NO_MORE, row.messages) for row in lost]


def given_up(system: str, home: Home) -> list[str]:
    """What was never told as its channel was taken out, in a line for each channel.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    if not home.has_ledger:
        return []
    return [
        f"{_messages(row.messages)} for {row.channel}, the last at {iso(row.time)}: {NO_MORE}"
        for row in home.ledger.notices.given_up(system)
    ]


def deliver(system: str, home: Home, *, now: datetime, force: bool = False, send: Send | None = None) -> list[Delivery]:
    """Send what waits, of each channel in one message; what cannot be sent waits on, and is due again later.

    A process that dies between sending a message and noting it leaves it to be sent once more, no more than that.

    Args:
        system: The system's name.
        home: Where the ledger is.
        now: The clock's time, UTC.
        force: Try again at once what failed before.
        send: Sends; by Apprise where it is not given.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    if not home.has_ledger:
        return []
    return [_delivered(system, home, waits.channel, now, force, send) for waits in home.ledger.notices.waiting(system)]


def _delivered(system: str, home: Home, channel: str, now: datetime, force: bool, send: Send | None) -> Delivery:
    notices = home.ledger.notices
    claimed = notices.claim(system, channel, now=now, until=now + CLAIM, latest=now + LONGEST, force=force)
    reason = _sent(home, system, claimed, now, send or by_apprise) if claimed else None
    if claimed and reason is None:
        notices.sent(claimed, now)
    elif claimed and reason is not None:
        tries = next((waits.tries for waits in notices.waiting(system) if waits.channel == channel), 0)
        notices.failed(claimed, reason, now + min(timedelta(minutes=2 ** min(tries, 10)), LONGEST))
    waiting = next((waits for waits in notices.waiting(system) if waits.channel == channel), None)
    count = 0 if reason is not None else len(claimed)
    return Delivery(channel, count, waiting.messages if waiting else 0, waiting.reason if waiting else None)


def _sent(home: Home, system: str, claimed: Sequence[Notice], now: datetime, send: Send) -> str | None:
    """Send messages of one channel, each address those that it has not taken yet, as one; why some wait on."""
    addresses = addresses_of(claimed[0].channel)
    if isinstance(addresses, str):
        return addresses
    reasons, end = list[str](), time_up()
    for address in addresses:
        lacking = _lacking(home, claimed, address) if len(addresses) > 1 else list(claimed)
        if not lacking:
            continue
        reason = send_to(address, AlertMessage(*message(system, lacking)), send, end)
        reasons += [] if reason is None else [reason]
        if reason is None and len(addresses) > 1:  # while another is down, it is not told again and again
            home.ledger.notices.taken([_at(notice, address) for notice in lacking], now)
    if not reasons:
        return None
    return reasons[0] if len(addresses) == 1 else f"{len(reasons)} of {len(addresses)} addresses: {reasons[0]}"


def _lacking(home: Home, claimed: Sequence[Notice], address: SecretStr) -> list[Notice]:
    """Those that one of several addresses has not taken."""
    known = home.ledger.notices.known([_at(notice, address) for notice in claimed])
    return [notice for notice in claimed if _at(notice, address).key not in known]


def _at(notice: Notice, address: SecretStr) -> Notice:
    """A message at one address of its channel: a name with a space in it is no channel's own."""
    return notice._replace(channel=f"{notice.channel} {mark_of(address)}")


def message(system: str, notices: Sequence[Notice]) -> tuple[str, str, Kind]:
    """Title, text and kind of a message about one alert or many.

    >>> from headrace.ledger.notices import Notice
    >>> from datetime import UTC
    >>> one = Notice("energy", "alert-1", "raised", "OPS", datetime(2026, 1, 2, tzinfo=UTC), "alarm: coverage: 0.4")
    >>> message("energy", [one])
    ('energy: 1 alarm', 'alarm: coverage: 0.4', 'failure')
    """
    counts = {"alarm": 0, "warning": 0, "closed": 0, "withdrawn": 0}
    for notice in notices:
        counts[next(word for word in counts if notice.text.startswith(word))] += 1
    words = {"alarm": "alarm", "warning": "warning", "closed": "alert closed", "withdrawn": "alert withdrawn"}
    parts = [f"{count} {_plural(words[name], count)}" for name, count in counts.items() if count]
    lines = [notice.text for notice in notices[:LINES]]
    lines += [f"and {len(notices) - LINES} more: headrace alerts {system}"] if len(notices) > LINES else []
    kind: Kind = "failure" if counts["alarm"] else "warning" if counts["warning"] else "success"
    return f"{system}: {', '.join(parts)}", "\n".join(lines), kind


def rehearse(system: System, *, send: Send | None = None) -> list[Delivery]:
    """Send a message to every channel of a system that says that it is a trial, past the ledger."""
    trial = AlertMessage(f"{system.name}: a trial", f"A trial: alerts of {system.name} come here.", "success")
    return [_rehearsed(channel, trial, send or by_apprise) for channel in system.monitoring.notify]


def _rehearsed(channel: str, trial: AlertMessage, send: Send) -> Delivery:
    addresses = addresses_of(channel)
    if isinstance(addresses, str):
        return Delivery(channel, 0, 1, addresses)
    end = time_up()
    answers = [send_to(address, trial, send, end) for address in addresses]
    reasons = [reason for reason in answers if reason is not None]
    return Delivery(channel, int(not reasons), int(bool(reasons)), reasons[0] if reasons else None)


def _waits(delivery: Delivery) -> str:
    return "1 message about an alert waits" if delivery.waiting == 1 else f"{delivery.waiting} messages wait"


def _messages(count: int) -> str:
    return "1 message was given up" if count == 1 else f"{count} messages were given up"


def _plural(word: str, count: int) -> str:
    first, _, rest = word.partition(" ")
    return word if count == 1 else f"{first}s {rest}".strip()


def notify(
    system: System, home: Home, alerts: Callable[[], Sequence[Alert]], *, as_of: datetime, now: datetime
) -> list[str]:
    """Tell what there is to tell, where the system names a channel; returns what people should know of it.

    What cannot be kept or sent now is kept and sent by the next run, so nothing here ends a run.

    Args:
        system: The declaration.
        home: Where the ledger is.
        alerts: Gives the alerts as they stood at `as_of`.
        as_of: The run's time, UTC.
        now: The clock's time, UTC.
    """
    if home.settings.rehearsal:
        return []
    try:
        warnings = [f"{_messages(d.given_up)} for {d.channel}: {d.reason}" for d in give_up(system, home, now=now)]
        if not system.monitoring.notify:
            return warnings
        enqueue(system, home, alerts(), as_of)
        return warnings + [
            f"{_waits(d)} for {d.channel}: {d.reason or 'another process sends them'}"
            for d in deliver(system.name, home, now=now)
            if d.waiting
        ]
    except LedgerError as error:
        return [f"alerts were not told, the next run tells them: {error.message}"]
