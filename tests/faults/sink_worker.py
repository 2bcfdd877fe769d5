"""Passes so many predictions on to a target, part by part, from where it is: to be killed at any moment."""

import sys
from pathlib import Path

from tests.targets import LAYOUT, some

from headrace.errors import SinkUnavailableError
from headrace.sinks import SinkContext, open_sink, webhook

PART = 7


def main() -> None:
    webhook._FIRST = 0.01
    uri, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    sink = open_sink(uri, LAYOUT, SinkContext(folder, partitions=3, timeout=20.0, concurrent=3))
    while True:
        try:
            at = sink.begin().position
            print("began", flush=True)
            for begin in range(at["n"] if at else 0, count, PART):
                after = {"n": min(begin + PART, count)}
                sink.send(some(begin, after["n"]), at, after)
                at = after
            return
        except SinkUnavailableError:
            sink.close()


if __name__ == "__main__":
    main()
