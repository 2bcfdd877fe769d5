"""Silent series on the worker's disk, which may be full."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from headrace.errors import StoreError
from headrace.serving.engine.spill import Spill

SERIES = (0, ("orders",))


@contextmanager
def full() -> Iterator[None]:
    """No file of this process may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_what_was_put_is_taken_once() -> None:
    spill = Spill()
    assert spill.take(SERIES) is None
    spill.put(SERIES, b"state")
    assert (spill.count, spill.take(SERIES), spill.take(SERIES), spill.count) == (1, b"state", None, 0)
    spill.put(SERIES, b"state")
    spill.drop(0)
    assert spill.take(SERIES) is None
    spill.close()


def test_a_full_disk_is_told_when_something_is_to_be_kept() -> None:
    spill = Spill()
    with full():
        assert spill.take(SERIES) is None
        with pytest.raises(StoreError, match="cannot be kept on the disk"):
            spill.put(SERIES, b"state")
    spill.put(SERIES, b"state")
    assert spill.take(SERIES) == b"state"
    spill.close()
