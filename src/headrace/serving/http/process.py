"""What the system knows of worker processes: Prometheus' own figures of a process are those of one alone."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

_DESCRIPTORS, _STATUS = Path("/proc/self/fd"), Path("/proc/self/statm")

_EVERY = 2.0
"""Seconds between two looks."""


class Process:
    """The ``process_*`` metrics of this worker, which those of the others are added to.

    Args:
        registry: Where they are.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._cpu = Counter("process_cpu_seconds", "User and system CPU time of all workers.", registry=registry)
        self._spent = self._next = 0.0
        self._memory = _gauge("process_resident_memory_bytes", "Resident memory of all workers.", "livesum", registry)
        self._open = _gauge("process_open_fds", "Open files of all workers.", "livesum", registry)
        limit = _gauge("process_max_fds", "Files that a worker may open.", "livemin", registry)
        limit.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        began = _gauge("process_start_time_seconds", "When the first worker started.", "livemin", registry)
        began.set(time.time())

    def fold(self) -> None:
        """Tell the figures of now."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        used = time.process_time()
        self._cpu.inc(used - self._spent)
        self._spent = used
        if _STATUS.exists():
            self._memory.set(int(_STATUS.read_text().split()[1]) * resource.getpagesize())
            self._open.set(len(os.listdir(_DESCRIPTORS)))  # noqa: PTH208  # a name is enough


def _gauge(name: str, text: str, mode: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, multiprocess_mode=mode, registry=registry)  # type: ignore[arg-type]
