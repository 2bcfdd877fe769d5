"""A process that writes to a ledger, to be killed, or to race others.

ledger_worker.py stream URI NAME   keys NAME/0, NAME/1, ... through a writer; prints each once it is acknowledged
ledger_worker.py same URI COUNT    keys 0 ... COUNT in batches of 7; prints the ids that they stand for, as one JSON
"""

import itertools
import json
import os
import sys
import threading

from headrace.errors import HeadraceError
from headrace.ledger import Ledger, LedgerWriter
from headrace.testing.ledger import entry


def stream(ledger, name):
    writer = LedgerWriter(ledger)
    room = threading.Semaphore(300)

    def done(outcome):
        if isinstance(outcome, HeadraceError):
            print(outcome, file=sys.stderr, flush=True)
            os._exit(1)
        os.write(1, "".join(f"{e.key}\n" for e in outcome).encode())  # whole lines, at once
        room.release()

    for i in itertools.count():
        room.acquire()
        writer.submit([entry(ledger, f"{name}/{i}"), entry(ledger, f"{name}/{i}+")], done)


def same(ledger, count):
    entries = [entry(ledger, str(i)) for i in range(int(count))]
    print("ready", flush=True)
    sys.stdin.readline()
    stand = [e for i in range(0, len(entries), 7) for e in ledger.write(entries[i : i + 7])]
    print(json.dumps({e.key: e.id for e in stand}))


if __name__ == "__main__":
    mode, uri, argument = sys.argv[1:]
    {"stream": stream, "same": same}[mode](Ledger.open(uri, timeout=20), argument)
