"""Channels: what a variable of the environment holds, one or more addresses, and how a message gets to each of them.

The addresses stand nowhere else: in no file, no table, no log and no error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import SecretStr

from headrace.errors import PluginError
from headrace.lineage import digest_of
from headrace.settings import secret_of

Kind = Literal["failure", "warning", "success"]
"""How bad a message is, in Apprise's words."""
Send = Callable[[SecretStr, str, str, Kind], str | None]
"""Sends a title and a text to one address; returns why that failed, without a secret, or None."""

PAUSES = (0.5, 2.0)
"""Seconds between the tries of one delivery."""
PATIENCE = 20.0
"""Seconds that one address has for an answer; it may dribble."""
ALTOGETHER = 60.0
"""Seconds for all addresses of a channel: one that is not reached by then waits."""


class AlertMessage(NamedTuple):
    """What is sent.

    Attributes:
        title: In a line.
        text: The lines below it.
        kind: How bad it is.
    """

    title: str
    text: str
    kind: Kind


def addresses_of(channel: str) -> list[SecretStr] | str:
    """The addresses of a channel, or why there is none.

    Args:
        channel: The name of the variable that holds them.
    """
    value = secret_of(channel)
    if value is None:
        return f"the variable {channel} is not set"
    try:
        from apprise.utils.parse import parse_urls
    except ImportError:
        return "Apprise is not installed: pip install 'headrace[notify]'"
    found: list[str] = parse_urls(value.get_secret_value())  # type: ignore[no-untyped-call]
    return [SecretStr(address) for address in found] or "an address in it is none that Apprise knows"


def mark_of(address: SecretStr) -> str:
    """What tells an address from others, and gives nothing of it away: 32 bits of a digest."""
    return digest_of(["an address of a channel", address.get_secret_value()])[:8]


def time_up() -> float:
    """When the time for all addresses of a channel is up, by the monotonic clock."""
    return time.monotonic() + ALTOGETHER


def send_to(address: SecretStr, message: AlertMessage, send: Send, end: float) -> str | None:
    """Send to one address until it takes the message, or the time is up; why it did not, without a secret.

    Args:
        address: Where to.
        message: What.
        send: Sends.
        end: From `time_up`.
    """
    reason: str | None = "the time of the channel was up before its turn"
    for pause in (0.0, *PAUSES):
        if time.monotonic() + pause >= end:
            break
        time.sleep(pause)
        attempt = _Try(send, (address, *message))
        if not attempt.ends_within(min(PATIENCE, end - time.monotonic())):
            return f"the channel did not answer within {PATIENCE:g} seconds"
        try:
            reason = attempt.result()
        except PluginError as error:
            return f"{error.message}: {error.hint}"
        if reason is None:
            return None
    return reason


class _Try:
    """One try, in a thread of its own: what does not answer is left behind, and ends with the process at the latest."""

    def __init__(self, send: Send, arguments: tuple[SecretStr, str, str, Kind]) -> None:
        self._send, self._arguments = send, arguments
        self._reason: str | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, daemon=True, name="headrace-notify")

    def _do(self) -> None:
        try:
            self._reason = self._send(*self._arguments)
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            self._error = error

    def ends_within(self, seconds: float) -> bool:
        """Whether it came to an end within this time."""
        self._thread.start()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> str | None:
        if self._error is not None:
            raise self._error
        return self._reason


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
