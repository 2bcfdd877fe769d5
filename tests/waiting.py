"""Waiting for what another process or thread does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds; a test that passes waits for a small part of it, even on a busy machine."""


def until(check: Callable[[], T], process: subprocess.Popen[bytes] | None = None) -> T:
    """The first true value that `check` gives; fails when it takes too long, or when `process` has ended."""
    end = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < end, f"not within {PATIENCE:g} s"
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.02)
    return found
