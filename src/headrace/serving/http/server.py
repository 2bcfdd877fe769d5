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
from typing import Any, NoReturn

from headrace.errors import LedgerError
from headrace.executors import Handover
from headrace.home import Home
from headrace.ledger import LedgerIdentity
from headrace.serving.http.app import Application
from headrace.serving.http.beside import beside, refuse_missing
from headrace.serving.http.binding import BACKLOG, Binding
from headrace.serving.http.grpc.address import At
from headrace.serving.http.options import Options
from headrace.serving.http.reads.tools import NOTHING_ABOVE, Above
from headrace.serving.http.shadowing import Keeper, ShadowJob, begin
from headrace.serving.http.simulating import Simulator
from headrace.serving.http.telemetry import LOGGING
from headrace.settings import Settings
from headrace.system import System
from headrace.tasks import shape, task_of

GRACE = 30
"""Seconds that requests under way have to be answered after SIGTERM."""
SILENT = 30
"""Seconds after which a worker that says nothing is replaced: on a busy machine it takes some to start."""
COLLECTED = (700, 10, 10)
"""When the collector of garbage looks: the interpreter's own."""


@dataclass(frozen=True)
class Factory:
    """Makes the application of one process; it is what a new process is handed."""

    handed: Handover
    options: Options
    several: bool
    known: LedgerIdentity | None = None
    grpc: At | None = None
    secure: bool = False
    above: Above = NOTHING_ABOVE

    def __call__(self) -> Application:
        """The application."""
        gc.set_threshold(*COLLECTED)  # the command line has it collect next to never, for the sake of its start
        logging.captureWarnings(True)
        home = self.handed.home(make=False, known=self.known)
        systems = [system for system in self.handed.systems if isinstance(system, System)]
        about: dict[str, Any] = {"several": self.several, "grpc": self.grpc, "secure": self.secure}
        return Application(systems, home, self.options, above=self.above, **about)


def serve(
    systems: Sequence[System],
    settings: Settings,
    options: Options,
    binding: Binding,
    on_start: Callable[[], None],
    above: Above = NOTHING_ABOVE,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Args:
        systems: What to serve.
        settings: Of the home; its tokens are those of the server.
        options: Limits, time-outs.
        binding: Where, and by how many processes.
        on_start: Called when the address is taken.
        above: What rooms above the server tell and show.

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
    refuse_missing(beside(options, systems), systems, home)
    several = binding.workers > 1
    known = _known(systems, home) if several and options.logged else None
    # A signal that comes before uvicorn listens for it ends the process too; and uvicorn, having ended in order, raises
    # it again, which would make this the status of a killed process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    tls, address = binding.tls(), At.of(binding)
    options = options.model_copy(update={"tokens": settings.tokens})
    with tempfile.TemporaryDirectory() as folder:
        if several:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            Factory(Handover.of(settings, *systems), options, several, known, address, secure=bool(tls), above=above),
            factory=True,
            http=Protocol,
            workers=binding.workers,
            root_path=binding.root_path,
            forwarded_allow_ips=binding.forwarded_allow_ips,
            access_log=False,
            log_config=LOGGING,
            timeout_graceful_shutdown=GRACE,
            timeout_worker_healthcheck=SILENT,
            timeout_keep_alive=options.idle_timeout,  # type: ignore[arg-type]  # it is handed to the loop as it is
            ws="none",
            limit_concurrency=None,
            backlog=BACKLOG,
            server_header=False,
            date_header=False,
            **tls,
        )
        sock = binding.bound()
        keepers = _keepers(systems, home, options, known, above)
        try:
            on_start()
            if several:
                Processes(config, sockets=[sock]).run()
            else:
                uvicorn.Server(config).run(sockets=[sock])
        finally:
            binding.clear()
            for keeper in keepers:
                keeper.close()


def _keepers(
    systems: Sequence[System], home: Home, options: Options, known: LedgerIdentity | None, above: Above
) -> list[Keeper | Simulator]:
    """What goes on beside the server, started: versions that score beside, and simulations."""
    keepers: list[Keeper | Simulator] = []
    handed = Handover.of(home.settings, *systems)
    shadows = {name: system.shadows for name, system in beside(options, systems).items() if system.shadows}
    if shadows:
        job = ShadowJob(handed, shadows, known)
        begin(job, home)
        keepers.append(Keeper(job))
    if above.tools is not None:
        keepers.append(Simulator(handed, home, above.tools.simulate, known))
    for keeper in keepers:
        keeper.start()
    return keepers


def _known(systems: Sequence[System], home: Home) -> LedgerIdentity | None:
    """The ledger that all processes write to: one that is started later must not take up another one.

    It stays open here where it is a file: one that nobody has open may be removed, and its inode given to another.
    """
    if not home.has_ledger and all(task_of(system).stateful for system in systems):
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
