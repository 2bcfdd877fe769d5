"""Run the application under uvicorn, in one process or several."""

from __future__ import annotations

import gc
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from headrace.errors import LedgerError
from headrace.home import Home
from headrace.ledger import Known
from headrace.pipelines import shape
from headrace.serving.http.app import Application
from headrace.serving.http.beside import beside, refuse_missing
from headrace.serving.http.binding import BACKLOG, Binding
from headrace.serving.http.grpc.address import At
from headrace.serving.http.options import Options
from headrace.serving.http.shadowing import Job, Keeper, begin
from headrace.serving.http.telemetry import LOGGING
from headrace.settings import Settings
from headrace.system import System

GRACE = 30
"""Seconds that requests under way have to be answered after SIGTERM."""
COLLECTED = (700, 10, 10)
"""When the collector of garbage looks: the interpreter's own."""


@dataclass(frozen=True)
class Factory:
    """Makes the application of one process; it is what a new process is handed."""

    systems: tuple[System, ...]
    settings: Settings
    options: Options
    several: bool
    known: Known | None = None
    grpc: At | None = None

    def __call__(self) -> Application:
        """The application."""
        gc.set_threshold(*COLLECTED)  # the command line has it collect next to never, for the sake of its start
        logging.captureWarnings(True)
        home = Home(self.settings, make=False, known=self.known)
        return Application(self.systems, home, self.options, several=self.several, grpc=self.grpc)


def serve(
    systems: Sequence[System], settings: Settings, options: Options, binding: Binding, on_start: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Args:
        systems: What to serve.
        settings: Of the home; its tokens are those of the server.
        options: Limits, time-outs.
        binding: Where, and by how many processes.
        on_start: Called when the address is taken.

    Raises:
        UsageError: The address is taken, or TLS cannot be set up, or versions beside the champion cannot be had.
        NotFoundError: A version that is to score beside the champion is not there.
        DeclarationError: The home holds facts of another shape than a system's.
    """
    import uvicorn

    from headrace.serving.http.direct import Protocol
    from headrace.serving.http.draining import Processes

    home = Home(settings, make=False)
    for system in systems:
        shape.check(system, home)
    refuse_missing(beside(options, systems), home)
    several = binding.workers > 1
    known = _known(systems, home) if several and options.logged else None
    # A signal that comes before uvicorn listens for it ends the process too; and uvicorn, having ended in order, raises
    # it again, which would make this the status of a killed process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    tls, at = binding.tls(), At.of(binding)
    options = options.model_copy(update={"tokens": settings.tokens})
    with tempfile.TemporaryDirectory() as folder:
        if several:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            Factory(tuple(systems), settings, options, several, known, at),
            factory=True,
            http=Protocol,
            workers=binding.workers,
            root_path=binding.root_path,
            forwarded_allow_ips=binding.forwarded_allow_ips,
            access_log=False,
            log_config=LOGGING,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=options.idle_timeout,  # type: ignore[arg-type]  # it is handed to the loop as it is
            ws="none",
            limit_concurrency=None,
            backlog=BACKLOG,
            server_header=False,
            date_header=False,
            **tls,
        )
        sock = binding.bound()
        keeper = _keeper(systems, home, settings, options, known)
        on_start()
        try:
            if several:
                Processes(config, sockets=[sock]).run()
            else:
                uvicorn.Server(config).run(sockets=[sock])
        finally:
            binding.clear()
            if keeper is not None:
                keeper.close()


def _keeper(
    systems: Sequence[System], home: Home, settings: Settings, options: Options, known: Known | None
) -> Keeper | None:
    """What has versions score beside, started; None where none is to."""
    wanted = {name: each.shadows for name, each in beside(options, systems).items() if each.shadows}
    if not wanted:
        return None
    job = Job(tuple(systems), settings, wanted, known)
    begin(job, home)
    keeper = Keeper(job)
    keeper.start()
    return keeper


def _known(systems: Sequence[System], home: Home) -> Known | None:
    """The ledger that all processes write to: one that is started later must not take up another one.

    It stays open here where it is a file: one that nobody has open may be removed, and its inode given to another.
    """
    if not home.has_ledger and all(system.forecasts for system in systems):
        return None
    try:
        known = home.ledger.known
    except LedgerError:  # each process says so, until it is there
        return None
    if known.place is None:
        home.ledger.close()
    return known


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
