"""Evaluation times: multiples of `Monitoring.every` since 1970, whichever runs there were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.system import System

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spacing(system: System) -> timedelta:
    """From one evaluation time to the next: as declared, but never shorter than from one run to the next."""
    runs = system.schedule.predict
    return system.monitoring.every if runs is None else max(system.monitoring.every, runs)


def times_between(first: datetime, last: datetime, every: timedelta) -> list[datetime]:
    """The evaluation times from `first` to `last`, both included, UTC.

    >>> [time.day for time in times_between(EPOCH + timedelta(hours=1), EPOCH + timedelta(days=3), timedelta(days=1))]
    [2, 3, 4]
    """
    begin, end = -((EPOCH - first) // every), (last - EPOCH) // every
    return [EPOCH + place * every for place in range(begin, end + 1)]


def last_before(time: datetime, every: timedelta) -> datetime:
    """The newest evaluation time that is not later, UTC."""
    return EPOCH + (time - EPOCH) // every * every
