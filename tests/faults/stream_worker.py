"""A worker whose commits can be held up: arguments home, bootstrap, replica (or -), a file that holds them up.

A file ``stuck`` beside it makes one call of the client never come back.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.worlds.stream import system

from headrace.errors import FencedError
from headrace.home import Home
from headrace.serving.stream import sender
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.sender import Sender
from headrace.serving.stream.worker import StreamWorker
from headrace.settings import Settings
from headrace.sources.broker import Broker

OPTIONS = WorkerOptions(partitions=4, poll=8.0, session=6.0)
FENCED = 7
sender.CALL, sender.STUCK = 3.0, 6.0


class Client:
    """The transactional client of a worker, of which one call sleeps for ever where the file says so."""

    def __init__(self, client: Any, stuck: Path) -> None:
        self._client, self._stuck = client, stuck

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        try:
            self._stuck.unlink()  # one worker wins
        except FileNotFoundError:
            return self._client.send_offsets_to_transaction(*arguments)
        threading.Event().wait()
        return None


def main() -> int:
    home, bootstrap, replica, slow = sys.argv[1:5]
    plain, start = Sender.send, Sender.__init__

    def held_up(self, *arguments):
        if Path(slow).exists():
            Path(slow).unlink(missing_ok=True)
            time.sleep(OPTIONS.poll + 3)
        return plain(self, *arguments)

    def started(self, *arguments, **more):
        start(self, *arguments, **more)
        self._producer = Client(self._producer, Path(slow).with_name("stuck"))

    Sender.send, Sender.__init__ = held_up, started
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    faulthandler.register(signal.SIGUSR1)
    home = Home(Settings(home=Path(home)))
    identity = Identity(home.path / "stream", None if replica == "-" else replica, 0)
    worker = StreamWorker(system(), home, Broker(bootstrap), identity.name, OPTIONS)
    try:
        print(json.dumps(worker.run(stop)))
    except FencedError as error:
        print(error, file=sys.stderr)
        return FENCED
    return 0


if __name__ == "__main__":
    sys.exit(main())
