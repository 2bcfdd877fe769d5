"""What people change that takes a while: done by the processes that read, so that nothing waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from headrace.serving.http.reads.reader import ReadHome
from headrace.serving.http.reads.records import choice_of


def release(place: ReadHome, name: str, *, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Check chosen rows of the quarantine with the present contract; those that are good become facts."""
    from headrace.pipelines.release import release as release_rows  # what only serves needs no tables

    now = datetime.now(UTC)
    result = release_rows(place.system(name), place.home, choice_of(chosen), as_of=now, now=now)
    return result.as_dict()
