"""Tell people of alerts: what is to be told waits in the ledger until a channel has taken it.

A channel is the name of a variable of the environment that holds the addresses, as Apprise writes them. The addresses
stand nowhere else: in no file, no table, no log and no error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from headrace.errors import LedgerError, PluginError
from headrace.lineage import iso
from headrace.settings import secret_of

if TYPE_CHECKING:
    from pydantic import SecretStr

    from headrace.home import Home
    from headrace.ledger.notices import Notice
    from headrace.policy.alerts import Alert
    from headrace.system import System

Kind = Literal["failure", "warning", "success"]
"""How bad a message is, in Apprise's words."""
Send = Callable[["SecretStr", str, str, Kind], str | None]
"""Sends a title and a text to addresses; returns why that failed, without a secret, or None."""

RECENT = timedelta(days=7)
"""What happened longer ago is told only of an alert that is still open: a year that is made up for is no news."""
PAUSES = (0.5, 2.0)
"""Seconds between the tries of one delivery."""
LONGEST = timedelta(hours=1)
"""A message that failed is due again after 1, 2, 4 ... minutes, and this at most."""
CLAIM = timedelta(minutes=10)
"""So long a message is nobody else's, once it is claimed."""
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
    """

    channel: str
    sent: int
    waiting: int
    reason: str | None = None

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
    what = {"raised": "alarm" if at_once else "warning", "escalated": "alarm (was a warning)", "closed": "closed"}
    where = f" of {alert.where}" if alert.where else ""
    told_now = event != "closed" and (event == "escalated" or at_once or alert.alarm_at is None)
    value = f": {alert.value:.4g}" if told_now and alert.value is not None else ""
    limit = f", beyond {alert.threshold:.4g}" if value and alert.threshold is not None else ""
    since = f", raised {iso(alert.raised_at)}" if event != "raised" else ""
    return f"{what[event]}: {alert.rule}{where}{value}{limit} ({iso(moment)}{since}) {alert.id}"


def enqueue(system: System, home: Home, alerts: Sequence[Alert], as_of: datetime) -> int:
    """Keep what is to be told of alerts in the ledger; returns how much of it is new. Repeating it adds nothing.

    Raises:
        LedgerError: The ledger cannot be written.
    """
    notices = news(system.name, alerts, system.monitoring.notify, as_of)
    known = home.ledger.notices.known(notices) if notices else set()  # mostly all of them: then nothing is written
    return home.ledger.notices.put([notice for notice in notices if notice.key not in known])


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
    claimed = notices.claim(system, channel, now=now, until=now + CLAIM, force=force)
    reason = _sent(system, channel, claimed, send or by_apprise) if claimed else None
    if claimed and reason is None:
        notices.sent(claimed, now)
    elif claimed and reason is not None:
        tries = next((waits.tries for waits in notices.waiting(system) if waits.channel == channel), 0)
        notices.failed(claimed, reason, now + min(timedelta(minutes=2 ** min(tries, 10)), LONGEST))
    waiting = next((waits for waits in notices.waiting(system) if waits.channel == channel), None)
    count = 0 if reason is not None else len(claimed)
    return Delivery(channel, count, waiting.messages if waiting else 0, waiting.reason if waiting else None)


def _sent(system: str, channel: str, notices: Sequence[Notice], send: Send) -> str | None:
    """Send them as one message; why that failed."""
    return _tried(channel, *message(system, notices), send)


def _tried(channel: str, title: str, text: str, kind: Kind, send: Send) -> str | None:
    """Send a message, trying several times; why that failed."""
    address = secret_of(channel)
    if address is None:
        return f"the variable {channel} is not set"
    reason = None
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        try:
            reason = send(address, title, text, kind)
        except PluginError as error:
            return f"{error.message}: {error.hint}"
        if reason is None:
            return None
    return reason


def message(system: str, notices: Sequence[Notice]) -> tuple[str, str, Kind]:
    """Title, text and kind of a message about one alert or many.

    >>> from headrace.ledger.notices import Notice
    >>> from datetime import UTC
    >>> one = Notice("energy", "alert-1", "raised", "OPS", datetime(2026, 1, 2, tzinfo=UTC), "alarm: coverage: 0.4")
    >>> message("energy", [one])
    ('energy: 1 alarm', 'alarm: coverage: 0.4', 'failure')
    """
    counts = {"alarm": 0, "warning": 0, "closed": 0}
    for notice in notices:
        counts[next(word for word in counts if notice.text.startswith(word))] += 1
    words = {"alarm": "alarm", "warning": "warning", "closed": "alert closed"}
    parts = [f"{count} {_plural(words[name], count)}" for name, count in counts.items() if count]
    lines = [notice.text for notice in notices[:LINES]]
    lines += [f"and {len(notices) - LINES} more: headrace alerts {system}"] if len(notices) > LINES else []
    kind: Kind = "failure" if counts["alarm"] else "warning" if counts["warning"] else "success"
    return f"{system}: {', '.join(parts)}", "\n".join(lines), kind


def rehearse(system: System, *, send: Send | None = None) -> list[Delivery]:
    """Send a message to every channel of a system that says that it is a trial, past the ledger."""
    text = f"A trial: alerts of {system.name} come here."
    results = []
    for channel in system.monitoring.notify:
        reason = _tried(channel, f"{system.name}: a trial", text, "success", send or by_apprise)
        results.append(Delivery(channel, int(reason is None), int(reason is not None), reason))
    return results


def _waits(delivery: Delivery) -> str:
    return "1 message about an alert waits" if delivery.waiting == 1 else f"{delivery.waiting} messages wait"


def _plural(word: str, count: int) -> str:
    first, _, rest = word.partition(" ")
    return word if count == 1 else f"{first}s {rest}".strip()


def by_apprise(address: SecretStr, title: str, text: str, kind: Kind) -> str | None:
    """Send by Apprise, whose own log may quote an address, and is kept silent.

    Raises:
        PluginError: Apprise is not installed.
    """
    try:
        import apprise
    except ImportError as error:
        raise PluginError("Apprise is not installed", hint="pip install 'headrace[notify]'") from error
    apprise.logger.disabled = True
    channel = apprise.Apprise()
    if not channel.add(address.get_secret_value()):
        return "an address in it is none that Apprise knows"
    taken = channel.notify(title=title, body=text, notify_type=apprise.NotifyType(kind), body_format="text")
    return None if taken else "the channel did not take it"


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
    if not system.monitoring.notify or home.settings.rehearsal:
        return []
    try:
        enqueue(system, home, alerts(), as_of)
        return [
            f"{_waits(d)} for {d.channel}: {d.reason or 'another process sends them'}"
            for d in deliver(system.name, home, now=now)
            if d.waiting
        ]
    except LedgerError as error:
        return [f"alerts were not told, the next run tells them: {error.message}"]
