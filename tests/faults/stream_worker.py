"""A worker whose commits can be held up: arguments home, bootstrap, replica (or -), a file that holds them up."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

from tests.serving.stream.worlds import system

from headrace.errors import FencedError
from headrace.home import Home
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.sender import Sender
from headrace.serving.stream.worker import Options, Worker
from headrace.settings import Settings
from headrace.sources.broker import Broker

OPTIONS = Options(partitions=4, poll=8.0, session=6.0)
FENCED = 7


def main() -> int:
    home, bootstrap, replica, slow = sys.argv[1:5]
    plain = Sender.send

    def held_up(self, *arguments):
        if Path(slow).exists():
            Path(slow).unlink(missing_ok=True)
            time.sleep(OPTIONS.poll + 3)
        return plain(self, *arguments)

    Sender.send = held_up
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    home = Home(Settings(home=Path(home)))
    identity = Identity(home.path / "stream", None if replica == "-" else replica, 0)
    worker = Worker(system(), home, Broker(bootstrap), identity.name, OPTIONS)
    try:
        print(json.dumps(worker.run(stop)))
    except FencedError as error:
        print(error, file=sys.stderr)
        return FENCED
    return 0


if __name__ == "__main__":
    sys.exit(main())
