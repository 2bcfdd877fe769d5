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


def opens_day(time: datetime, every: timedelta) -> bool:
    """Whether an evaluation time is the first of its day, UTC; where they are a day apart or more, each is.

    >>> hours = [EPOCH + timedelta(hours=place) for place in (0, 6, 18, 24)]
    >>> [opens_day(time, timedelta(hours=6)) for time in hours], opens_day(hours[1], timedelta(days=1))
    ([True, False, False, True], True)
    """
    return time - every < EPOCH + (time - EPOCH) // timedelta(days=1) * timedelta(days=1)
