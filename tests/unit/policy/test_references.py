"""With whose training the data of a time are compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headrace.loop.eras import Reign, reference_at

BEGIN, DAY = datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=1)


def reign(version: int, promoted: int, since: int) -> Reign:
    return Reign(version, BEGIN + promoted * DAY, BEGIN + since * DAY)


DAILY = [reign(number + 1, number, 0) for number in range(10)]
ANSWERED = [*DAILY[:5], reign(6, 5, 5), reign(7, 6, 5)]
"""Version 6 is what an alarm led to."""


@pytest.mark.parametrize(
    ("reigning", "day", "recent", "version"),
    [
        (DAILY, 7, 3, 5),
        (DAILY, 7, 0, 7),  # the version that predicted before
        (DAILY, 2, 3, 1),  # none is as old
        (DAILY[:1], 30, 3, 1),
        (ANSWERED, 7, 3, 6),  # what was promoted as an answer is compared with at once
        (ANSWERED, 9, 3, 7),
        (ANSWERED, 5, 3, 3),
    ],
)
def test_it_is_the_newest_that_cannot_have_learnt_what_is_recent(
    reigning: list[Reign], day: int, recent: int, version: int
) -> None:
    assert reference_at(reigning, BEGIN + day * DAY, recent * DAY).version == version
