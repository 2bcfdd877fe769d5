"""What a webhook refused for good: to be listed, sent again, or let go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.errors import UsageError
from headrace.home import Home
from headrace.serving.passing.documents import layout_of
from headrace.serving.passing.run import FOLDER, uri_of
from headrace.sinks import SinkContext
from headrace.sinks.address import Address
from headrace.sinks.journal import DeadLetter, Journal
from headrace.sinks.webhook import Webhook, journal_of
from headrace.system import System

_PART = 100
"""Letters that are looked at at once."""


def listed(system: System, home: Home, to: str, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The oldest letters, ``number at status reason key id count body``, and how many there are.

    Raises:
        UsageError: The target keeps none.
        StoreError: The journal cannot be read.
    """
    rows: list[dict[str, Any]] = []
    total = 0
    for journal in _journals(system, home, to):
        total += journal.count()[1]
        rows += [_described(letter) for letter in journal.letters(limit - len(rows))] if len(rows) < limit else []
    return rows, total


def settle(system: System, home: Home, to: str, *, resend: bool) -> dict[str, Any]:
    """Send all letters again, or let them go; returns ``target`` and what was ``resent refused expired``.

    Raises:
        UsageError: The target keeps none.
        SinkError: The target is away, or refuses to be asked.
        StoreError: The journal cannot be read or written.
    """
    address, counts = _address(home, to), {"resent": 0, "refused": 0, "expired": 0}
    secret = home.settings.sink_secret
    place = SinkContext(home.path / FOLDER, None if secret is None else secret.get_secret_value())
    for journal in _journals(system, home, to):
        sink = Webhook(address, layout_of(system, ""), place, journal=journal)
        try:
            after = 0
            while letters := journal.letters(_PART, after):
                after = letters[-1].parcel.number
                if resend:
                    sent = sink.resend(letters)
                    counts["resent"], counts["refused"] = (
                        counts["resent"] + sent.passed,
                        counts["refused"] + sent.refused,
                    )
                else:
                    journal.settle([letter.parcel.number for letter in letters])
                    counts["expired"] += sum(letter.parcel.size for letter in letters)
        finally:
            sink.close()
    return {"system": system.name, "target": address.shown, **counts}


def _journals(system: System, home: Home, target: str) -> Iterator[Journal]:
    address = _address(home, target)
    pattern = journal_of(address, system.name, "*", home.path / FOLDER)
    for path in sorted(pattern.parent.glob(pattern.name)):
        journal = Journal(path, alone=False)
        try:
            yield journal
        finally:
            journal.close()


def _address(home: Home, target: str) -> Address:
    address = Address.of(uri_of(home, target))
    if address.scheme not in ("http", "https"):
        raise UsageError("only a webhook refuses single predictions", where=address.shown)
    return address


def _described(letter: DeadLetter) -> dict[str, Any]:
    parcel = letter.parcel
    return {
        "number": parcel.number,
        "at": letter.at,
        "status": letter.status,
        "reason": letter.reason,
        "key": parcel.keys,
        "id": parcel.name,
        "count": parcel.size,
        "body": parcel.body.decode(),
    }
