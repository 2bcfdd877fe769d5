"""What late truth, or other rules, make of alerts that people were told of: withdrawn, closed after all, or back again.

What was told is compared with what stands. So it does not matter which run finds the difference, or whether one died.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.ledger.notices import Notice

if TYPE_CHECKING:
    from headrace.ledger.notices import ReportedAlert
    from headrace.policy.alerts import Alert


def corrections(
    system: str, alerts: Mapping[str, Alert], reports: Sequence[ReportedAlert], as_of: datetime
) -> Iterator[tuple[Notice, Alert | None]]:
    """What is to be told anew of alerts that were told, and the alert where one stands; the text is still to be made.

    Args:
        system: The system's name.
        alerts: As they stand at `as_of`, by id.
        reports: What was told of alerts.
        as_of: A later one is left to a run as of then, UTC.

    >>> from datetime import UTC
    >>> from headrace.ledger.notices import ReportedAlert
    >>> time = datetime(2026, 1, 2, tzinfo=UTC)
    >>> report = ReportedAlert("alert-1", "OPS", 1, 0, time, "warning: coverage (2026-01-02T00:00:00Z) alert-1")
    >>> [notice.event for notice, _ in corrections("energy", {}, [report], time)]
    ['withdrawn']
    """
    for report in reports:
        if report.time > as_of:
            continue
        alert, stands = alerts.get(report.alert), report.raised > report.ended
        base = Notice(system, report.alert, "", report.channel, as_of, "")
        if alert is None and stands:
            what = f"withdrawn: by what is known now it was never raised; told was: {report.text}"
            yield base._replace(event=_numbered("withdrawn", report.ended), text=what), None
        elif alert is not None and alert.closed_at is not None and stands:
            yield base._replace(event=_numbered("closed", report.ended), time=alert.closed_at), alert
        elif alert is not None and alert.is_open and not stands:
            yield base._replace(event=_numbered("raised", report.raised)), alert


def _numbered(event: str, before: int) -> str:
    """An event's name; from the second on with its number, as each is told once."""
    return f"{event} {before + 1}" if before else event
