"""Times as people write them: what a hint says to write is taken."""

import re
from datetime import UTC, datetime

import pytest

from headrace.api.times import time_of
from headrace.errors import UsageError


@pytest.mark.parametrize("text", ["2025-03-01", "2025-03-01T06:00", "2025-03-01 06:00:30", "20250301"])
def test_what_the_hint_says_is_taken(text):
    with pytest.raises(UsageError, match="has no zone") as refusal:
        time_of(text, datetime.now(UTC))
    written = re.search(r"\S+$", refusal.value.hint).group()
    assert time_of(written, datetime.now(UTC)) == datetime.fromisoformat(text).replace(tzinfo=UTC)
