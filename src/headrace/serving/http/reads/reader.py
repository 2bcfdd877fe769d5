"""One process that reads for a server: it is asked by a pipe, answers with bytes, and can be killed at any moment."""

from __future__ import annotations

import hashlib
import logging.config
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from headrace.errors import HeadraceError, NotFoundError, StoreError
from headrace.executors import Handover
from headrace.home import Home
from headrace.ledger import LedgerIdentity
from headrace.serving.http.telemetry import LOGGING
from headrace.system import System

IDLE = 300.0
"""Seconds without a question after which a reader ends; the next question starts another."""
_NICE = 10
_TICK = 0.5
_LARGEST = 256
"""Results of parts that are remembered."""


class ReadHome:
    """What a read sees: the home, the systems that are served, and what was made of tables that did not change since.

    Args:
        home: Where everything is.
        systems: The declarations.
    """

    def __init__(self, home: Home, systems: Mapping[str, System]) -> None:
        self.home, self.systems = home, systems
        self._parts: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._lock = threading.Lock()

    def system(self, name: str) -> System:
        """A system by its name.

        Raises:
            NotFoundError: It is not served here.
        """
        if name not in self.systems:
            raise NotFoundError(f"no system {name[:80]!r} is served here")
        return self.systems[name]

    def remembered(self, system: str, part: str, state: Any, make: Callable[[], Any]) -> Any:
        """What was made before, while the state of what it is made from is the same.

        Args:
            system: Whose.
            part: What it is, with all that it depends on beside `state`.
            state: Such as versions of tables.
            make: Makes it.
        """
        name = (system, part)
        with self._lock:
            stands = self._parts.get(name)
        if stands is not None and stands[0] == state:
            return stands[1]
        result = make()
        with self._lock:
            self._parts.pop(name, None)
            self._parts[name] = (state, result)
            while len(self._parts) > _LARGEST:
                del self._parts[next(iter(self._parts))]
        return result


Read = Callable[..., Any]
"""A function of a module: given a `ReadHome` and arguments by name, it returns what can be JSON."""


def body_of(function: Read, place: ReadHome, arguments: Mapping[str, Any]) -> tuple[bytes, str]:
    """What a read answers, as JSON, and the digest of that.

    Raises:
        HeadraceError: It cannot be read, or there is no such thing.
    """
    try:
        body = msgspec.json.encode(function(place, **arguments))
    except OSError as error:
        raise StoreError(str(error)) from error
    return body, hashlib.blake2b(body, digest_size=12).hexdigest()


@dataclass(frozen=True)
class ReadJob:
    """What a reader is handed.

    Attributes:
        packed: The systems and the settings of the home, pickled: unpacked once the process has set itself up.
        known: The ledger that it must be.
        pipe: Where it is asked.
    """

    packed: bytes
    known: LedgerIdentity | None
    pipe: Connection


def run(job: ReadJob, number: int, stop: threading.Event) -> None:
    """What the process does: answer one question after the other, until told to stop, or nobody asks for a while.

    A question is a pickled function with its arguments. An answer is ``(True, body, digest)`` or ``(False, error)``.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    os.nice(_NICE)
    logging.config.dictConfig(LOGGING)
    handed: Handover = pickle.loads(job.packed)  # noqa: S301  # by the process that started this one
    systems = {system.name: system for system in handed.systems if isinstance(system, System)}
    place, waited = ReadHome(handed.home(make=False, known=job.known), systems), 0.0
    try:
        while not stop.is_set() and waited < IDLE:
            if not job.pipe.poll(_TICK):
                waited += _TICK
                continue
            waited = 0.0
            job.pipe.send(_answered(job.pipe.recv_bytes(), place))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the server is gone
        return


def _answered(question: bytes, place: ReadHome) -> tuple[Any, ...]:
    function, arguments = pickle.loads(question)  # noqa: S301  # by the process that started this one
    try:
        return True, *body_of(function, place, arguments)
    except HeadraceError as error:
        return False, error
    except Exception as error:  # it is told to the server, which logs it and answers 500
        logging.getLogger("headrace.serving").exception("a read failed in an unforeseen way")
        return False, RuntimeError(f"{type(error).__name__}: {error}")
