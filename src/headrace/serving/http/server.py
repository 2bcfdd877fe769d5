"""Run the application under uvicorn, in one process or several."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from headrace.errors import UsageError
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http.options import Options
from headrace.settings import load_settings

_HOME, _OPTIONS, _SEVERAL = "_HEADRACE_SERVE_HOME", "_HEADRACE_SERVE_OPTIONS", "_HEADRACE_SERVE_SEVERAL"
GRACE = 30
"""Seconds that requests under way have to be answered after SIGTERM."""
_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ecs": {"()": "ecs_logging.StdlibFormatter", "exclude_fields": ["process", "log.original"]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ecs", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
"""Everything on stderr is one JSON line in the Elastic Common Schema, as the access log's lines are."""


@dataclass(frozen=True)
class Binding:
    """Where and with how many processes to serve."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1


def serve(home: Path | None, options: Options, binding: Binding) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered first.

    Raises:
        UsageError: The port is taken, or a system cannot be loaded.
    """
    import uvicorn

    from headrace.serving.http.direct import Protocol
    from headrace.serving.http.draining import Processes

    # uvicorn, having ended in order, raises the signal again, which would make this the status of a killed process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    several = binding.workers > 1
    for reference in options.systems:
        load_system(reference, options.settings)  # a mistake is told here, not by a worker that dies
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_OPTIONS] = json.dumps(_plain(options))
        os.environ[_HOME] = str(home) if home is not None else ""
        os.environ[_SEVERAL] = "1" if several else ""
        if several:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            "headrace.serving.http.server:application",
            factory=True,
            http=Protocol,
            host=binding.host,
            port=binding.port,
            workers=binding.workers,
            access_log=False,
            log_config=_LOGGING,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=30,
            limit_concurrency=None,
            backlog=2048,
            server_header=False,
            date_header=False,
        )
        sock = _bound(binding)
        # Uvicorn raises the signal that ended it once more, for whoever runs it; here the end is a good one.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda number, frame: None)
        if several:
            Processes(config, sockets=[sock]).run()
        else:
            uvicorn.Server(config).run(sockets=[sock])


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _plain(options: Options) -> dict[str, object]:
    """The options as JSON; tokens stay in the environment they came from."""
    return options.model_dump(mode="json", exclude={"tokens"})


def _bound(binding: Binding) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in binding.host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((binding.host, binding.port))
    except OSError as error:
        sock.close()
        where = f"{binding.host}:{binding.port}"
        raise UsageError(f"cannot listen: {error.strerror}", where=where, hint="choose another --port") from error
    sock.set_inheritable(True)
    return sock


def application() -> object:
    """The application of one process, from what `serve` left in the environment."""
    from headrace.serving.http.app import Application

    logging.captureWarnings(True)
    given = os.environ[_HOME]
    settings = load_settings(Path(given) if given else None)
    options = Options(**json.loads(os.environ[_OPTIONS]), tokens=settings.tokens)
    systems = [load_system(reference, options.settings) for reference in options.systems]
    return Application(systems, Home(settings), options, several=bool(os.environ[_SEVERAL]))
