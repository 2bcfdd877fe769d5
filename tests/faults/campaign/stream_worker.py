"""One worker of the stream, without a supervisor: arguments home, bootstrap, name; a version that scores beside.

Its log goes to stderr.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.worlds.stream import system

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.worker import StreamWorker
from headrace.settings import Settings
from headrace.sources.broker import Broker


def main() -> int:
    """Until SIGTERM; 1 with the error's words where it failed with one of ours."""
    home, bootstrap, name = sys.argv[1:4]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    topics = system().topics.of_shadow(int(sys.argv[4]) if sys.argv[4:] else None)
    options = WorkerOptions(partitions=4, session=4.0, champions=1.0, topics=topics)
    try:
        StreamWorker(system(), Home(Settings(home=Path(home))), Broker(bootstrap), name, options).run(stop)
    except HeadraceError as error:
        print(f"failed: {type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
