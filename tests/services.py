"""Programs that some tests need beside Python: PostgreSQL, Java and Maven for Kafka."""

from __future__ import annotations

import os

import pytest


def missing(what: str) -> None:
    """Skip the test, and say what it needs; where every program must be there (`HEADRACE_TEST_SERVICES`), fail it."""
    if os.environ.get("HEADRACE_TEST_SERVICES"):
        pytest.fail(f"HEADRACE_TEST_SERVICES is set, but the test {what}")
    pytest.skip(what)
